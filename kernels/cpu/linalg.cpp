// LAPACK behind row-major tensors. A row-major [m, n] block is the column-major transpose, and
// A^T = V S U^T, so the factors of the transposed call land in row-major order without a copy:
// LAPACK's left factor is V (row-major V^T), its right factor U^T (row-major U). The Fortran
// symbols are declared here because OpenBLAS exports them without the LAPACKE wrappers.
#include "basin/kernels/linalg.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <vector>

#include "basin/kernels/cpu/isa.h"
#include "basin/kernels/cpu/vectors.h"

extern "C" {
// The trailing size_t arguments are the hidden lengths of the character arguments.
void sgesdd_(const char*, const int*, const int*, float*, const int*, float*, float*, const int*,
             float*, const int*, float*, const int*, int*, int*, size_t);
void dgesdd_(const char*, const int*, const int*, double*, const int*, double*, double*, const int*,
             double*, const int*, double*, const int*, int*, int*, size_t);
void sgesvd_(const char*, const char*, const int*, const int*, float*, const int*, float*, float*,
             const int*, float*, const int*, float*, const int*, int*, size_t, size_t);
void dgesvd_(const char*, const char*, const int*, const int*, double*, const int*, double*,
             double*, const int*, double*, const int*, double*, const int*, int*, size_t, size_t);
void sgeqrf_(const int*, const int*, float*, const int*, float*, float*, const int*, int*);
void dgeqrf_(const int*, const int*, double*, const int*, double*, double*, const int*, int*);
void sorgqr_(const int*, const int*, const int*, float*, const int*, const float*, float*,
             const int*, int*);
void dorgqr_(const int*, const int*, const int*, double*, const int*, const double*, double*,
             const int*, int*);
void ssyevd_(const char*, const char*, const int*, float*, const int*, float*, float*, const int*,
             int*, const int*, int*, size_t, size_t);
void dsyevd_(const char*, const char*, const int*, double*, const int*, double*, double*,
             const int*, int*, const int*, int*, size_t, size_t);
}

namespace basin {
namespace {

template <class T>
struct Lapack;
template <>
struct Lapack<float> {
  static constexpr auto gesdd = sgesdd_;
  static constexpr auto gesvd = sgesvd_;
  static constexpr auto geqrf = sgeqrf_;
  static constexpr auto orgqr = sorgqr_;
  static constexpr auto syevd = ssyevd_;
};
template <>
struct Lapack<double> {
  static constexpr auto gesdd = dgesdd_;
  static constexpr auto gesvd = dgesvd_;
  static constexpr auto geqrf = dgeqrf_;
  static constexpr auto orgqr = dorgqr_;
  static constexpr auto syevd = dsyevd_;
};

void check_matrix(std::string_view op, const Tensor& a) {
  chosen_isa();  // of the library too, before its first call
  check(a.defined() && a.rank() == 2, op, ": expects a matrix, got ", a);
  check(is_float(a.dtype()), op, ": expects f32 or f64, got ", name_of(a.dtype()));
  check(std::max(a.size(0), a.size(1)) < std::numeric_limits<int>::max() / 4, op, ": the matrix ",
        a.shape(), " is too large for LAPACK");
}

template <class T>
void check_finite(std::string_view op, const Tensor& a) {
  const T* x = a.data<T>();
  for (int64_t i = 0; i < a.numel(); ++i) {
    if (!std::isfinite(x[i])) {
      fail(ErrorKind::numerical, op, ": element ", i, " of the matrix ", a.shape(), " is ", x[i]);
    }
  }
}

// job 'S': thin factors; 'N': singular values alone (u and vt may be null).
template <class T>
int run_gesdd(char job, int m, int n, T* a, T* s, T* left, T* right) {
  const int p = std::min(m, n), ld_left = m, ld_right = p, query = -1;
  std::vector<int> integers(static_cast<size_t>(8) * p);
  T size = 0;
  int info = 0;
  Lapack<T>::gesdd(&job, &m, &n, a, &m, s, left, &ld_left, right, &ld_right, &size, &query,
                   integers.data(), &info, 1);
  // f32 cannot hold every size exactly; one part in 2^20 on top covers the rounding.
  const int work_size = static_cast<int>(static_cast<double>(size) * (1 + 1e-6)) + 1;
  std::vector<T> work(work_size);
  Lapack<T>::gesdd(&job, &m, &n, a, &m, s, left, &ld_left, right, &ld_right, work.data(),
                   &work_size, integers.data(), &info, 1);
  return info;
}

template <class T>
int run_gesvd(char job, int m, int n, T* a, T* s, T* left, T* right) {
  const int p = std::min(m, n), ld_left = m, ld_right = p, query = -1;
  T size = 0;
  int info = 0;
  Lapack<T>::gesvd(&job, &job, &m, &n, a, &m, s, left, &ld_left, right, &ld_right, &size, &query,
                   &info, 1, 1);
  const int work_size = static_cast<int>(static_cast<double>(size) * (1 + 1e-6)) + 1;
  std::vector<T> work(work_size);
  Lapack<T>::gesvd(&job, &job, &m, &n, a, &m, s, left, &ld_left, right, &ld_right, work.data(),
                   &work_size, &info, 1, 1);
  return info;
}

template <class T>
SvdFactors svd_of(std::string_view op, const Tensor& a, char job) {
  check_finite<T>(op, a);
  const int rows = static_cast<int>(a.size(0)), cols = static_cast<int>(a.size(1));
  const int64_t p = std::min(rows, cols);
  SvdFactors out;
  out.s = Tensor::empty({p}, a.dtype());
  const bool factors = job == 'S';
  if (factors) {
    out.u = Tensor::empty({rows, p}, a.dtype());
    out.vt = Tensor::empty({p, cols}, a.dtype());
  }
  if (p == 0) return out;
  use_serial_blas();
  T unused = 0;
  T* left = factors ? out.vt.mutable_data<T>() : &unused;
  T* right = factors ? out.u.mutable_data<T>() : &unused;
  Tensor scratch = a.clone();
  T* s = out.s.mutable_data<T>();
  int info = run_gesdd<T>(job, cols, rows, scratch.mutable_data<T>(), s, left, right);
  if (info != 0) {
    scratch.copy_from(a);
    info = run_gesvd<T>(job, cols, rows, scratch.mutable_data<T>(), s, left, right);
  }
  if (info != 0) {
    fail(ErrorKind::numerical, op, ": neither gesdd nor gesvd converged on the matrix ", a.shape(),
         " (info ", info, "); try f64");
  }
  return out;
}

template <class T>
Tensor qr_basis_of(const Tensor& a) {
  check_finite<T>(QrBasis::name, a);
  const int m = static_cast<int>(a.size(0)), n = static_cast<int>(a.size(1));
  Tensor out = Tensor::empty(a.shape(), a.dtype());
  if (n == 0) return out;
  use_serial_blas();
  constexpr int kPanel = 64;  // columns that the blocked form works on at a time
  const int work_size = kPanel * n;
  std::vector<T> columns(static_cast<size_t>(m) * n), tau(n), work(work_size);
  transpose(a.data<T>(), m, n, n, columns.data(), m);
  int info = 0;
  Lapack<T>::geqrf(&m, &n, columns.data(), &m, tau.data(), work.data(), &work_size, &info);
  Lapack<T>::orgqr(&m, &n, &n, columns.data(), &m, tau.data(), work.data(), &work_size, &info);
  transpose(columns.data(), n, m, m, out.mutable_data<T>(), n);
  return out;
}

template <class T>
EighFactors eigh_of(const Tensor& a) {
  const int n = static_cast<int>(a.size(0));
  EighFactors out{Tensor::empty({n}, a.dtype()), Tensor::empty({n, n}, a.dtype())};
  if (n == 0) return out;
  // Column-major upper triangle = row-major lower triangle. Only that half has to be finite.
  std::vector<T> q(static_cast<size_t>(n) * n, T(0));
  const T* x = a.data<T>();
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      if (!std::isfinite(x[i * n + j])) {
        fail(ErrorKind::numerical, "eigh: element (", i, ", ", j, ") is ", x[i * n + j]);
      }
      q[i * n + j] = x[i * n + j];
    }
  }
  use_serial_blas();
  const char job = 'V', half = 'U';
  const int query = -1;
  T* values = out.values.mutable_data<T>();
  T size = 0;
  int integer_size = 0, info = 0;
  Lapack<T>::syevd(&job, &half, &n, q.data(), &n, values, &size, &query, &integer_size, &query,
                   &info, 1, 1);
  const int work_size = static_cast<int>(static_cast<double>(size) * (1 + 1e-6)) + 1;
  std::vector<T> work(work_size);
  std::vector<int> integers(integer_size);
  Lapack<T>::syevd(&job, &half, &n, q.data(), &n, values, work.data(), &work_size, integers.data(),
                   &integer_size, &info, 1, 1);
  if (info != 0) {
    fail(ErrorKind::numerical, "eigh: syevd did not converge on the matrix ", a.shape(), " (info ",
         info, "); try f64");
  }
  T* vectors = out.vectors.mutable_data<T>();  // q holds one eigenvector per row
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) vectors[j * n + i] = q[i * n + j];
  }
  return out;
}

}  // namespace

void use_serial_blas() {
  static std::once_flag once;
  std::call_once(once, [] { openblas_set_num_threads(1); });
}

SvdFactors Svd::cpu(const Tensor& a) {
  check_matrix(name, a);
  return dispatch_float(a.dtype(), name, [&](auto t) { return svd_of<decltype(t)>(name, a, 'S'); });
}

Tensor SingularValues::cpu(const Tensor& a) {
  check_matrix(name, a);
  return dispatch_float(a.dtype(), name,
                        [&](auto t) { return svd_of<decltype(t)>(name, a, 'N').s; });
}

Tensor QrBasis::cpu(const Tensor& a) {
  check_matrix(name, a);
  check(a.size(0) >= a.size(1), name, ": expects at least as many rows as columns, got ",
        a.shape());
  return dispatch_float(a.dtype(), name, [&](auto t) { return qr_basis_of<decltype(t)>(a); });
}

EighFactors Eigh::cpu(const Tensor& a) {
  check_matrix(name, a);
  check(a.size(0) == a.size(1), "eigh: expects a square matrix, got ", a.shape());
  return dispatch_float(a.dtype(), name, [&](auto t) { return eigh_of<decltype(t)>(a); });
}

}  // namespace basin
