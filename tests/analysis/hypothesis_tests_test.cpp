// Welch's test against SciPy 1.17 (scipy.stats.ttest_ind, digits as it printed them), permutation
// tests against a count by hand, the law of all of them by seeded simulation, and the p-values of a
// published table from its printed means and deviations.
#include "basin/analysis/hypothesis_tests.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "basin/core/error.h"
#include "basin/core/random.h"

using namespace basin;

namespace {

const std::vector<double> kA{0.891, 0.884, 0.902, 0.897}, kB{0.861, 0.879, 0.870, 0.866};

void check_close(double got, double expected) {
  INFO(got, " against ", expected);
  CHECK(std::abs(got - expected) <= 1e-10 * std::abs(expected));
}

// The share of `draws` pairs of groups of one law whose p is at most 5 %.
template <class Test, class Draw>
double rejections(int64_t n, int draws, const Test& test, const Draw& draw) {
  int rejected = 0;
  for (int i = 0; i < draws; ++i) {
    Rng rng(11, stream_id("rejections", static_cast<uint64_t>(i), static_cast<uint64_t>(n)));
    std::vector<double> a, b;
    for (int64_t k = 0; k < n; ++k) a.push_back(draw(rng)), b.push_back(draw(rng));
    rejected += test(a, b) <= 0.05;
  }
  return static_cast<double>(rejected) / draws;
}

double welch_p(const std::vector<double>& a, const std::vector<double>& b) {
  return welch_test(a, b).p;
}
double permutation_p(const std::vector<double>& a, const std::vector<double>& b) {
  return permutation_test(a, b).p;
}
double normal_draw(Rng& rng) { return rng.normal(); }
double exponential_draw(Rng& rng) { return -std::log(1 - rng.uniform()); }

}  // namespace

TEST_CASE("welch: SciPy's statistic, degrees of freedom, p and interval to 1e-10") {
  const TestResult r = welch_test(kA, kB);
  check_close(r.statistic, 4.504457885813823);
  check_close(r.p, 0.004088426673641437);
  check_close(r.df, 5.997668036232689);
  check_close(r.lower, 0.011189854253189926);
  check_close(r.upper, 0.037810145746810006);
  const TestResult s =
      welch_test(std::vector{1.5, -2.25, 7.0, 0.125, 3.0}, std::vector{10.0, 11.5}, 0.9);
  check_close(s.statistic, -5.16722477393879);
  check_close(s.p, 0.0035687338016772694);
  check_close(s.df, 4.997285839258876);
  check_close(s.lower, -12.336374512233064);
  check_close(s.upper, -5.4136254877669385);
  const TestResult t = welch_test_of(92.1, 0.42, 4, 90.3, 0.77, 4);
  check_close(t.statistic, 4.104446834404907);
  check_close(t.p, 0.010893854506851734);
}

TEST_CASE("welch: no spread, too few values") {
  CHECK(welch_test(std::vector{1.0, 1.0}, std::vector{1.0, 1.0}).p == 1);
  const TestResult apart = welch_test(std::vector{2.0, 2.0}, std::vector{1.0, 1.0});
  CHECK(apart.p == 0);
  CHECK(apart.lower == 1);
  CHECK_THROWS_AS(welch_test(std::vector{1.0}, kB), Error);
  CHECK_THROWS_AS(welch_test(kA, kB, 1.5), Error);
}

TEST_CASE("permutation: counts by hand, floors of few seeds") {
  const PermutationResult r = permutation_test(kA, kB);
  CHECK(r.exact);
  CHECK(r.splits == 70);
  check_close(r.p, 2.0 / 70);  // the observed split and its mirror image
  check_close(r.floor, 2.0 / 70);
  const PermutationResult s =
      permutation_test(std::vector{1.5, -2.25, 7.0, 0.125, 3.0}, std::vector{10.0, 11.5});
  CHECK(s.splits == 21);
  check_close(s.p, 1.0 / 21);
  CHECK(permutation_test(std::vector{1.0, 1.0}, std::vector{1.0, 1.0}).p == 1);
  const PermutationResult pairs = sign_flip_test(std::vector{1.0, 2.5, -0.5, 3.25, 0.75, 1.5});
  check_close(pairs.p, 0.0625);  // scipy.stats.permutation_test, permutation_type="samples"
  check_close(pairs.floor, 0.03125);
  check_close(sign_flip_test(std::vector{1.0, 2.0, 3.0, 4.0}).floor, 0.125);
  check_close(sign_test(11, 12), 0.00634765625);  // scipy.stats.binomtest
  check_close(sign_test(3, 10), 0.34375);
  CHECK(sign_test(5, 10) == 1);
  CHECK_THROWS_AS(permutation_test({}, kA), Error);
  CHECK_THROWS_AS(sign_test(5, 4), Error);
}

TEST_CASE("permutation: a sampled test estimates the exact one and never reaches 0") {
  std::vector<double> a, b;
  Rng rng(3, 0);
  for (int i = 0; i < 9; ++i) a.push_back(rng.normal() + 0.9), b.push_back(rng.normal());
  const PermutationResult exact = permutation_test(a, b);
  CHECK(exact.exact);
  CHECK(exact.splits == 48620);
  PermutationOptions few;
  few.most_splits = 1000;
  few.samples = 40000;
  const PermutationResult sampled = permutation_test(a, b, few);
  CHECK_FALSE(sampled.exact);
  const double error = std::sqrt(exact.p * (1 - exact.p) / 40000);
  INFO(exact.p, " ", sampled.p);
  CHECK(std::abs(sampled.p - exact.p) < 4 * error);
  CHECK(permutation_test(a, b, few).p == sampled.p);
  // The most extreme split is drawn now and then: 2 of 48620.
  for (double& v : a) v += 100;
  const double least = permutation_test(a, b, few).p;
  CHECK(least >= 1.0 / 40001);
  CHECK(least <= 8.0 / 40001);
  const std::vector<double> all_larger(30, 1.0);
  check_close(sign_flip_test(all_larger, few).p, 1.0 / 40001);
}

TEST_CASE("holm: step-down, monotone, in the order given") {
  const std::vector<double> p{0.01, 0.04, 0.03, 0.005};
  const std::vector<double> expected{0.03, 0.06, 0.06, 0.02};
  const std::vector<double> got = holm(p);
  for (size_t i = 0; i < p.size(); ++i) check_close(got[i], expected[i]);
  CHECK(holm(std::vector{0.9, 0.8}) == std::vector{1.0, 1.0});
  CHECK(holm({}).empty());
  CHECK_THROWS_AS(holm(std::vector<double>{0.5, NAN}), Error);
}

TEST_CASE("published table: p-values from its means and deviations at n = 4") {
  // arXiv 2605.27662, Adam and Muon on ModelNet40; clean, then corrupted.
  struct Row {
    double adam, adam_deviation, muon, muon_deviation, p;
  };
  const Row rows[] = {{76.91, 0.94, 82.08, 0.36, 0.0006}, {84.53, 0.70, 87.21, 0.39, 0.0014},
                      {87.10, 0.69, 89.06, 0.17, 0.0086}, {65.76, 0.95, 70.12, 0.10, 0.0025},
                      {72.85, 1.05, 75.87, 0.28, 0.0080}, {75.26, 1.63, 77.84, 0.27, 0.0487}};
  std::vector<double> p;
  for (const Row& r : rows) {
    p.push_back(welch_test_of(r.muon, r.muon_deviation, 4, r.adam, r.adam_deviation, 4).p);
    INFO(p.back(), " against ", r.p);
    CHECK(std::abs(p.back() - r.p) <= 0.00005);
  }
  CHECK(std::abs(holm(p).back() - 0.0487) <= 0.00005);
}

TEST_CASE("type I error: Welch 5 % at n = 30, its true size at n = 4; permutation at most 5 %") {
  const double at_30 = rejections(30, 20000, welch_p, normal_draw);
  const double at_4 = rejections(4, 20000, welch_p, normal_draw);
  const double skewed_at_4 = rejections(4, 20000, welch_p, exponential_draw);
  MESSAGE("Welch at level 5 %: n = 30 ", at_30, ", n = 4 ", at_4, ", n = 4 of an exponential law ",
          skewed_at_4);
  CHECK(std::abs(at_30 - 0.05) <= 0.005);
  // Conservative at four values: 4.2 to 5.4 % of normal ones.
  CHECK(at_4 > 0.037);
  CHECK(at_4 < 0.054);
  CHECK(skewed_at_4 < 0.054);
  for (const double size : {rejections(4, 4000, permutation_p, normal_draw),
                            rejections(4, 4000, permutation_p, exponential_draw)}) {
    MESSAGE("permutation at level 5 %, n = 4: ", size);
    CHECK(size <= 0.05);  // its true size is 2 / 70
    CHECK(std::abs(size - 2.0 / 70) < 0.011);
  }
}

TEST_CASE("welch_power: noncentral t as SciPy 1.17 has it (scipy.stats.nct)") {
  const auto close = [](double got, double expected) {
    INFO(got, " against ", expected);
    CHECK(std::abs(got - expected) < 1e-8);
  };
  close(welch_power(0.5, 1, 1, 64), 0.8014595579222541);
  close(welch_power(1, 1, 1, 20), 0.8689530277239897);
  close(welch_power(-1, 1, 1, 4), 0.22318803069754178);
  close(welch_power(2, 1, 3, 4), 0.1606213527509468);
  close(welch_power(3, 1, 0.1, 2), 0.2662524286299097);  // hardly more than one degree of freedom
  close(welch_power(0.1, 1, 1, 50), 0.0785239876787783);
  close(welch_power(0, 1, 1, 5), 0.05);
  CHECK(welch_power(1, 0, 0, 4) == 1);
  CHECK(welch_power(0, 0, 0, 4) == doctest::Approx(0.05));
  // The sizes that textbooks print for 80 % and 5 %, and the definition of the smallest.
  CHECK(welch_sample_size(0.5, 1, 1) == 64);
  CHECK(welch_sample_size(1, 1, 1) == 17);
  const int64_t n = welch_sample_size(0.3, 1, 2, 0.9);
  CHECK(welch_power(0.3, 1, 2, n) >= 0.9);
  CHECK(welch_power(0.3, 1, 2, n - 1) < 0.9);
  CHECK(welch_sample_size(100, 1, 1) == 2);
  CHECK(welch_sample_size(0, 1, 1) == 0);
  CHECK(welch_sample_size(0.5, 1, 1, 0.8, 0.95, 63) == 0);
  CHECK_THROWS_AS(welch_power(1, -1, 1, 4), Error);
  CHECK_THROWS_AS(welch_power(1, 1, 1, 1), Error);
  CHECK_THROWS_AS(welch_sample_size(1, 1, 1, 1), Error);
}

TEST_CASE("welch_power: as often as the test rejects in simulation") {
  const auto draw = [](Rng& rng) { return rng.normal(); };
  int rejected = 0;
  constexpr int kDraws = 4000;
  for (int i = 0; i < kDraws; ++i) {
    Rng rng(12, stream_id("power", static_cast<uint64_t>(i), 0));
    std::vector<double> a, b;
    for (int k = 0; k < 4; ++k) a.push_back(draw(rng)), b.push_back(2 + 1.5 * draw(rng));
    rejected += welch_p(a, b) <= 0.05;
  }
  const double expected = welch_power(2, 1, 1.5, 4);  // about 0.4; one binomial deviation is 0.008
  CHECK(static_cast<double>(rejected) / kDraws == doctest::Approx(expected).epsilon(0.08));
}
