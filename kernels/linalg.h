// Dense factorisations through LAPACK, f32 and f64, row-major in and out, on the CPU.
//   Svd:             A = U diag(s) V^T, thin, s descending (divide and conquer gesdd, QR iteration
//                    gesvd as second attempt)
//   TopSvd:          the k largest triples, at a fraction of the cost where k << min(m, n)
//   SingularValues:  s alone
//   QrBasis:         Q of A = Q R by Householder reflections: orthonormal whatever the rank of A
//   Eigh:            A = Q diag(w) Q^T for symmetric A, w ascending
// Input with NaN or Inf, and a failure to converge, are numerical errors. BLAS runs serially inside
// a call; callers parallelise over matrices.
#pragma once
#include <string_view>

#include "basin/core/tensor.h"

namespace basin {

struct SvdFactors {
  Tensor u;   // [m, p], p = min(m, n)
  Tensor s;   // [p]
  Tensor vt;  // [p, n]
};

struct Svd {
  static constexpr std::string_view name = "svd";
  static SvdFactors cpu(const Tensor& a);  // [m, n]
};

// Block Krylov iteration (Musco, Musco 2015) from a fixed random block: products with A and A^T
// span a space, whose best triples have A^T u = s v and a residual |A v - s u| that is measured. It
// ends when every one of the k is at most `tolerance` times the largest s; the error of a value is
// at most its residual, that of a vector the residual over the gap to the other values. A space
// that would have to grow beyond a third of p, or closes before k triples, gives way to Svd. Signs:
// the element of u that is largest in magnitude, the first of equals, is positive.
struct TopSvd {
  static constexpr std::string_view name = "top_svd";
  static SvdFactors cpu(const Tensor& a, int64_t k, double tolerance);  // [m, n]; 1 <= k <= p
};
// The signs of TopSvd for factors that come from elsewhere.
void fix_signs(SvdFactors& factors);

struct SingularValues {
  static constexpr std::string_view name = "singular_values";
  static Tensor cpu(const Tensor& a);  // [m, n] -> [min(m, n)]
};

struct QrBasis {
  static constexpr std::string_view name = "qr_basis";
  static Tensor cpu(const Tensor& a);  // [m, n] with m >= n -> [m, n]
};

struct EighFactors {
  Tensor values;   // [n]
  Tensor vectors;  // [n, n], column j belongs to values[j]
};

struct Eigh {
  static constexpr std::string_view name = "eigh";
  static EighFactors cpu(const Tensor& a);  // [n, n]; only the lower triangle is read
};

// Makes OpenBLAS run in the calling thread, so that its bits do not depend on a thread count.
// Called by every user of BLAS in this library; costs nothing after the first call.
void use_serial_blas();

}  // namespace basin
