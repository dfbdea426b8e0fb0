// A symmetric linear operator on R^n that is known only by its products with vectors: what every
// estimator of analysis/ works on (power iteration, Lanczos, traces, densities). Vectors are f64 on
// the CPU, whatever the precision in which a product is computed, so that the estimators'
// orthogonality does not depend on it. Products are deterministic: the same bits each time, for any
// number of threads.
#pragma once
#include <functional>
#include <memory>

#include "basin/core/tensor.h"

namespace basin {

class SymmetricOperator {
 public:
  virtual ~SymmetricOperator() = default;
  virtual int64_t size() const = 0;  // n
  // Row l of the result is A v_l, with the bits that it has alone. Several rows at once cost less
  // than one by one where a product has a part that they share (a recording, a pass over the data).
  // v [lanes, n] f64 -> [lanes, n] f64
  virtual Tensor apply(const Tensor& v) const = 0;
};

// A matrix given in full, for tests and small problems.   a [n, n], symmetric
std::unique_ptr<SymmetricOperator> dense_operator(const Tensor& a);
// diag(d).   d [n]
std::unique_ptr<SymmetricOperator> diagonal_operator(const Tensor& d);

// The dense matrix of an operator, column by column: n products. usage error beyond 4,096.
Tensor dense_matrix(const SymmetricOperator& a);  // [n, n] f64

}  // namespace basin
