// The largest singular triples by a block Krylov iteration with full re-orthogonalisation. Bases
// are kept as rows: U [dim, m] and Z = (A^T U)^T [dim, n]. Z = W S V^T gives u = W^T U, and then
// A^T u = s v holds to rounding, so that |A v - s u| is the whole residual.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "basin/core/random.h"
#include "basin/kernels/gemm.h"
#include "basin/kernels/linalg.h"

namespace basin {
namespace {

constexpr int64_t kSpare = 4;        // columns of a block beyond k: close followers converge too
constexpr int64_t kLargestPart = 3;  // the space may span a third of p
constexpr int64_t kSmallSide = 32;   // below, the whole decomposition costs nothing

template <class T>
double dot(const T* a, const T* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

// Rows that are orthonormal; new ones are made so by Gram-Schmidt, twice. A row that is nothing but
// rounding noise beside those that are there is left out.
template <class T>
class Basis {
 public:
  explicit Basis(int64_t length) : length_(length) {}
  int64_t rows() const { return rows_; }
  const T* row(int64_t i) const { return values_.data() + i * length_; }
  // Rows of block [count, length]; returns how many of them were new directions.
  int64_t extend(const std::vector<T>& block, int64_t count) {
    const int64_t before = rows_;
    for (int64_t r = 0; r < count; ++r) {
      values_.insert(values_.end(), block.begin() + r * length_, block.begin() + (r + 1) * length_);
      T* x = values_.data() + rows_ * length_;
      const double start = std::sqrt(dot(x, x, length_));
      for (int pass = 0; pass < 2; ++pass) {
        for (int64_t i = 0; i < rows_; ++i) {
          const T* q = row(i);
          const T overlap = static_cast<T>(dot(q, x, length_));
          for (int64_t j = 0; j < length_; ++j) x[j] -= overlap * q[j];
        }
      }
      const double left = std::sqrt(dot(x, x, length_));
      const double noise = 100 * static_cast<double>(std::numeric_limits<T>::epsilon());
      if (left <= noise * start) {
        values_.resize(static_cast<size_t>(rows_ * length_));
        continue;
      }
      for (int64_t j = 0; j < length_; ++j) x[j] = static_cast<T>(x[j] / left);
      ++rows_;
    }
    return rows_ - before;
  }

 private:
  int64_t length_, rows_ = 0;
  std::vector<T> values_;
};

template <class T>
struct Krylov {
  const T* a;
  int64_t m, n, k;
  Basis<T> u, v;
  std::vector<T> z;  // (A^T U)^T

  // rows [count, n] -> rows A^T applied from the left side of A: (A x)^T, [count, m]
  std::vector<T> times_a(const T* rows, int64_t count) const {
    std::vector<T> out(static_cast<size_t>(count * m));
    gemm_serial(false, true, count, m, n, T(1), rows, n, a, n, T(0), out.data(), m);
    return out;
  }
  std::vector<T> times_transpose(const T* rows, int64_t count) const {
    std::vector<T> out(static_cast<size_t>(count * n));
    gemm_serial(false, false, count, n, m, T(1), rows, m, a, n, T(0), out.data(), n);
    return out;
  }
  // The next block of both bases; false when there is no new direction.
  bool grow(const std::vector<T>& start, int64_t count) {
    const int64_t fresh = v.extend(start, count);
    if (fresh == 0) return false;
    const int64_t more = u.extend(times_a(v.row(v.rows() - fresh), fresh), fresh);
    if (more == 0) return false;
    const std::vector<T> image = times_transpose(u.row(u.rows() - more), more);
    z.insert(z.end(), image.begin(), image.end());
    last = more;
    return true;
  }
  std::vector<T> newest() const { return std::vector<T>(z.end() - last * n, z.end()); }
  int64_t last = 0;
};

template <class T>
Tensor first_rows(const Tensor& t, int64_t count) {
  const std::span<const T> all(t.data<T>(), static_cast<size_t>(count * t.size(1)));
  return Tensor::from(all, {count, t.size(1)});
}

// The k best triples of the space; returns the largest residual |A v - s u| among them.
template <class T>
double best_triples(const Krylov<T>& space, SvdFactors& out) {
  const int64_t dim = space.u.rows(), m = space.m, n = space.n, k = space.k;
  const SvdFactors inner = Svd::cpu(Tensor::from(std::span<const T>(space.z), {dim, n}));
  const int64_t p = inner.s.numel();
  out.s = Tensor::from(std::span<const T>(inner.s.data<T>(), static_cast<size_t>(k)), {k});
  out.vt = first_rows<T>(inner.vt, k);
  std::vector<T> left(static_cast<size_t>(m * k)), image(static_cast<size_t>(m * k));
  // u [m, k] = U^T W with U as rows [dim, m]
  gemm_serial(true, false, m, k, dim, T(1), space.u.row(0), m, inner.u.data<T>(), p, T(0),
              left.data(), k);
  gemm_serial(false, true, m, k, n, T(1), space.a, n, out.vt.data<T>(), n, T(0), image.data(), k);
  out.u = Tensor::from(std::span<const T>(left), {m, k});
  const T* s = out.s.data<T>();
  double worst = 0;
  for (int64_t j = 0; j < k; ++j) {
    double square = 0;
    for (int64_t i = 0; i < m; ++i) {
      const double r = static_cast<double>(image[i * k + j]) -
                       static_cast<double>(s[j]) * static_cast<double>(left[i * k + j]);
      square += r * r;
    }
    worst = std::max(worst, std::sqrt(square));
  }
  return worst;
}

// Whether the space may still get there. A residual falls with the dimension faster and faster, so
// twice as fast from here on as on the average so far is granted.
bool within_reach(double residual, double tolerance, int64_t dim, int64_t largest) {
  const double left = static_cast<double>(largest - dim) / static_cast<double>(dim);
  return std::pow(residual, 1 + 2 * left) <= tolerance;
}

template <class T>
SvdFactors leading(SvdFactors whole, int64_t k) {
  const int64_t m = whole.u.size(0), p = whole.s.numel();
  SvdFactors out{Tensor::empty({m, k}, whole.s.dtype()),
                 Tensor::from(std::span<const T>(whole.s.data<T>(), static_cast<size_t>(k)), {k}),
                 first_rows<T>(whole.vt, k)};
  T* u = out.u.mutable_data<T>();
  for (int64_t i = 0; i < m; ++i) std::copy_n(whole.u.data<T>() + i * p, k, u + i * k);
  return out;
}

template <class T>
SvdFactors top_svd(const Tensor& a, int64_t k, double tolerance) {
  const int64_t m = a.size(0), n = a.size(1), p = std::min(m, n), block = k + kSpare;
  const int64_t largest = p / kLargestPart;
  if (p >= kSmallSide && 2 * block <= largest) {
    Krylov<T> space{a.data<T>(), m, n, k, Basis<T>(m), Basis<T>(n), {}};
    Rng rng(0, stream_id("top_svd", static_cast<uint64_t>(m), static_cast<uint64_t>(n)));
    std::vector<T> next(static_cast<size_t>(block * n));
    for (T& x : next) x = static_cast<T>(rng.normal());
    SvdFactors out;
    int64_t look = 2 * block;  // a look costs as much as a few blocks
    for (int64_t count = block; space.u.rows() + count <= largest; count = space.last) {
      const bool grew = space.grow(next, count);
      const int64_t dim = space.u.rows();
      if (!grew && dim < k) break;
      if (!grew || dim >= look || dim + space.last > largest) {
        const double residual = best_triples(space, out);
        const auto first = static_cast<double>(out.s.data<T>()[0]);
        if (residual <= tolerance * first) return out;
        if (!within_reach(residual / first, tolerance, dim, largest)) break;
        look = dim + std::max(block, dim / 2);
      }
      if (!grew) break;
      next = space.newest();
    }
  }
  return leading<T>(Svd::cpu(a), k);
}

}  // namespace

void fix_signs(SvdFactors& f) {
  dispatch_float(f.s.dtype(), "fix_signs", [&](auto t) {
    using T = decltype(t);
    const int64_t m = f.u.size(0), p = f.s.numel(), n = f.vt.size(1);
    T* u = f.u.mutable_data<T>();
    T* vt = f.vt.mutable_data<T>();
    for (int64_t j = 0; j < p; ++j) {
      T largest = 0;
      for (int64_t i = 0; i < m; ++i) {
        if (std::abs(u[i * p + j]) > std::abs(largest)) largest = u[i * p + j];
      }
      if (!(largest < 0)) continue;
      for (int64_t i = 0; i < m; ++i) u[i * p + j] = -u[i * p + j];
      for (int64_t i = 0; i < n; ++i) vt[j * n + i] = -vt[j * n + i];
    }
  });
}

SvdFactors TopSvd::cpu(const Tensor& a, int64_t k, double tolerance) {
  check(a.defined() && a.rank() == 2, name, ": expects a matrix, got ", a);
  const int64_t p = std::min(a.size(0), a.size(1));
  check(k >= 1 && k <= p, name, ": expects k from 1 to ", p, " for a matrix ", a.shape(), ", got ",
        k);
  check(tolerance > 0, name, ": expects a tolerance above 0, got ", tolerance);
  SvdFactors out = dispatch_float(a.dtype(), name,
                                  [&](auto t) { return top_svd<decltype(t)>(a, k, tolerance); });
  fix_signs(out);
  return out;
}

}  // namespace basin
