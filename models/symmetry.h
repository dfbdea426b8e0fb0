// Equivariance as a measured quantity. For random transformations g of a batch,
//   error of a layer = max |f(g x) - g f(x)| / max |g f(x)|        over batch, rows and channels,
// where g acts on an input as its slot says (nn/activation.h: coordinates are moved, directions are
// turned with them, rows of points and nodes change places) and on a layer as its Activation says: a value of degree 1 rotates,
// coordinates are shifted too, rows of points and nodes are moved back. The maxima are taken per
// transformation; every value is kept, so that a figure can show them all. In f32 and f64 with the
// same weights, in evaluation mode.
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

using Matrix3 = std::array<std::array<double, 3>, 3>;

// Uniform on SO(3), or on its reflected copy (determinant -1): two Gaussian vectors by
// Gram-Schmidt, the third row by the cross product.
Matrix3 random_orthogonal(uint64_t seed, bool reflection);
std::vector<int64_t> random_permutation(int64_t n, uint64_t seed);

// x_i -> Q x_i + shift, computed in f64.   x [.., 3]
Tensor moved(const Tensor& x, const Matrix3& q, const std::array<double, 3>& shift);
// Point i of each cloud is point order[i] of x.   x [B, N, ..]
Tensor permuted(const Tensor& x, const std::vector<int64_t>& order);

struct SymmetryOptions {
  int64_t transformations = 8;  // of each kind
  uint64_t seed = 0;
  double shift = 1;  // translations are uniform on (-shift, shift)^3
};

struct SymmetryError {
  SymmetryKind kind = SymmetryKind::rotation;
  DType dtype = DType::f32;
  std::string layer;           // an activation, or Model::output_name
  bool equivariant = false;    // compared with g f(x); else with f(x) (rows moved back)
  bool declared = false;       // Model::declares
  std::vector<double> errors;  // one per transformation; inf where something is not finite
  double largest() const;
  double mean() const;
};

// The share of points whose set of k nearest input neighbours is another one after the
// transformation (the largest over the transformations); for models with Model::neighbours.
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

// The kinds are those that move something: rotations, reflections and translations need a slot of
// coordinates, permutations one of points or nodes. Points change places in every example alike;
// nodes within their example, which the slot of kind owner tells (without one, all are of the
// same); the values of index slots, numbers of such rows in the whole batch, follow; edges keep
// their order. usage error when the inputs are not what the model's slots say (coordinates [.., 3]
// of a float type, points [B, N, ..] with one N, not both points and nodes) or no transformation is
// asked for. Directions are checked as coordinates are.
SymmetryReport measure_symmetry(const Model& model, const ModelState& state, const Tensors& inputs,
                                const SymmetryOptions& options = {});

}  // namespace basin
