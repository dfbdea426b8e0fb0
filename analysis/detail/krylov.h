// The Krylov space of a symmetric operator with its projected matrix, the machinery below
// lanczos():
//   A V = V H + r e_m^T,   Ritz pairs of H,   restarts that keep chosen Ritz vectors.
// H is measured, not assumed: column j of its upper triangle comes from the projection of A v_j,
// the lower triangle from what the recurrence says; where the two differ, the products are not
// symmetric, and that difference enters every residual. After a thick restart the arrow of the
// projected matrix appears without further care.
#pragma once
#include <cstdint>
#include <vector>

#include "basin/analysis/detail/orthonormal_basis.h"
#include "basin/analysis/operator.h"

namespace basin {

// Ritz values ascending, their coefficients in the basis, and the parts of each residual.
struct Ritz {
  std::vector<double> values;                // [m]
  std::vector<std::vector<double>> vectors;  // [m][m]
  std::vector<double> coupling;              // to the rest of the space: falls with further steps
  std::vector<double> asymmetry;             // of the products: does not
  std::vector<double> dropped;               // parts of A v that were let go, their worst sum
  int64_t size() const { return static_cast<int64_t>(values.size()); }
  double largest() const;        // max |value|
  double bound(size_t i) const;  // of the residual |A x - value x|
};

class Krylov {
 public:
  // At most `capacity` vectors.
  Krylov(const SymmetricOperator& a, int64_t capacity, uint64_t seed);

  const OrthonormalBasis& basis() const { return basis_; }
  int64_t size() const { return basis_.size(); }
  bool closed() const { return length_ == 0; }  // invariant: the next direction is a random one
  int64_t products() const { return products_; }
  int64_t chain() const { return chain_; }  // products since the last random direction
  double scale() const { return scale_; }   // largest |A v|

  // One more direction and one more product; numerical error when that is not finite.
  void advance();
  Ritz ritz() const;
  // Keeps the chosen Ritz vectors. `leave`: the next direction is random and the coupling to the
  // old one is let go; otherwise the old one follows.
  void restart(const Ritz& ritz, const std::vector<size_t>& kept, bool leave);

 private:
  double& at(int64_t i, int64_t j) { return projected_[static_cast<size_t>(i * capacity_ + j)]; }
  double at(int64_t i, int64_t j) const {
    return projected_[static_cast<size_t>(i * capacity_ + j)];
  }
  double asymmetry(const std::vector<double>& s) const;
  void random_direction();

  const SymmetricOperator& a_;
  OrthonormalBasis basis_;
  int64_t capacity_;
  uint64_t seed_;
  std::vector<double> projected_;  // [capacity, capacity]
  std::vector<double> coupling_;   // [m]: A v_i has this much of the next direction
  std::vector<double> dropped_;    // [m]: and at most this much outside of the basis, let go
  std::vector<bool> lossy_;        // [m]: whether something was
  Tensor rest_;                    // [n]: the next direction, of length length_
  double length_ = 0, scale_ = 0;
  int64_t products_ = 0, chain_ = 0;
  uint64_t draws_ = 0;
};

}  // namespace basin
