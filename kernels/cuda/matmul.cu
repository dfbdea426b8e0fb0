// CUDA matrix products by cuBLAS. cuBLAS is column-major: the row-major C = op(A) op(B) is its
// C^T = op(B)^T op(A)^T. Reproducible from run to run: one stream, a workspace of fixed size, no
// atomics; f32 products are in f32 unless TF32 was allowed (gemm.h).
#include <cublas_v2.h>

#include <limits>

#include "basin/core/device_graph.h"
#include "basin/kernels/cuda/gemm.cuh"
#include "basin/kernels/cuda/grid.cuh"
#include "basin/kernels/elementwise.h"
#include "basin/kernels/gemm.h"

namespace basin {
namespace {

void check_blas(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  fail(ErrorKind::resource, Matmul::name, ": cuBLAS fails in ", what, ", status ",
       static_cast<int>(status));
}

// Made when first needed, never destroyed: the driver may be gone by then.
cublasHandle_t blas() {
  static cublasHandle_t handle = [] {
    constexpr size_t kWorkspace = size_t{32} << 20;
    const MemoryPool::Outside outside;  // a block of it would keep a recording's pool for ever
    static Tensor* workspace =
        new Tensor(Tensor::empty({static_cast<int64_t>(kWorkspace / 4)}, DType::f32, Device::cuda));
    cublasHandle_t made = nullptr;
    check_blas(cublasCreate(&made), "cublasCreate");
    check_blas(cublasSetStream(made, cuda::stream()), "cublasSetStream");
    check_blas(cublasSetWorkspace(made, workspace->mutable_raw(), kWorkspace),
               "cublasSetWorkspace");
    check_blas(cublasSetMathMode(made, CUBLAS_DEFAULT_MATH), "cublasSetMathMode");
    check_blas(cublasSetAtomicsMode(made, CUBLAS_ATOMICS_NOT_ALLOWED), "cublasSetAtomicsMode");
    return made;
  }();
  static bool tf32 = false;
  if (tf32 != tf32_allowed()) {
    tf32 = tf32_allowed();
    check_blas(cublasSetMathMode(handle, tf32 ? CUBLAS_TF32_TENSOR_OP_MATH : CUBLAS_DEFAULT_MATH),
               "cublasSetMathMode");
  }
  return handle;
}

template <class T>
cublasOperation_t op_of(const cuda::Operand<T>& x) {
  return x.transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
}

}  // namespace

template <class T>
void cuda::multiply(int64_t count, int64_t m, int64_t n, int64_t k, const Operand<T>& a,
                    const Operand<T>& b, T beta, T* c) {
  constexpr int64_t kMax = std::numeric_limits<int>::max();
  check(m <= kMax && n <= kMax && k <= kMax && count <= kMax, Matmul::name,
        ": a side is longer than 2^31 - 1, [", m, ", ", k, "] x [", k, ", ", n, "], batch ", count);
  const int im = static_cast<int>(m), in = static_cast<int>(n), ik = static_cast<int>(k);
  const int lda = static_cast<int>(a.row), ldb = static_cast<int>(b.row);
  const int batch = static_cast<int>(count);
  const T one = 1;
  cublasStatus_t status;
  if constexpr (sizeof(T) == 4) {
    status = cublasSgemmStridedBatched(blas(), op_of(b), op_of(a), in, im, ik, &one, b.p, ldb,
                                       b.batch, a.p, lda, a.batch, &beta, c, in, m * n, batch);
  } else {
    status = cublasDgemmStridedBatched(blas(), op_of(b), op_of(a), in, im, ik, &one, b.p, ldb,
                                       b.batch, a.p, lda, a.batch, &beta, c, in, m * n, batch);
  }
  check_blas(status, "gemmStridedBatched");
  check_launch(Matmul::name);
}
template void cuda::multiply(int64_t, int64_t, int64_t, int64_t, const Operand<float>&,
                             const Operand<float>&, float, float*);
template void cuda::multiply(int64_t, int64_t, int64_t, int64_t, const Operand<double>&,
                             const Operand<double>&, double, double*);

void Matmul::cuda(const Tensor& a, const Tensor& b, bool trans_a, bool trans_b, Tensor& out) {
  if (out.numel() == 0) return;
  const int64_t m = out.size(-2), n = out.size(-1), k = a.size(trans_a ? -2 : -1);
  const int64_t count = out.numel() / (m * n);
  dispatch_float(a.dtype(), name, [&](auto z) {
    using T = decltype(z);
    T* c = cuda::out_ptr<T>(out);
    if (k == 0) {
      out.fill(0);
      return;
    }
    const cuda::Operand<T> left{cuda::in_ptr<T>(a), trans_a ? m : k, a.rank() == 2 ? 0 : m * k,
                                trans_a};
    const cuda::Operand<T> right{cuda::in_ptr<T>(b), trans_b ? k : n, b.rank() == 2 ? 0 : k * n,
                                 trans_b};
    if (b.rank() == 2 && !trans_a) {  // one product of count * m rows
      cuda::multiply<T>(1, count * m, n, k, left, right, T(0), c);
    } else {
      cuda::multiply<T>(count, m, n, k, left, right, T(0), c);
    }
  });
}

void MatmulAdd::cuda(const Tensor& a, const Tensor& b, bool trans_a, bool trans_b,
                     const Tensor& addend, Tensor& out) {
  Matmul::cuda(a, b, trans_a, trans_b, out);
  BinaryMap::cuda(Binary::add, out, addend, out);
}

}  // namespace basin
