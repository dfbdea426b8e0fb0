// Column means and covariances of tall matrices on CUDA, in double (kernels/cuda/row_moments.cu),
// and the small products that the wide layer in closed form takes of them.
#pragma once
#include "basin/kernels/cuda/grid.cuh"

namespace basin::cuda {

// moments [1 + C, C] f64: the column means of t, then mean of (x - mean x)^T (t - mean t); the
// layout of kernels/cpu/row_moments.h. x and t: rows of C floats, all axes but the last. Scratch
// memory stays below 100 MiB for C up to 2048, whatever the number of rows.
void row_cross_moments(const char* name, const Tensor& x, const Tensor& t, Tensor& moments);

// The matrix below the means, [C, C]; and that matrix plus its transpose, [C, C] f64.
inline const double* moment_matrix(const Tensor& moments) {
  return in_ptr<double>(moments) + moments.size(1);
}
Tensor symmetric_moments(const char* name, const Tensor& moments);

// w s in double, [Cout, Cin]; w [Cout, Cin] of any float type, s [Cin, Cin].
Tensor wide_product(const char* name, const Tensor& w, const double* s);

}  // namespace basin::cuda
