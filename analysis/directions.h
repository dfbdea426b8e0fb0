// Directions in parameter space, for loss slices. Random ones are Gaussian, drawn by seed and
// parameter name, so that compared checkpoints get the same draws, and by default normalised per
// filter as Li, Xu, Taylor, Studer and Goldstein do (2018): every row f of every logical matrix,
// one output unit's incoming weights, becomes
//   d_f <- d_f ||w_f|| / ||d_f||,
// and parameters that are vectors (biases, gains) do not move. Other normalisations exist under
// their own names only. Components are f64, so that a slice rounds once, at w + a d1 + b d2.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "basin/core/params.h"

namespace basin {

// layer: one factor per tensor, the mistake commonly called filter normalisation; weight: every
// element times its own weight; none: as drawn.
enum class DirectionNorm : uint8_t { filter, layer, weight, none };
std::string_view name_of(DirectionNorm norm);
DirectionNorm direction_norm(std::string_view name);  // usage error listing the names

struct Direction {
  Tensors parts;     // one per parameter, its shape, f64 on the CPU; undefined: zero there
  std::string what;  // how it was made, for records and captions
  double dot(const Direction& other) const;  // over all parameters, in their order
  double norm() const;
};

// The factors of a normalisation for the weights `params`, applied to d in place. With any norm but
// `none`, parameters without a matrix view become zero. A filter whose weights are all zero does
// not move.
void normalise(Direction& d, const ParamList& params, DirectionNorm norm);

// index: which direction of the seed (0 and 1 for a plane). The draw of an element depends on seed,
// index, parameter name and position only. `none` moves vectors too.
Direction random_direction(const ParamList& params, uint64_t seed, int index,
                           DirectionNorm norm = DirectionNorm::filter);

// A vector over a subset of the parameters, laid out as ParameterSpace (curvature.h) does: members
// joined in their order.   v [n], f32 or f64; indices: ascending, empty: all parameters
Direction along_vector(const ParamList& params, const Tensor& v, std::string what,
                       const std::vector<int>& indices = {});
// The inverse: the members joined.   [n] f64. usage error naming a parameter outside `indices` that
// the direction moves.
Tensor flatten(const Direction& d, const ParamList& params, const std::vector<int>& indices = {});

// to - from: a line with 0 at `from` and 1 at `to`. usage error naming the first parameter whose
// name or shape differs.
Direction difference_direction(const ParamList& from, const ParamList& to, std::string what);

// d <- d - (d.first / first.first) first. Adds the removed cosine to d.what and returns it. A
// filter-normalised direction is only nearly so afterwards. numerical error when nothing is left.
double remove_component(Direction& d, const Direction& first);

// The plane through three checkpoints: orthonormal directions by Gram-Schmidt from a, so that
// distances in the plane are distances in parameter space; coordinates of a, b, c. numerical error
// when they lie on a line.
struct CheckpointPlane {
  Direction first, second;
  std::array<std::array<double, 2>, 3> coordinates{};  // a = (0, 0), b = (|b - a|, 0), c
};
CheckpointPlane plane_through(const ParamList& a, const ParamList& b, const ParamList& c);

// w + x first + y second, formed in f64 and rounded once to each parameter's dtype, in fresh
// storage on its device; a null direction is zero.
Tensors moved(const ParamList& base, const Direction* first, double x, const Direction* second,
              double y);

// SHA-256 over names, shapes, dtypes and bytes: what identifies a checkpoint or direction in files.
std::string fingerprint(const ParamList& params);
std::string fingerprint(const Direction& d);

}  // namespace basin
