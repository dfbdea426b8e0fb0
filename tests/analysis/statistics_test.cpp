// Distribution functions against numerical integration and published digits, intervals against
// formulas written out here, coverage of the bootstrap and of ratios by seeded simulation.
#include "basin/analysis/statistics.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <vector>

#include "basin/core/error.h"
#include "basin/core/parallel.h"
#include "basin/core/random.h"

using namespace basin;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

double relative(double a, double b) { return std::abs(a - b) / std::max(std::abs(b), 1e-300); }

// The integral of f over [a, b] by composite Gauss-Legendre, five nodes in each of 4,000 cells.
template <class F>
long double integral(const F& f, long double a, long double b) {
  const long double r1 = std::sqrt(5 - 2 * std::sqrt(10.0L / 7)) / 3;
  const long double r2 = std::sqrt(5 + 2 * std::sqrt(10.0L / 7)) / 3;
  const long double w1 = (322 + 13 * std::sqrt(70.0L)) / 900;
  const long double w2 = (322 - 13 * std::sqrt(70.0L)) / 900;
  const int cells = 4000;
  const long double h = (b - a) / cells;
  long double sum = 0;
  for (int i = 0; i < cells; ++i) {
    const long double c = a + (i + 0.5L) * h, d = h / 2;
    sum += d * (128.0L / 225 * f(c) + w1 * (f(c - r1 * d) + f(c + r1 * d)) +
                w2 * (f(c - r2 * d) + f(c + r2 * d)));
  }
  return sum;
}

// P(0 < T < t) from the density alone; T = sqrt(df) tan(u) makes it an integral of cos^(df - 1).
long double student_centre(long double t, long double df) {
  auto f = [&](long double u) { return std::pow(std::cos(u), df - 1); };
  const long double all = std::sqrt(std::numbers::pi_v<long double>) / 2 *
                          (std::tgamma(df / 2) / std::tgamma((df + 1) / 2));
  return integral(f, 0, std::atan(t / std::sqrt(df))) / (2 * all);
}

std::vector<double> normals(int64_t n, uint64_t seed, uint64_t stream, double mean = 0,
                            double deviation = 1) {
  Rng rng(seed, stream);
  std::vector<double> x(static_cast<size_t>(n));
  for (double& v : x) v = mean + deviation * rng.normal();
  return x;
}

}  // namespace

TEST_CASE("statistics: moments of known samples, with a mean far above the spread") {
  const std::vector<double> x{1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16};
  CHECK(mean(x) == 1e9 + 10);
  CHECK(variance(x) == 30);
  CHECK(std::isnan(mean({})));
  CHECK(std::isnan(variance(std::vector<double>{1.0})));
  std::vector<double> tenth(1'000'000, 0.1);
  CHECK(relative(mean(tenth), 0.1) < 1e-15);
  CHECK(variance(tenth) < 1e-30);
}

TEST_CASE("statistics: normal quantiles have published digits and invert the distribution") {
  CHECK(relative(normal_quantile(0.975), 1.959963984540054235) < 1e-15);
  CHECK(relative(normal_quantile(0.995), 2.575829303548900761) < 1e-15);
  CHECK(relative(normal_quantile(0.9), 1.281551565544600467) < 1e-15);
  CHECK(normal_quantile(0.5) == doctest::Approx(0).epsilon(1e-15));
  for (const double p : {1e-300, 1e-100, 1e-16, 1e-8, 1e-3, 0.02, 0.3, 0.4999}) {
    CHECK(relative(normal_cdf(normal_quantile(p)), p) < 1e-12);
    if (p > 1e-3) CHECK(relative(normal_quantile(1 - p), -normal_quantile(p)) < 1e-12);
  }
  CHECK_THROWS_AS(normal_quantile(1), Error);
}

TEST_CASE("statistics: t distribution against integration of its density") {
  for (const double df : {1.0, 1.5, 2.0, 3.0, 4.7, 10.0, 29.0, 120.0, 999.0}) {
    for (const double t : {0.01, 0.3, 1.0, 2.0, 4.5, 12.0}) {
      const auto centre = static_cast<double>(student_centre(t, df));
      CHECK(std::abs(student_t_cdf(t, df) - 0.5 - centre) < 1e-12);
      CHECK(std::abs(student_t_cdf(-t, df) - 0.5 + centre) < 1e-12);
    }
  }
}

TEST_CASE("statistics: tails of many degrees of freedom against mpmath's 40 digits") {
  struct Row {
    double df, t, tail;
  };
  for (const Row& r : std::vector<Row>{{1001, 4.4, 5.9926924075503129e-6},
                                       {1001, 4.6, 2.3831018613114734e-6},
                                       {1001, 20, 1.9800027435948976e-75},
                                       {1001, 40, 4.4190994816883049e-210},
                                       {1500, 40, 5.0502883352883974e-239},
                                       {5000, 9, 1.5738215986324639e-19},
                                       {5000, 40, 4.2074252359681858e-304},
                                       {1000000, 30, 6.0100471168317189e-198}}) {
    CAPTURE(r.df);
    CAPTURE(r.t);
    CHECK(relative(student_t_cdf(-r.t, r.df), r.tail) < 1e-12);
  }
}

TEST_CASE("statistics: t quantiles against published tables and closed forms to 1e-13") {
  struct Row {
    double df, p, t;
  };
  for (const Row& r : std::vector<Row>{{3, 0.975, 3.182446305283710},
                                       {5, 0.975, 2.570581835636314},
                                       {10, 0.975, 2.228138851986275},
                                       {30, 0.975, 2.042272456301238},
                                       {100, 0.975, 1.983971518523551},
                                       {9, 0.995, 3.249835541592126},
                                       {1000, 0.975, 1.962339080826408}}) {
    CHECK(relative(student_t_quantile(r.p, r.df), r.t) < 1e-13);
    CHECK(relative(student_t_quantile(1 - r.p, r.df), -r.t) < 1e-12);
    // The tables' digits themselves: the density integrates to p there.
    CHECK(std::abs(static_cast<double>(student_centre(r.t, r.df)) + 0.5 - r.p) < 1e-15);
  }
  for (const double p : {1e-12, 1e-4, 0.025, 0.2, 0.3, 0.45}) {
    CHECK(relative(student_t_quantile(p, 1), -1 / std::tan(std::numbers::pi * p)) < 1e-13);
    CHECK(relative(student_t_quantile(p, 2), (2 * p - 1) / std::sqrt(2 * p * (1 - p))) < 1e-13);
    // df = 4: with s = 4 p (1 - p), t^2 = 4 (cos(acos(sqrt s) / 3) / sqrt s - 1).
    const double s = std::sqrt(4 * p * (1 - p));
    const double t4 = -2 * std::sqrt(std::cos(std::acos(s) / 3) / s - 1);
    CHECK(relative(student_t_quantile(p, 4), t4) < 1e-12);
  }
  for (const double df : {0.5, 0.9, 6.0, 1e4, 1e6, 1e8}) {
    for (const double p : {1e-9, 0.01, 0.3, 0.499}) {
      CHECK(relative(student_t_cdf(student_t_quantile(p, df), df), p) < 1e-12);
    }
  }
}

TEST_CASE("statistics: t tends to the normal distribution with no step between the formulas") {
  CHECK(student_t_quantile(0.975, kInf) == normal_quantile(0.975));
  const double z = normal_quantile(0.975);
  for (const double df :
       {999.0, 1001.0, 1e6, 1e9, 1e12}) {  // t - z = (z^3 + z) / (4 df) + O(df^-2)
    const double t = student_t_quantile(0.975, df);
    CHECK(std::abs(t - z - (z * z * z + z) / (4 * df)) < 5 / (df * df) + 4e-15);
  }
  CHECK_THROWS_AS(student_t_quantile(0.975, 0), Error);
  CHECK_THROWS_AS(student_t_cdf(1, -2), Error);
}

TEST_CASE("statistics: incomplete beta against integration and the binomial sum") {
  for (const auto& [a, b] : std::vector<std::pair<double, double>>{{2, 3}, {7.5, 3.5}, {40, 60}}) {
    auto f = [a = a, b = b](long double u) {
      return std::pow(u, (long double)a - 1) * std::pow(1 - u, (long double)b - 1);
    };
    const long double all = integral(f, 0, 1);
    for (const double x : {0.05, 0.4, 0.8}) {
      const auto expected = static_cast<double>(integral(f, 0, x) / all);
      CHECK(std::abs(incomplete_beta(a, b, x) - expected) < 1e-10);
    }
  }
  // I_p(k, n - k + 1) is the chance of at least k successes in n trials.
  double tail = 0;
  const double n = 12, p = 0.3;
  for (int k = 5; k <= 12; ++k) {
    tail += std::exp(std::lgamma(n + 1) - std::lgamma(k + 1.0) - std::lgamma(n - k + 1)) *
            std::pow(p, k) * std::pow(1 - p, n - k);
  }
  CHECK(relative(incomplete_beta(5, 8, p), tail) < 1e-12);
  CHECK(incomplete_beta(5, 8, 0) == 0);
  CHECK(incomplete_beta(5, 8, 1) == 1);
}

TEST_CASE("statistics: the mean's t interval, one sample, none") {
  const std::vector<double> x{4, 7, 13, 16};
  const Estimate e = mean_estimate(x, 0.95, "m");
  CHECK(e.value == 10);
  CHECK(relative(e.standard_error, std::sqrt(30.0 / 4)) < 1e-15);
  CHECK(relative(e.interval.high - 10, 3.182446305283710 * std::sqrt(7.5)) < 1e-13);
  CHECK(e.interval.low == doctest::Approx(20 - e.interval.high).epsilon(1e-14));
  CHECK(e.samples == 4);
  CHECK(e.method == "m");
  const Estimate one = mean_estimate(std::vector<double>{2.0});
  CHECK(one.value == 2);
  CHECK(std::isnan(one.standard_error));
  CHECK_FALSE(one.interval.contains(2));
  CHECK_THROWS_AS(mean_estimate({}), Error);
}

TEST_CASE(
    "statistics: the skewed mean's interval solves Hall's cubic and covers where t does not") {
  const std::vector<double> x{0.1, 0.4, 0.2, 3.0, 0.9, 0.3, 7.5, 0.05, 1.1, 0.6};
  const Estimate e = skewed_mean_estimate(x);
  double squares = 0, cubes = 0;
  for (const double v : x) {
    squares += std::pow(v - mean(x), 2) / 10;
    cubes += std::pow(v - mean(x), 3) / 10;
  }
  const double g = cubes / std::pow(squares, 1.5) / std::sqrt(10.0);
  const double q = student_t_quantile(0.975, 9);
  for (const auto& [end, side] :
       {std::pair{e.interval.low, 1.0}, std::pair{e.interval.high, -1.0}}) {
    const double t = (e.value - end) / e.standard_error;
    CHECK(relative(t + g * (t * t / 3 + 1.0 / 6) + g * g * t * t * t / 27, side * q) < 1e-10);
  }
  CHECK(e.interval.high - e.value > e.value - e.interval.low);
  const std::vector<double> symmetric{1, 2, 3};
  CHECK(skewed_mean_estimate(symmetric).interval.high == mean_estimate(symmetric).interval.high);
  CHECK(std::isnan(skewed_mean_estimate(std::vector<double>{1.0}).interval.low));

  int skewed = 0, plain = 0;  // chi-squared of one degree of freedom: z^T A z of rank one
  for (uint64_t rep = 0; rep < 10'000; ++rep) {
    std::vector<double> y = normals(40, 21, rep);
    for (double& v : y) v *= v;
    skewed += skewed_mean_estimate(y).interval.contains(1);
    plain += mean_estimate(y).interval.contains(1);
  }
  MESSAGE("mean of 40 chi-squared: Hall ", skewed / 100.0, " %, t ", plain / 100.0, " %");
  CHECK(skewed > 9400);
  CHECK(skewed < 9600);
  CHECK(plain < 9320);
}

TEST_CASE("statistics: bootstrap intervals are the formulas' quantiles of the same resamples") {
  const std::vector<double> x{0.3, 1.1, 0.2, 5.0, 0.9, 2.2, 0.1, 0.4, 3.1, 0.6};
  const auto n = static_cast<int64_t>(x.size());
  std::vector<double> seen;
  auto statistic = [&](std::span<const int64_t> rows) {
    double sum = 0;
    for (const int64_t r : rows) sum += x[static_cast<size_t>(r)];
    const double m = sum / static_cast<double>(rows.size());
    if (rows.size() == x.size()) seen.push_back(m);
    return m;
  };
  BootstrapOptions options{.resamples = 999, .seed = 4};
  options.kind = BootstrapKind::percentile;
  const Estimate percentile = bootstrap(n, statistic, options);
  std::vector<double> sorted(seen.begin() + 1, seen.end());  // the first is the value itself
  REQUIRE(sorted.size() == 999);
  std::sort(sorted.begin(), sorted.end());
  auto quantile = [&](double p) {
    const double at = 1000 * p - 1;
    const auto i = static_cast<size_t>(std::floor(at));
    return sorted[i] + (at - std::floor(at)) * (sorted[i + 1] - sorted[i]);
  };
  CHECK(percentile.interval.low == quantile(0.025));
  CHECK(percentile.interval.high == doctest::Approx(quantile(0.975)).epsilon(1e-15));
  CHECK(relative(percentile.standard_error, std::sqrt(variance(sorted))) < 1e-12);
  CHECK(percentile.value == mean(x));

  options.kind = BootstrapKind::basic;
  const Estimate basic = bootstrap(n, statistic, options);
  CHECK(basic.interval.low ==
        doctest::Approx(2 * mean(x) - percentile.interval.high).epsilon(1e-15));

  // For a mean the jackknife's acceleration is skewness / (6 sqrt n) of the sample itself.
  double squares = 0, cubes = 0, below = 0;
  for (const double v : x) {
    squares += std::pow(v - mean(x), 2);
    cubes += std::pow(v - mean(x), 3);
  }
  const double a = cubes / (6 * std::pow(squares, 1.5));
  for (const double v : sorted) below += v < mean(x) ? 1 : v == mean(x) ? 0.5 : 0;
  const double z0 = normal_quantile(below / 999);
  auto corrected = [&](double z) { return normal_cdf(z0 + (z0 + z) / (1 - a * (z0 + z))); };
  options.kind = BootstrapKind::bca;
  const Estimate bca = bootstrap(n, statistic, options);
  const double z = normal_quantile(0.975);
  CHECK(relative(bca.interval.low, quantile(corrected(-z))) < 1e-10);
  CHECK(relative(bca.interval.high, quantile(corrected(z))) < 1e-10);
  CHECK(bca.interval.high > percentile.interval.high);  // skewed to the right
}

TEST_CASE("statistics: bootstrap gives the same bits for any thread count and names bad values") {
  const auto x = normals(40, 1, 1);
  auto statistic = [&](std::span<const int64_t> rows) {
    double sum = 0;
    for (const int64_t r : rows) sum += x[static_cast<size_t>(r)];
    return sum;
  };
  BootstrapOptions options{.resamples = 200};
  const Estimate serial = bootstrap(40, statistic, options);
  options.parallel = true;
  const int before = num_threads();
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    const Estimate e = bootstrap(40, statistic, options);
    CHECK(e.standard_error == serial.standard_error);
    CHECK(e.interval.low == serial.interval.low);
    CHECK(e.interval.high == serial.interval.high);
  }
  set_num_threads(before);
  options.parallel = false;
  auto constant = [](std::span<const int64_t>) { return 3.0; };
  const Estimate flat = bootstrap(40, constant, options);
  CHECK(flat.standard_error == 0);
  CHECK(flat.interval.low == 3);
  CHECK(flat.interval.high == 3);
  auto undefined = [](std::span<const int64_t> rows) { return rows[0] == rows[1] ? NAN : 1.0; };
  CHECK_THROWS_WITH_AS(bootstrap(5, undefined, options), doctest::Contains("resample"), Error);
  CHECK_THROWS_AS(bootstrap(1, constant, options), Error);
}

TEST_CASE("statistics: bootstrap intervals of a standard deviation cover about their level") {
  // 40 normal rows, 1,000 replications: percentile intervals of a variance are known to be short;
  // bca comes closer.
  std::array<int, 2> hits{};
  const int replications = 1000;
  for (int rep = 0; rep < replications; ++rep) {
    const auto x = normals(40, 7, static_cast<uint64_t>(rep));
    auto deviation = [&](std::span<const int64_t> rows) {
      double sum = 0, squares = 0;
      for (const int64_t r : rows) sum += x[static_cast<size_t>(r)];
      const double m = sum / static_cast<double>(rows.size());
      for (const int64_t r : rows) squares += std::pow(x[static_cast<size_t>(r)] - m, 2);
      return std::sqrt(squares / static_cast<double>(rows.size() - 1));
    };
    BootstrapOptions options{.resamples = 400, .seed = static_cast<uint64_t>(rep)};
    hits[0] += bootstrap(40, deviation, options).interval.contains(1);
    options.kind = BootstrapKind::percentile;
    hits[1] += bootstrap(40, deviation, options).interval.contains(1);
  }
  MESSAGE("bootstrap of a deviation, n = 40: bca covers ", hits[0] / 10.0, " %, percentile ",
          hits[1] / 10.0, " %");
  CHECK(hits[0] > 900);
  CHECK(hits[0] < 970);
  CHECK(hits[0] > hits[1]);
}

TEST_CASE("statistics: the ratio's interval is Fieller's for symmetric intervals") {
  auto known = [](double value, double half) {
    Estimate e;
    e.value = value;
    e.standard_error = half / normal_quantile(0.975);
    e.interval = {value - half, value + half, 0.95};
    e.samples = 10;
    return e;
  };
  for (const auto& [a, s, b, r] : std::vector<std::array<double, 4>>{
           {6, 1, 3, 0.5}, {0.2, 1, 3, 0.5}, {-5, 1, 3, 2.9}, {6, 1, -3, 0.5}, {-6, 1, -3, 2}}) {
    const Estimate e = ratio(known(a, s), known(b, r));
    CHECK(e.value == a / b);
    CHECK(e.interval.contains(e.value));
    for (const double q : {e.interval.low, e.interval.high}) {  // Fieller: (a - q b)^2 = s^2 + ..
      CHECK(relative(std::pow(a - q * b, 2), s * s + q * q * r * r) < 1e-10);
    }
  }
  const Estimate e = ratio(known(6, 1), known(3, 0.5));
  CHECK(relative(e.standard_error * normal_quantile(0.975), 2 * std::hypot(1. / 6, 0.5 / 3)) <
        1e-14);
  const Estimate wide = ratio(known(6, 1), known(1, 1.5));
  CHECK(wide.interval.low == -kInf);
  CHECK(wide.interval.high == kInf);
  Estimate other = known(1, 0.1);
  other.interval.level = 0.9;
  CHECK_THROWS_AS(ratio(known(1, 0.1), other), Error);
  // An exact denominator scales the numerator's interval, asymmetric or not.
  Estimate skewed = known(6, 1);
  skewed.interval.high = 9;
  const Estimate scaled = ratio(skewed, known(3, 0));
  CHECK(relative(scaled.interval.low, 5.0 / 3) < 1e-12);
  CHECK(relative(scaled.interval.high, 3) < 1e-12);
}

TEST_CASE("statistics: the ratio of paired samples takes their covariance") {
  // The same sample twice, scaled: the ratio is known exactly.
  const std::vector<double> base = normals(12, 21, 0, 3, 1);
  std::vector<double> twice;
  for (const double v : base) twice.push_back(2 * v);
  const Estimate exact = paired_ratio(twice, base);
  CHECK(relative(exact.value, 2) < 1e-14);
  CHECK(exact.standard_error < 1e-14);
  CHECK(relative(exact.interval.low, 2) < 1e-6);  // of a root of rounding
  CHECK(relative(exact.interval.high, 2) < 1e-6);
  CHECK(exact.samples == 12);
  // Noise that pulls both ways: as independent samples the interval is too narrow.
  const int replications = 4'000;
  int hits = 0, independent = 0;
  for (int rep = 0; rep < replications; ++rep) {
    const auto stream = static_cast<uint64_t>(rep);
    std::vector<double> a = normals(20, 22, stream, 8, 3), b = normals(20, 23, stream, 4, 0.5);
    const std::vector<double> shared = normals(20, 24, stream, 0, 2);
    for (size_t i = 0; i < a.size(); ++i) a[i] += shared[i], b[i] -= shared[i] / 2;
    hits += paired_ratio(a, b).interval.contains(2);
    independent += ratio(mean_estimate(a), mean_estimate(b)).interval.contains(2);
  }
  MESSAGE("paired ratio: coverage ", hits / 40.0, " %; as independent ", independent / 40.0, " %");
  CHECK(hits > 3744);  // 95 % within four standard errors
  CHECK(hits < 3856);
  CHECK(independent < 3744);
  CHECK(std::isinf(paired_ratio(base, std::vector<double>{1, -1, 2, -2, 1, -1, 2, -2, 1, -1, 2, -2})
                       .interval.high));
  CHECK_THROWS_AS(paired_ratio(base, twice, 1.5), Error);
  CHECK_THROWS_AS(paired_ratio(base, std::vector<double>{1, 2}), Error);
}

TEST_CASE("statistics: ratios of means of few samples cover the true ratio") {
  // True ratio 2; relative standard errors 13 % and 20 %; 10,000 replications, binomial standard
  // error 0.22 %.
  const int replications = 10'000;
  int hits = 0, log_hits = 0;
  for (int rep = 0; rep < replications; ++rep) {
    const auto stream = static_cast<uint64_t>(rep);
    const Estimate a = mean_estimate(normals(10, 11, stream, 4, 1.6));
    const Estimate b = mean_estimate(normals(16, 12, stream, 2, 1.6));
    const Estimate r = ratio(a, b);
    hits += r.interval.contains(2);
    const double half = 2.06 * r.standard_error / std::abs(r.value);
    log_hits += r.value > 0 && std::abs(std::log(r.value / 2)) <= half;
  }
  MESSAGE("ratio of means: coverage ", hits / 100.0, " %; log-normal delta method ",
          log_hits / 100.0, " %");
  CHECK(hits > 9400);
  CHECK(hits < 9600);
}
