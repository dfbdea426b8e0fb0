// Dense factorisations through LAPACK, f32 and f64, row-major in and out, on the CPU.
//   Svd:             A = U diag(s) V^T, thin, s descending (divide and conquer gesdd, QR iteration
//                    gesvd as second attempt)
//   SingularValues:  s alone
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

struct SingularValues {
  static constexpr std::string_view name = "singular_values";
  static Tensor cpu(const Tensor& a);  // [m, n] -> [min(m, n)]
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
