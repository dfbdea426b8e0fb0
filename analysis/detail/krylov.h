// The Krylov space of a symmetric operator with its projected matrix, the machinery below
// lanczos():
//   A V = V H + Q C,   Ritz pairs of H,   restarts that keep chosen Ritz vectors.
// Q holds the directions that wait for their product, orthonormal and orthogonal to V: one of them
// in the plain recurrence, one more for every random direction that was put before it, as in a band
// recurrence (Ruhe 1979). H is measured, not assumed: column j of its upper triangle comes from the
// projection of A v_j, the lower triangle from what the recurrence says; where the two differ, the
// products are not symmetric, and that difference enters every residual. After a thick restart the
// arrow of the projected matrix appears without further care.
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
  std::vector<double> coupling;              // to the waiting directions: falls with further steps
  std::vector<double> asymmetry;             // of the products: does not
  std::vector<double> dropped;               // parts of A v that were let go, their worst sum
  int64_t size() const { return static_cast<int64_t>(values.size()); }
  double largest() const;        // max |value|
  double bound(size_t i) const;  // of the residual |A x - value x|
};

class Krylov {
 public:
  // Restarts are up to the caller, who holds size() to `capacity`; the waiting directions are kept
  // beside it.
  Krylov(const SymmetricOperator& a, int64_t capacity, uint64_t seed);

  int64_t size() const { return size_; }
  int64_t waiting() const { return basis_.size() - size_; }
  int64_t products() const { return products_; }
  double scale() const { return scale_; }  // largest |A v|

  // The product of the first waiting direction, of a random one where none waits; what is new in it
  // waits behind the others. Numerical error when it is not finite.
  void advance();
  Ritz ritz() const;
  Tensor vector(const Ritz& ritz, size_t i) const;  // [n]
  // The direction that these pairs are coupled to most becomes the first that waits.
  void prefer(const Ritz& ritz, const std::vector<size_t>& pairs);
  // Keeps the chosen Ritz vectors and all that waits.
  void restart(const Ritz& ritz, const std::vector<size_t>& kept);

  // A random direction, orthogonal to all there is, becomes the first that waits; of three others
  // the one is let go that `pairs` are coupled to least. False: the space is the whole one.
  bool begin_chain(const Ritz& ritz, const std::vector<size_t>& pairs);
  void advance_chain();  // one step of that chain, while the others wait
  bool chain_goes_on() const { return chain_waits_; }
  int64_t chain() const { return chain_; }  // products since the random direction
  // Ritz values of the chain alone, that is of A compressed to what is orthogonal to everything
  // older, without vectors. Not after a restart.
  Ritz chain_ritz() const;

 private:
  double& at(int64_t i, int64_t j) { return projected_[static_cast<size_t>(i * stride_ + j)]; }
  double at(int64_t i, int64_t j) const { return projected_[static_cast<size_t>(i * stride_ + j)]; }
  double coupling(int64_t waiting, const std::vector<double>& s) const;
  double strength(int64_t waiting, const Ritz& ritz, const std::vector<size_t>& pairs) const;
  double asymmetry(const std::vector<double>& s) const;
  bool insert_random();
  void swap_waiting(int64_t i, int64_t j);
  void drop_waiting(int64_t i);

  const SymmetricOperator& a_;
  OrthonormalBasis basis_;  // V, and behind it Q
  int64_t size_ = 0, stride_;
  uint64_t seed_;
  std::vector<double> projected_;  // rows of V and Q, columns of V: the coefficients of A V
  std::vector<double> dropped_;    // [m]: A v_i has at most this much outside of the basis, let go
  std::vector<bool> lossy_;        // [m]: whether something was
  double scale_ = 0;
  int64_t products_ = 0, chain_ = 0, chain_begin_ = 0;
  bool chain_waits_ = false;  // the first that waits continues the chain
  uint64_t draws_ = 0;
};

}  // namespace basin
