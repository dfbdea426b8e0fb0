// Equivariance as a measured quantity. For random transformations g of a batch of clouds,
//   error of a layer = max |f(g x) - g f(x)| / max |g f(x)|        over batch, points and channels,
// where g acts on the coordinates of EGNN (activations called coordinates...), moves the points of
// per-point activations back for a permutation, and does nothing to everything else. The maxima are
// taken per transformation; every value is kept, so that a figure can show them all. In f32 and f64
// with the same weights, in evaluation mode.
//   The neighbour graph is made anew for every transformed cloud, as in use: rounding may give some
// points another neighbour then. The share of such points is part of the result, so an error that
// comes from the graph can be told from one that comes from the network.
#pragma once
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "basin/models/model.h"

namespace basin {

enum class SymmetryKind : uint8_t { rotation, reflection, translation, permutation };
inline constexpr SymmetryKind kSymmetryKinds[] = {SymmetryKind::rotation, SymmetryKind::reflection,
                                                  SymmetryKind::translation,
                                                  SymmetryKind::permutation};
std::string_view name_of(SymmetryKind kind);

// What the architecture promises of its logits (and coordinates): all four for egnn, permutations
// for pointnet and dgcnn, nothing known of others.
bool declares_symmetry(const std::string& model, SymmetryKind kind);

using Matrix3 = std::array<std::array<double, 3>, 3>;

// Uniform on SO(3), or on its reflected copy (determinant -1): two Gaussian vectors by
// Gram-Schmidt, the third row by the cross product.
Matrix3 random_orthogonal(uint64_t seed, bool reflection);
std::vector<int64_t> random_permutation(int64_t n, uint64_t seed);

// x_i -> Q x_i + shift, computed in f64.   x [.., 3]
Tensor moved(const Tensor& x, const Matrix3& q, const std::array<double, 3>& shift);
// Point i of each cloud is point order[i] of x.   x [B, N, C]
Tensor permuted(const Tensor& x, const std::vector<int64_t>& order);

struct SymmetryOptions {
  int64_t transformations = 8;  // of each kind
  uint64_t seed = 0;
  double shift = 1;  // translations are uniform on (-shift, shift)^3
};

struct SymmetryError {
  SymmetryKind kind = SymmetryKind::rotation;
  DType dtype = DType::f32;
  std::string layer;           // an activation, or "logits"
  bool equivariant = false;    // compared with g f(x); else with f(x) (points moved back)
  bool declared = false;       // declares_symmetry
  std::vector<double> errors;  // one per transformation; inf where something is not finite
  double largest() const;
  double mean() const;
};

// The share of points whose set of k nearest input neighbours is another one after the
// transformation (the largest over the transformations); for models with an option `k`.
struct GraphChange {
  SymmetryKind kind = SymmetryKind::rotation;
  DType dtype = DType::f32;
  double share = 0;
};

struct SymmetryReport {
  std::vector<SymmetryError> layers;  // by kind, then f32 and f64, then in the order of the network
  std::vector<GraphChange> graph;     // empty for models without neighbours
  const SymmetryError& at(SymmetryKind kind, DType dtype, std::string_view layer) const;
};

// usage error when the points are not [B, N, 3] or no transformation is asked for.
SymmetryReport measure_symmetry(const Model& model, const ModelState& state, const Tensor& points,
                                const SymmetryOptions& options = {});

}  // namespace basin
