// Tiles of 1,024 numbers: a tile of a hundred vectors stays in the second-level cache, so that each
// of the two projections reads the basis from memory once only for its sums, and the first update
// and the second sums share a pass.
#include "basin/analysis/detail/orthonormal_basis.h"

#include <algorithm>
#include <cmath>

#include "basin/core/error.h"
#include "basin/core/parallel.h"
#include "basin/core/random.h"

namespace basin {
namespace {

constexpr int64_t kTile = 1024;
constexpr int64_t kStrip = 64;  // of rotate(): numbers of each vector at a time

void add_to(double* y, double factor, const double* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] += factor * x[i];
}

// Sums over the tiles of [0, n), `width` of them at once: body(begin, length, sums) fills a tile's.
template <class Body>
std::vector<double> tiled_sums(int64_t n, int64_t width, Body&& body) {
  const int64_t tiles = tile_count(n, kTile);
  Tensor partial = Tensor::empty({tiles, width}, DType::f64);
  double* parts = partial.mutable_data<double>();
  parallel_for(n, kTile, [&](int64_t begin, int64_t end) {
    body(begin, end - begin, parts + begin / kTile * width);
  });
  std::vector<double> sums(static_cast<size_t>(width), 0.0);
  for (int64_t t = 0; t < tiles; ++t) {
    for (int64_t k = 0; k < width; ++k) sums[static_cast<size_t>(k)] += parts[t * width + k];
  }
  return sums;
}

void check_vector(const Tensor& v, int64_t n, const char* what) {
  check(v.defined() && v.rank() == 1 && v.numel() == n && v.dtype() == DType::f64, what,
        ": expects a vector [", n, "] in f64, got ", v);
}

}  // namespace

// Eight partial sums, so that the compiler may use vectors without changing the order.
double dot_of(const double* a, const double* b, int64_t n) {
  double part[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (int64_t k = 0; k < 8; ++k) part[k] += a[i + k] * b[i + k];
  }
  for (; i < n; ++i) part[0] += a[i] * b[i];
  return ((part[0] + part[4]) + (part[2] + part[6])) + ((part[1] + part[5]) + (part[3] + part[7]));
}

OrthonormalBasis::Projection OrthonormalBasis::project_out(Tensor& w) const {
  check_vector(w, n_, "project_out");
  const int64_t m = size();
  const auto count = static_cast<size_t>(m);
  double* x = w.mutable_data<double>();
  std::vector<const double*> v;
  for (const Tensor& t : vectors_) v.push_back(t.data<double>());
  const auto sums_of = [&](int64_t begin, int64_t length, double* sums) {
    for (size_t i = 0; i < count; ++i) sums[i] = dot_of(v[i] + begin, x + begin, length);
    sums[m] = dot_of(x + begin, x + begin, length);
  };
  const auto subtract = [&](const std::vector<double>& c, int64_t begin, int64_t length) {
    for (size_t i = 0; i < count; ++i) add_to(x + begin, -c[i], v[i] + begin, length);
  };
  const std::vector<double> first = tiled_sums(n_, m + 1, sums_of);
  const std::vector<double> second = tiled_sums(n_, m + 1, [&](int64_t b, int64_t l, double* sums) {
    subtract(first, b, l);
    sums_of(b, l, sums);
  });
  const std::vector<double> left = tiled_sums(n_, 1, [&](int64_t b, int64_t l, double* sums) {
    subtract(second, b, l);
    sums[0] = dot_of(x + b, x + b, l);
  });
  Projection out{std::vector<double>(count), std::sqrt(first[count]), std::sqrt(left[0])};
  for (size_t i = 0; i < count; ++i) out.coefficients[i] = first[i] + second[i];
  return out;
}

void OrthonormalBasis::append(Tensor w, double length) {
  check_vector(w, n_, "append");
  double* x = w.mutable_data<double>();
  parallel_for(n_, kTile, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) x[i] /= length;
  });
  vectors_.push_back(std::move(w));
}

void OrthonormalBasis::rotate(std::span<const double> s, int64_t p) {
  const int64_t m = size();
  check(p <= m && static_cast<int64_t>(s.size()) == m * p, "rotate: expects a matrix [", m,
        ", <= m], got ", s.size(), " numbers for ", p, " columns");
  std::vector<double*> v;
  for (Tensor& t : vectors_) v.push_back(t.mutable_data<double>());
  parallel_for(n_, kTile, [&](int64_t begin, int64_t end) {
    std::vector<double> strip(static_cast<size_t>(p * kStrip));
    for (int64_t at = begin; at < end; at += kStrip) {
      const int64_t length = std::min(kStrip, end - at);
      std::fill(strip.begin(), strip.end(), 0.0);
      for (int64_t i = 0; i < m; ++i) {
        for (int64_t k = 0; k < p; ++k) {
          add_to(strip.data() + k * kStrip, s[static_cast<size_t>(i * p + k)],
                 v[static_cast<size_t>(i)] + at, length);
        }
      }
      for (int64_t k = 0; k < p; ++k) {
        std::copy_n(strip.data() + k * kStrip, length, v[static_cast<size_t>(k)] + at);
      }
    }
  });
  vectors_.resize(static_cast<size_t>(p));
}

Tensor OrthonormalBasis::combine(std::span<const double> s) const {
  check(static_cast<int64_t>(s.size()) == size(), "combine: expects ", size(),
        " coefficients, got ", s.size());
  Tensor out = Tensor::zeros({n_}, DType::f64);
  double* x = out.mutable_data<double>();
  parallel_for(n_, kTile, [&](int64_t begin, int64_t end) {
    for (size_t i = 0; i < s.size(); ++i) {
      add_to(x + begin, s[i], vectors_[i].data<double>() + begin, end - begin);
    }
  });
  return out;
}

Tensor normal_vector(int64_t n, uint64_t seed, uint64_t stream) {
  Tensor out = Tensor::empty({n}, DType::f64);
  double* x = out.mutable_data<double>();
  parallel_for(n, kTile, [&](int64_t begin, int64_t end) {
    Rng rng(seed, stream_id("normal vector", stream, static_cast<uint64_t>(begin / kTile)));
    for (int64_t i = begin; i < end; ++i) x[i] = rng.normal();
  });
  return out;
}

double dot_product(const Tensor& a, const Tensor& b) {
  check_vector(a, a.numel(), "dot_product");
  check_vector(b, a.numel(), "dot_product");
  const double *x = a.data<double>(), *y = b.data<double>();
  return tiled_sums(a.numel(), 1, [&](int64_t begin, int64_t length, double* sums) {
    sums[0] = dot_of(x + begin, y + begin, length);
  })[0];
}

double norm(const Tensor& v) { return std::sqrt(dot_product(v, v)); }

Tensor copy_row(const Tensor& rows, int64_t row) {
  check(rows.rank() == 2 && row >= 0 && row < rows.size(0) && rows.dtype() == DType::f64,
        "copy_row: expects f64 rows [p, n] and a row of them, got ", rows.shape(), " and ", row);
  const int64_t n = rows.size(1);
  Tensor out = Tensor::empty({n}, DType::f64);
  const double* from = rows.data<double>() + row * n;
  double* to = out.mutable_data<double>();
  parallel_for(n, kTile, [&](int64_t begin, int64_t end) {
    std::copy(from + begin, from + end, to + begin);
  });
  return out;
}

void add_scaled(Tensor& y, double factor, const Tensor& x) {
  check_vector(y, x.numel(), "add_scaled");
  check_vector(x, x.numel(), "add_scaled");
  double* to = y.mutable_data<double>();
  const double* from = x.data<double>();
  parallel_for(x.numel(), kTile, [&](int64_t begin, int64_t end) {
    add_to(to + begin, factor, from + begin, end - begin);
  });
}

}  // namespace basin
