// General matrix product: C = alpha op(A) op(B) + beta C, row-major, op the identity or the
// transpose. The work is cut into fixed tiles of C, and for tall-skinny products (dW = X^T dY, k in
// the ten thousands) into fixed chunks of k whose partial sums are added in chunk order. The cut
// depends on m, n and k only, so the bits do not depend on the thread count. With AVX-512 or AVX2
// the tiles are Basin's own (equal rows of A give equal rows of C); otherwise they are serial calls
// to OpenBLAS.
#pragma once
#include <cstdint>
#include <string>

#include "basin/core/tensor.h"

namespace basin {

// A matrix D in the place of C behind beta, its rows `stride` apart; stride 0: one row for all.
template <class T>
struct Addend {
  const T* data = nullptr;
  int64_t stride = 0;
};

// bf16: all entries of A and B are bf16 numbers. Processors that multiply these are then faster;
// sums are of T as before.
enum class Factors { any, bf16 };

// C [m, n], op(A) [m, k], op(B) [k, n]; lda, ldb, ldc are the row strides of the stored matrices.
// With an addend C = alpha op(A) op(B) + beta D, where D is not C. beta = 0 reads neither. Of a
// rectified result negative entries become 0. Defined for float and double.
template <class T>
void gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a,
          int64_t lda, const T* b, int64_t ldb, T beta, T* c, int64_t ldc,
          const Addend<T>& addend = {}, Factors factors = Factors::any, bool rectified = false);

// The same in the calling thread: for use inside a tile.
template <class T>
void gemm_serial(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a,
                 int64_t lda, const T* b, int64_t ldb, T beta, T* c, int64_t ldc,
                 const Addend<T>& addend = {}, Factors factors = Factors::any);

// The same for a C [n, n] that is known to be symmetric: the tiles on and below the diagonal are
// multiplied, the rest is mirrored. Known to be symmetric up to rounding is enough; the result then
// is the lower half's.
template <class T>
void gemm_symmetric(bool trans_b, int64_t n, int64_t k, T alpha, const T* a, int64_t lda,
                    const T* b, int64_t ldb, T beta, T* c, int64_t ldc,
                    Factors factors = Factors::any);

// What multiplies matrices here, e.g. "Basin avx512, OpenBLAS 0.3.21 SkylakeX": the own core's
// instruction set, then the library (it also serves the decompositions) with the core type it
// chose. Print it beside any timing: OpenBLAS picks "Prescott" for a CPU younger than itself and is
// then ten times slower.
std::string blas_description();

// Whether f32 products on a GPU may round their factors to TF32 (10 bits of mantissa) for its
// tensor cores. Off unless allowed; f64 and the CPU never do. Whoever allows it says so in the
// record.
void allow_tf32(bool allowed);
bool tf32_allowed();

// out[.., i, j] = sum_l op(a)[.., i, l] op(b)[.., l, j]. Batch axes are equal, or one side has rank
// 2 and is shared by the whole batch.
struct Matmul {
  static constexpr const char* name = "matmul";
  using Run = void(const Tensor& a,  // [.., m, k], or [.., k, m] with trans_a
                   const Tensor& b,  // [.., k, n], or [.., n, k] with trans_b
                   bool trans_a, bool trans_b,
                   Tensor& out);  // [.., m, n], preallocated
  static Run cpu, cuda;
};

// The same plus an addend.
struct MatmulAdd {
  static constexpr const char* name = "matmul";
  using Run = void(const Tensor& a, const Tensor& b, bool trans_a, bool trans_b,
                   const Tensor& addend,  // [n], or of the shape of out
                   Tensor& out);
  static Run cpu, cuda;
};

// max(0, x w^T + bias); a NaN stays. For the CPU: on a device the op is a product, then relu.
struct LinearRelu {
  static constexpr const char* name = "linear_relu";
  using Run = void(const Tensor& x,                      // [.., in]
                   const Tensor& w, const Tensor& bias,  // [out, in], [out]
                   Tensor& out);                         // [.., out], preallocated
  static Run cpu;
};

}  // namespace basin
