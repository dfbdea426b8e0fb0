// XTrace by its definition: every estimate from a basis of its own, made afresh by Gram-Schmidt,
// and from these the variance and the degrees of freedom that trace.h states.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "basin/analysis/detail/orthonormal_basis.h"
#include "basin/analysis/statistics.h"
#include "basin/analysis/trace.h"
#include "basin/core/random.h"

namespace basin {
namespace {

using doctest::Approx;
using Vector = std::vector<double>;

constexpr int64_t kSize = 12, kProbes = 6;

double inner(const Vector& a, const Vector& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

struct Problem {
  Vector a;  // [n, n]
  std::vector<Vector> probes;

  explicit Problem(uint64_t seed) : a(kSize * kSize) {
    Rng rng(seed, stream_id("xtrace_test"));
    for (int64_t i = 0; i < kSize; ++i) {  // a falling diagonal and something beside it
      for (int64_t j = 0; j < i; ++j) a[i * kSize + j] = a[j * kSize + i] = 0.1 * rng.normal();
      a[i * kSize + i] = std::pow(0.7, i) + 0.2;
    }
    for (int64_t i = 0; i < kProbes; ++i) {
      probes.push_back(normal_vector(kSize, seed, stream_id("xtrace", static_cast<uint64_t>(i)))
                           .to_vector<double>());
      const double length = std::sqrt(inner(probes.back(), probes.back()));
      for (double& x : probes.back()) x *= std::sqrt(kSize) / length;
    }
  }
  Vector times(const Vector& x) const {
    Vector y(kSize, 0.0);
    for (int64_t i = 0; i < kSize; ++i) {
      for (int64_t j = 0; j < kSize; ++j) y[i] += a[i * kSize + j] * x[j];
    }
    return y;
  }
  // The estimate of probe i when the products of `left_out` are not in the basis.
  double estimate(int64_t i, const std::set<int64_t>& left_out) const {
    std::vector<Vector> basis;
    const auto project = [&](Vector& x) {
      for (int pass = 0; pass < 2; ++pass) {
        for (const Vector& q : basis) {
          const double along = inner(q, x);
          for (int64_t k = 0; k < kSize; ++k) x[k] -= along * q[k];
        }
      }
    };
    double inside = 0;
    for (int64_t j = 0; j < kProbes; ++j) {
      if (left_out.count(j) > 0) continue;
      Vector y = times(probes[j]);
      project(y);
      const double length = std::sqrt(inner(y, y));
      for (double& x : y) x /= length;
      inside += inner(y, times(y));
      basis.push_back(y);
    }
    Vector z = probes[i];
    project(z);
    const auto free = static_cast<double>(kSize - static_cast<int64_t>(basis.size()));
    return inside + inner(z, times(z)) * free / inner(z, z);
  }
};

}  // namespace

TEST_CASE("xtrace: value, variance, degrees of freedom and interval by their definitions") {
  int correlated = 0, between = 0;
  for (uint64_t seed = 0; seed < 12; ++seed) {
    const Problem p(seed);
    const auto m = static_cast<double>(kProbes);
    Vector t, shared(kProbes, 0.0), part;
    for (int64_t i = 0; i < kProbes; ++i) t.push_back(p.estimate(i, {i}));
    for (int64_t i = 0; i < kProbes; ++i) {
      for (int64_t j = 0; j < kProbes; ++j) {
        if (i == j) continue;
        shared[i] += (t[i] - p.estimate(i, {i, j})) * (t[j] - p.estimate(j, {i, j})) / (m - 1);
      }
    }
    const double own = variance(t) / m, common = std::max(0.0, mean(shared)), v = own + common;
    for (int64_t i = 0; i < kProbes; ++i) {
      // A pair's product belongs to both of its probes, hence the 2.
      part.push_back(std::pow(t[i] - mean(t), 2) / (m - 1) + (common > 0 ? 2 * shared[i] : 0));
    }
    const double most = (m - 1) * std::pow(v / own, 2);
    const double df = 2 * v * v * m / variance(part);
    correlated += common > 0.02 * own;
    between += common > 0.02 * own && df > 1 && df < most;
    const Interval expected = t_interval(mean(t), std::sqrt(v), std::clamp(df, 1.0, most), 0.95);

    const TraceResult got = xtrace(*dense_operator(Tensor::from(p.a, {kSize, kSize})),
                                   {.products = 2 * kProbes, .seed = seed});
    REQUIRE(got.samples.size() == t.size());
    for (int64_t i = 0; i < kProbes; ++i) CHECK(got.samples[i] == Approx(t[i]).epsilon(1e-10));
    CHECK(got.estimate.value == Approx(mean(t)).epsilon(1e-10));
    CHECK(got.estimate.standard_error == Approx(std::sqrt(v)).epsilon(1e-9));
    CHECK(got.estimate.interval.low == Approx(expected.low).epsilon(1e-9));
    CHECK(got.estimate.interval.high == Approx(expected.high).epsilon(1e-9));
  }
  CHECK(correlated >= 4);  // the cases are what they are for
  CHECK(between >= 3);
}

}  // namespace basin
