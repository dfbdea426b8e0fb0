// Means over pairs: against the plain jackknife written out, within one group and between two.
#include "basin/analysis/pair_means.h"

#include <doctest/doctest.h>

#include <cmath>

#include "basin/analysis/statistics.h"
#include "basin/core/random.h"
#include "basin/tests/core/errors.h"

namespace basin {
namespace {

using doctest::Approx;

double product(size_t i, size_t j) { return static_cast<double>((i + 1) * (j + 2)); }

TEST_CASE("pair means: of all pairs, and without each network in turn") {
  const Estimate e = mean_over_pairs({0, 1, 2}, {}, product);
  const double pairs[] = {3, 4, 8};  // (0, 1), (0, 2), (1, 2)
  CHECK(e.value == Approx(5));
  CHECK(e.samples == 3);
  double squares = 0;  // without network k one pair is left
  for (const double left : pairs) squares += (left - 5) * (left - 5);
  CHECK(e.standard_error == Approx(std::sqrt(2.0 / 3 * squares)));
  CHECK(e.interval.high == Approx(5 + student_t_quantile(0.975, 2) * e.standard_error));
}

TEST_CASE("pair means: between groups, in either order of the two") {
  const Estimate e = mean_over_pairs({0, 3}, {1, 2}, product);
  const double v01 = 3, v02 = 4, v13 = 10, v23 = 15;
  CHECK(e.value == Approx((v01 + v02 + v13 + v23) / 4));
  // Of groups of two, each term is (x - mean)^2 / 2 twice, x the mean without one of them.
  const double a = (v01 + v02) / 2 - e.value, b = (v01 + v13) / 2 - e.value;
  CHECK(e.standard_error == Approx(std::sqrt(a * a + b * b)));
  CHECK(mean_over_pairs({1, 2}, {0, 3}, product).value == e.value);
}

TEST_CASE("pair means: too few networks, and pairs without a value") {
  const Estimate two = mean_over_pairs({0, 1}, {}, product);
  CHECK(two.value == 3);
  CHECK(std::isnan(two.interval.low));
  const Estimate holes = mean_over_pairs(
      {0, 1, 2}, {}, [](size_t i, size_t j) { return i == 0 && j == 1 ? NAN : product(i, j); });
  CHECK(holes.samples == 2);
  CHECK(holes.value == Approx(6));
  CHECK(test::contains(test::error_of([] { mean_over_pairs({0}, {}, product); }).second,
                       "two networks at least"));
}

// The interval of a mean of x_i + x_j over pairs of 6 independent networks, mean 0.
TEST_CASE("pair means: the interval covers") {
  Rng rng(3, 0);
  int covered = 0;
  constexpr int kTrials = 2000;
  for (int trial = 0; trial < kTrials; ++trial) {
    double x[6];
    for (double& v : x) v = rng.normal();
    const Estimate e =
        mean_over_pairs({0, 1, 2, 3, 4, 5}, {}, [&](size_t i, size_t j) { return x[i] + x[j]; });
    covered += e.interval.contains(0) ? 1 : 0;
  }
  CHECK(static_cast<double>(covered) / kTrials == Approx(0.95).epsilon(0.015));
}

}  // namespace
}  // namespace basin
