// Coordinates u in which a ball of displacements is a plain one: d = T u, linear, T fixed by the
// parameters w so that symmetries of the network move the ball along with w.
//   plain          d = u
//   elementwise    d_i = |w_i| u_i: follows positive rescalings, not rotations (Kwon et al. 2021)
//   right_product  D = W X for every logical matrix: follows W <- g W for every invertible g
//   left_product   D = X W: follows W <- W g
// The products are the first-order form of geodesic sharpness (arXiv 2505.05409): X [in, in] or
// [out, out] lies on the side away from the symmetry, which it then does not notice. An orthogonal
// g on X's own side turns X only, which a Frobenius norm of X does not notice either: both products
// follow rotations. A parameter without a matrix view counts as one column, [n, 1].
#pragma once
#include <string_view>
#include <vector>

#include "basin/analysis/loss_surface.h"

namespace basin {

enum class BallShape : uint8_t { plain, elementwise, right_product, left_product };
std::string_view name_of(BallShape shape);

class BallChart {
 public:
  // The weights and the layout of `surface`, copied. Elements of a parameter outside its matrix
  // blocks do not move in the product shapes.
  BallChart(const LossSurface& surface, BallShape shape);
  int64_t size() const { return size_; }       // of u; sum of in^2 or out^2 for the products
  Tensor displacement(const Tensor& u) const;  // T u.     u [size] f64 -> [n]
  Tensor adjoint(const Tensor& g) const;       // T^T g.   g [n] f64 -> [size]

 private:
  struct Block {
    int64_t at = 0;  // in the vector of parameters
    int64_t rows = 0;
    int64_t cols = 0;
    int64_t from = 0;  // of X in u
  };
  bool right() const { return shape_ == BallShape::right_product; }

  BallShape shape_;
  Tensor weights_;  // [n]; |w| for elementwise
  std::vector<Block> blocks_;
  int64_t size_ = 0;
};

}  // namespace basin
