// Power iteration as curvature studies use it, v <- A v / |A v|, with deflation for further
// eigenvalues; it stops when the Rayleigh quotient v.Av changes by less than `tolerance`, relative,
// or after `max_iterations`. That rule says little about the error, so every result also carries
// its residual |A v - value v|: some eigenvalue lies that near. The method finds the eigenvalue
// largest in *magnitude*, which may be negative; the other end of the spectrum comes from the
// shifted operator A - value I.
#pragma once
#include <cstdint>
#include <vector>

#include "basin/analysis/operator.h"

namespace basin {

struct PowerOptions {
  int64_t count = 1;                 // eigenvalues, in the order in which deflation finds them
  int64_t max_iterations = 100;      // per eigenvalue, one product each
  double tolerance = 1e-3;           // of the change of the Rayleigh quotient; 0: run to the limit
  double residual_tolerance = 1e-2;  // what `converged` asks of residual / |value|
  uint64_t seed = 0;
};

struct PowerResult {
  double value = 0;        // Rayleigh quotient at `vector`, with its sign
  double residual = 0;     // |A vector - value vector|
  bool settled = false;    // the stopping rule fired before max_iterations
  bool converged = false;  // residual <= residual_tolerance |value|
  int64_t iterations = 0;  // = products
  Tensor vector;           // [n] f64, of length 1
};

// At most n of them. usage error for counts < 1; numerical error when a product is not finite.
std::vector<PowerResult> power_iteration(const SymmetricOperator& a,
                                         const PowerOptions& options = {});

// The end of the spectrum on the other side of `dominant`: the smallest eigenvalue when that is
// positive, the largest when it is negative; by power iteration on A - dominant.value I.
PowerResult opposite_end(const SymmetricOperator& a, const PowerResult& dominant,
                         const PowerOptions& options = {});

}  // namespace basin
