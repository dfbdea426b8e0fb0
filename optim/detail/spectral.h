// Maps of the singular values of one f64 matrix on the CPU, and the small matrix arithmetic that
// the optimizers of matrices do there. Matrices are [rows, cols], row-major.
#pragma once
#include <functional>

#include "basin/kernels/linalg.h"

namespace basin {

// op(a) op(b), op the identity or the transpose.
Tensor product(const Tensor& a, bool trans_a, const Tensor& b, bool trans_b);

// How many of the singular values, in descending order, are above the rounding noise of the matrix
// they belong to: max(rows, cols) ulp of the largest.
int64_t numerical_rank(const Tensor& s, int64_t rows, int64_t cols);

// U diag(weight of each value) V^T over the first `count` triples.
Tensor recombined(const SvdFactors& f, int64_t count, const std::function<double(int64_t)>& weight);

// U S^p V^T over the values above the noise; `polar`: scaled to the Frobenius norm sqrt(rank) of
// U V^T. A zero matrix gives a zero matrix.
Tensor spectral_power(const Tensor& m, double power, bool polar);

// Q w^-power Q^T of a symmetric positive semidefinite matrix Q diag(w) Q^T; eigenvalues that are
// rounding noise, below n ulp of the largest, give 0.
Tensor inverse_root(const Tensor& a, double power);

}  // namespace basin
