// Spearman's rank correlation against values worked out by hand, and the coverage of its interval.
#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "basin/analysis/rank_correlation.h"
#include "basin/core/error.h"
#include "basin/core/random.h"

namespace basin {

TEST_CASE("rank correlation: by hand, with ties and holes") {
  // 1 - 6 sum d^2 / (n (n^2 - 1)) with d = (1, -1, 0, 1, -1).
  const std::vector<double> x{1, 2, 3, 4, 5}, y{20, 10, 30, 50, 40};
  const Estimate e = rank_correlation(x, y);
  CHECK(e.value == doctest::Approx(0.8).epsilon(1e-14));
  CHECK(e.samples == 5);
  const double half = 1.959963984540054 * std::sqrt((1 + 0.32) / 2);
  CHECK(e.interval.low == doctest::Approx(std::tanh(std::atanh(0.8) - half)));
  CHECK(e.interval.high == doctest::Approx(std::tanh(std::atanh(0.8) + half)));
  // Ranks 1, 2.5, 2.5, 4 and 1, 3, 2, 4: 4.5 / sqrt(4.5 * 5).
  const std::vector<double> tied{1, 7, 7, 9}, other{0, 3, 2, 8};
  CHECK(rank_correlation(tied, other).value == doctest::Approx(4.5 / std::sqrt(22.5)));
  const std::vector<double> holes{1, NAN, 2, 3}, four{3, 1, 2, 1};
  CHECK(rank_correlation(holes, four).value == -1);
  CHECK(rank_correlation(holes, four).samples == 3);
  CHECK(std::isnan(rank_correlation(holes, four).interval.low));
  const std::vector<double> flat{2, 2, 2, 2};
  CHECK(std::isnan(rank_correlation(flat, four).value));
  CHECK_THROWS_AS(rank_correlation(flat, x), Error);
}

TEST_CASE("rank correlation: the interval holds the truth of independent values about as stated") {
  constexpr int kTrials = 4000;
  int held = 0;
  for (int t = 0; t < kTrials; ++t) {
    Rng rng(11, static_cast<uint64_t>(t));
    std::vector<double> x(8), y(8);
    for (size_t i = 0; i < 8; ++i) x[i] = rng.normal(), y[i] = rng.normal();
    const Estimate e = rank_correlation(x, y);
    held += e.interval.low <= 0 && e.interval.high >= 0;
  }
  CHECK(held > 0.93 * kTrials);
  CHECK(held < 0.98 * kTrials);
}

}  // namespace basin
