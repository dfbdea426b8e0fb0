// The largest product of each channel with any row of a cloud, on CUDA (kernels/cuda/row_max.cu).
#pragma once
#include "basin/core/tensor.h"

namespace basin::cuda {

// best[b, c] = max_n sign(gamma[c]) x[b, n, :] . w[c, :] and argmax, the lowest n that reaches it;
// the sign of zero is zero, so that point 0 wins. A NaN product wins. Equal rows give equal bits.
void row_max(const char* name, const Tensor& x,     // [B, N, Cin]
             const Tensor& w, const Tensor& gamma,  // [Cout, Cin], [Cout]
             Tensor& best, Tensor& argmax);         // [B, Cout], i32 [B, Cout]

}  // namespace basin::cuda
