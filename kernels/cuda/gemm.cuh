// Matrix products by cuBLAS on device pointers (kernels/cuda/matmul.cu), for kernels that multiply
// pieces of their own memory. Row-major. Reproducible from run to run; f32 stays f32 (no TF32).
#pragma once
#include <cstdint>

namespace basin::cuda {

// One operand: its pointer, row stride, and the elements from one batch entry to the next.
template <class T>
struct Operand {
  const T* p;
  int64_t row, batch;
  bool transposed;
};

// c [count, m, n] = op(a) [count, m, k] op(b) [count, k, n] + beta c; beta = 0 never reads c.
// Defined for float and double; k >= 1.
template <class T>
void multiply(int64_t count, int64_t m, int64_t n, int64_t k, const Operand<T>& a,
              const Operand<T>& b, T beta, T* c);

}  // namespace basin::cuda
