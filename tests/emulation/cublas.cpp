// Host stand-ins of cuBLAS. The leading dimensions are held against the shapes, as cuBLAS does, and
// the operands must be in device memory. They are read once, under the sanitizers; the sums then
// run over copies of them, without.
#include "basin/tests/emulation/cublas_v2.h"

#include <vector>

#include "basin/tests/emulation/counts.h"
#include "basin/tests/emulation/device_memory.h"
#include "basin/tests/emulation/emulator.h"

struct EmulationBlas {
  cudaStream_t stream = nullptr;
};

namespace {

// sum [m] = a [m, k] b [k], a by columns; each sum in the order of k
[[gnu::no_sanitize("address", "undefined"), gnu::optimize("O3")]] void column(int m, int k,
                                                                              const double* a,
                                                                              const double* b,
                                                                              double* sum) {
  for (int i = 0; i < m; ++i) sum[i] = 0;
  for (int l = 0; l < k; ++l) {
    const double factor = b[l];
    for (int i = 0; i < m; ++i) sum[i] += a[static_cast<long long>(l) * m + i] * factor;
  }
}

template <class T>
cublasStatus_t product(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m,
                       int n, int k, T alpha, const T* a, int lda, long long stride_a, const T* b,
                       int ldb, long long stride_b, T beta, T* c, int ldc, long long stride_c,
                       int batch) {
  const bool ta = op_a == CUBLAS_OP_T, tb = op_b == CUBLAS_OP_T;
  if (m < 0 || n < 0 || k < 0 || batch < 0 || lda < (ta ? k : m) || ldb < (tb ? n : k) || ldc < m ||
      !basin::emu::is_device(a) || !basin::emu::is_device(b) || !basin::emu::is_device(c)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  ++basin::emu::counts_so_far().products;
  if (basin::emu::count_only()) return CUBLAS_STATUS_SUCCESS;
  basin::emu::put_on_stream(handle->stream, [=] {
    const basin::emu::DeviceMemoryAccess access;
    const auto at = [](int i, int j, int rows) { return static_cast<size_t>(j) * rows + i; };
    std::vector<double> left(at(0, k, m)), right(k), sum(m);
    for (long long s = 0; s < batch; ++s) {
      const T *pa = a + s * stride_a, *pb = b + s * stride_b;
      for (int l = 0; l < k; ++l) {
        for (int i = 0; i < m; ++i) left[at(i, l, m)] = pa[ta ? at(l, i, lda) : at(i, l, lda)];
      }
      for (int j = 0; j < n; ++j) {
        for (int l = 0; l < k; ++l) right[l] = pb[tb ? at(j, l, ldb) : at(l, j, ldb)];
        column(m, k, left.data(), right.data(), sum.data());
        T* out = c + s * stride_c + at(0, j, ldc);
        for (int i = 0; i < m; ++i) {
          out[i] = static_cast<T>(alpha * sum[i] + (beta == T(0) ? 0.0 : beta * out[i]));
        }
      }
    }
  });
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace

cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  *handle = new EmulationBlas;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetWorkspace(cublasHandle_t, void* workspace, size_t) {
  return basin::emu::is_device(workspace) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t) { return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasSetAtomicsMode(cublasHandle_t, cublasAtomicsMode_t) {
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t handle, cublasOperation_t op_a,
                                         cublasOperation_t op_b, int m, int n, int k,
                                         const float* alpha, const float* a, int lda,
                                         long long stride_a, const float* b, int ldb,
                                         long long stride_b, const float* beta, float* c, int ldc,
                                         long long stride_c, int batch) {
  return product(handle, op_a, op_b, m, n, k, *alpha, a, lda, stride_a, b, ldb, stride_b, *beta, c,
                 ldc, stride_c, batch);
}
cublasStatus_t cublasDgemmStridedBatched(cublasHandle_t handle, cublasOperation_t op_a,
                                         cublasOperation_t op_b, int m, int n, int k,
                                         const double* alpha, const double* a, int lda,
                                         long long stride_a, const double* b, int ldb,
                                         long long stride_b, const double* beta, double* c, int ldc,
                                         long long stride_c, int batch) {
  return product(handle, op_a, op_b, m, n, k, *alpha, a, lda, stride_a, b, ldb, stride_b, *beta, c,
                 ldc, stride_c, batch);
}
