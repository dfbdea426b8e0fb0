// Moments, distribution functions, bootstrap and ratios. The t distribution is an incomplete beta
// function, I_x(df/2, 1/2) with x = df / (df + t^2), by the continued fraction of DLMF 8.17.22
// (modified Lentz); its prefactor keeps ln x = -log1p(t^2 / df) and the Stirling remainders apart
// from the large terms, so that it loses no digits for thousands of degrees of freedom.
#include "basin/analysis/statistics.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <vector>

#include "basin/core/error.h"
#include "basin/core/parallel.h"
#include "basin/core/random.h"

namespace basin {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

template <class Term>
double pairwise_sum(int64_t begin, int64_t end, const Term& term) {
  if (end - begin <= 16) {
    double sum = 0;
    for (int64_t i = begin; i < end; ++i) sum += term(i);
    return sum;
  }
  const int64_t middle = begin + (end - begin) / 2;
  return pairwise_sum(begin, middle, term) + pairwise_sum(middle, end, term);
}

// ln Gamma(a) minus Stirling's (a - 1/2) ln a - a + ln(2 pi) / 2.
double stirling_remainder(double a) {
  double below = 0;
  for (; a < 15; a += 1) below += (a + 0.5) * std::log1p(1 / a) - 1;
  const double r = 1 / (a * a);
  return below +
         (1. / 12 - r * (1. / 360 - r * (1. / 1260 - r * (1. / 1680 - r * (1. / 1188))))) / a;
}

double log_beta(double a, double b) {
  if (a < b) std::swap(a, b);
  return 0.5 * std::log(2 * std::numbers::pi) + (b - 0.5) * std::log(b) - b * std::log(a) -
         (a + b - 0.5) * std::log1p(b / a) + stirling_remainder(a) + stirling_remainder(b) -
         stirling_remainder(a + b);
}

// a I_x(a, b) / (x^a (1 - x)^b / B(a, b)), for x below (a + 1) / (a + b + 2).
double beta_fraction(double a, double b, double x) {
  constexpr double kTiny = 1e-300;
  auto away = [](double v) { return std::abs(v) < kTiny ? kTiny : v; };
  double c = 1, d = 1 / away(1 - (a + b) * x / (a + 1)), value = d;
  for (int64_t m = 1; m < 10'000'000; ++m) {
    const double k = static_cast<double>(m);
    const double even = k * (b - k) * x / ((a + 2 * k - 1) * (a + 2 * k));
    d = 1 / away(1 + even * d);
    c = away(1 + even / c);
    value *= c * d;
    const double odd = -(a + k) * (a + b + k) * x / ((a + 2 * k) * (a + 2 * k + 1));
    d = 1 / away(1 + odd * d);
    c = away(1 + odd / c);
    value *= c * d;
    if (std::abs(c * d - 1) < 1e-16) break;
  }
  return value;
}

// I_x(a, b) from x, 1 - x and their logarithms, each as exact as the caller has it.
double beta_of(double a, double b, double x, double y, double log_x, double log_y) {
  if (x <= 0) return 0;
  if (y <= 0) return 1;
  const double front = std::exp(a * log_x + b * log_y - log_beta(a, b));
  if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
  return 1 - front * beta_fraction(b, a, y) / b;
}

// P(T > t) for t >= 0.
double student_t_tail(double t, double df) {
  if (std::isinf(df)) return normal_cdf(-t);
  const double square = t * t / df;
  if (std::isinf(square)) {  // t^2 overflows: the first term of the tail's series
    const double log_tail = -df * (std::log(t) - 0.5 * std::log(df)) - log_beta(df / 2, 0.5);
    return std::exp(log_tail) / df;
  }
  const double log_x = -std::log1p(square);
  // Hill 1970: a normal variate to order df^-6, for t^2 far below df, where the fraction would lose
  // 1 - x.
  if (df > 1000 && square < 0.02) {
    const double a = df - 0.5, b = 48 * a * a, y = -a * log_x;
    const double second = (((-0.4 * y - 3.3) * y - 24) * y - 85.5) / (0.8 * y * y + 100 + b);
    return normal_cdf(-std::sqrt(y) * (1 + (y + 3 + second) / b));
  }
  return 0.5 * beta_of(df / 2, 0.5, 1 / (1 + square), square / (1 + square), log_x,
                       square > 0 ? std::log(square) + log_x : -kInf);
}

double student_t_density(double t, double df) {
  return std::exp(-(df + 1) / 2 * std::log1p(t * t / df) - log_beta(df / 2, 0.5)) / std::sqrt(df);
}

// t > 0 with P(T > t) = tail < 1/2: Newton steps, in logarithms where the tail is a power of t,
// kept inside a bracket.
double student_t_upper(double tail, double df) {
  double low = 0, high = std::max(1.0, -normal_quantile(tail));
  while (student_t_tail(high, df) > tail) {
    low = high;
    high *= 2;
    if (std::isinf(high)) return high;
  }
  const bool logarithmic = tail < 0.25;
  double t = low > 0 ? low : high / 2;
  for (int step = 0; step < 400; ++step) {
    const double at = student_t_tail(t, df);
    (at > tail ? low : high) = t;
    const double slope = student_t_density(t, df);
    double next = logarithmic ? t * std::exp(at / (t * slope) * std::log(at / tail))
                              : t + (at - tail) / slope;
    if (!(next > low && next < high)) next = low + (high - low) / 2;
    const double change = std::abs(next - t);
    t = next;
    if (change <= 4e-16 * t || high - low <= 2e-16 * high) break;
  }
  return t;
}

// Quantile p of sorted values, at position (n + 1) p, between neighbours in proportion.
double sorted_quantile(const std::vector<double>& x, double p) {
  const double last = static_cast<double>(x.size() - 1);
  const double at = std::clamp(static_cast<double>(x.size() + 1) * p - 1, 0.0, last);
  const size_t i = std::min(static_cast<size_t>(at), x.size() - 1);
  const size_t j = std::min(i + 1, x.size() - 1);
  return x[i] + (at - static_cast<double>(i)) * (x[j] - x[i]);
}

using RowStatistic = std::function<double(std::span<const int64_t>)>;

// Efron's acceleration: a sixth of the skewness of the jackknife values, with its sign.
double acceleration(int64_t n, const RowStatistic& statistic) {
  const int64_t blocks = std::min<int64_t>(n, 200);
  std::vector<double> values(static_cast<size_t>(blocks));
  std::vector<int64_t> rows;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t begin = n * b / blocks, end = n * (b + 1) / blocks;
    rows.clear();
    for (int64_t i = 0; i < n; ++i) {
      if (i < begin || i >= end) rows.push_back(i);
    }
    values[static_cast<size_t>(b)] = statistic(rows);
  }
  const double centre = mean(values);
  double squares = 0, cubes = 0;
  for (const double v : values) {
    const double d = centre - v;
    squares += d * d;
    cubes += d * d * d;
  }
  return squares > 0 ? cubes / (6 * squares * std::sqrt(squares)) : 0;
}

std::vector<double> resampled(int64_t n, const RowStatistic& statistic,
                              const BootstrapOptions& options) {
  std::vector<double> values(static_cast<size_t>(options.resamples));
  auto one = [&](int64_t r, std::vector<int64_t>& rows) {
    Rng rng(options.seed, stream_id("bootstrap", static_cast<uint64_t>(r)));
    for (int64_t& row : rows) row = rng.below(n);
    const double v = statistic(rows);
    if (!std::isfinite(v)) {
      fail(ErrorKind::numerical, "bootstrap: the statistic must be finite, resample ", r, " gave ",
           v, "; rows repeat in a resample");
    }
    values[static_cast<size_t>(r)] = v;
  };
  auto tile = [&](int64_t begin, int64_t end) {
    std::vector<int64_t> rows(static_cast<size_t>(n));
    for (int64_t r = begin; r < end; ++r) one(r, rows);
  };
  if (options.parallel) {
    parallel_for(options.resamples, 16, tile);
  } else {
    tile(0, options.resamples);
  }
  return values;
}

Interval bca_interval(double value, const std::vector<double>& sorted, double a, double level) {
  double below = 0;
  for (const double v : sorted) below += v < value ? 1 : v == value ? 0.5 : 0;
  const double n = static_cast<double>(sorted.size());
  // A value outside all resamples has no bias estimate; half a resample keeps it finite.
  const double bias = normal_quantile(std::clamp(below / n, 0.5 / n, 1 - 0.5 / n));
  auto end = [&](double p) {
    const double z = bias + normal_quantile(p);
    const double room = 1 - a * z;
    const double at = room > 0 ? bias + z / room : (z > 0 ? kInf : -kInf);
    return sorted_quantile(sorted, normal_cdf(at));
  };
  return {end((1 - level) / 2), end((1 + level) / 2), level};
}

// The degrees of freedom whose t factor an interval was made with; 0 when it is not a t interval.
double degrees_of_freedom(const Estimate& e) {
  const double low = e.value - e.interval.low, high = e.interval.high - e.value;
  if (!(e.standard_error > 0) || std::abs(low - high) > 1e-9 * (low + high)) return 0;
  const double factor = (low + high) / (2 * e.standard_error), p = (1 + e.interval.level) / 2;
  if (normal_cdf(factor) <= p + 1e-9) return kInf;
  double small = -1, large = 20;  // logarithms; the distribution function rises with df
  for (int step = 0; step < 60; ++step) {
    const double middle = (small + large) / 2;
    (student_t_cdf(factor, std::exp(middle)) < p ? small : large) = middle;
  }
  return std::exp(small);
}

// What two t intervals are to be multiplied with so that both have the one t factor that Welch and
// Satterthwaite give to a - r b; 1, 1 where either is not a t interval.
std::pair<double, double> common_factor(const Estimate& a, const Estimate& b, double r) {
  const double df_a = degrees_of_freedom(a), df_b = degrees_of_freedom(b);
  if (df_a == 0 || df_b == 0) return {1, 1};
  const double va = a.standard_error * a.standard_error;
  const double vb = r * r * b.standard_error * b.standard_error;
  const double df = (va + vb) * (va + vb) / (va * va / df_a + vb * vb / df_b);
  const double p = (1 + a.interval.level) / 2;
  const double factor = student_t_quantile(p, df > 0 ? df : kInf);
  return {factor / student_t_quantile(p, df_a), factor / student_t_quantile(p, df_b)};
}

}  // namespace

double mean(std::span<const double> x) {
  const auto n = static_cast<int64_t>(x.size());
  if (n == 0) return kNan;
  return pairwise_sum(0, n, [&](int64_t i) { return x[static_cast<size_t>(i)]; }) /
         static_cast<double>(n);
}

double variance(std::span<const double> x) {
  const auto n = static_cast<int64_t>(x.size());
  if (n < 2) return kNan;
  const double centre = mean(x);
  auto off = [&](int64_t i) { return x[static_cast<size_t>(i)] - centre; };
  const double squares = pairwise_sum(0, n, [&](int64_t i) { return off(i) * off(i); });
  const double rest = pairwise_sum(0, n, off);  // what rounding left in the mean
  return (squares - rest * rest / static_cast<double>(n)) / static_cast<double>(n - 1);
}

double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }

double normal_quantile(double p) {
  check(p > 0 && p < 1, "normal_quantile: p must lie between 0 and 1, given ", p);
  const double tail = std::min(p, 1 - p);
  const double s = std::sqrt(-2 * std::log(tail));
  // Abramowitz and Stegun 26.2.23, then Halley's method on the tail itself.
  double x = s - (2.515517 + s * (0.802853 + s * 0.010328)) /
                     (1 + s * (1.432788 + s * (0.189269 + s * 0.001308)));
  for (int step = 0; step < 3; ++step) {
    const double density = std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi);
    const double e = (normal_cdf(-x) - tail) / density;
    x += e / (1 - x * e / 2);
  }
  return p < 0.5 ? -x : x;
}

double incomplete_beta(double a, double b, double x) {
  check(a > 0 && b > 0 && x >= 0 && x <= 1,
        "incomplete_beta: a and b must be positive and x in [0, 1], given a = ", a, ", b = ", b,
        ", x = ", x);
  return beta_of(a, b, x, 1 - x, std::log(x), std::log1p(-x));
}

double student_t_cdf(double t, double df) {
  check(df > 0, "student_t_cdf: degrees of freedom must be positive, given ", df);
  if (std::isnan(t)) return kNan;
  if (std::isinf(t)) return t > 0 ? 1 : 0;
  const double tail = student_t_tail(std::abs(t), df);
  return t > 0 ? 1 - tail : tail;
}

double student_t_quantile(double p, double df) {
  check(df > 0, "student_t_quantile: degrees of freedom must be positive, given ", df);
  check(p > 0 && p < 1, "student_t_quantile: p must lie between 0 and 1, given ", p);
  if (p == 0.5) return 0;
  if (std::isinf(df)) return normal_quantile(p);
  const double t = student_t_upper(std::min(p, 1 - p), df);
  return p < 0.5 ? -t : t;
}

Interval t_interval(double value, double standard_error, double df, double level) {
  check(level > 0 && level < 1, "interval: the level must lie between 0 and 1, given ", level);
  const double half = student_t_quantile((1 + level) / 2, df) * standard_error;
  return {value - half, value + half, level};
}

Estimate mean_estimate(std::span<const double> samples, double level, std::string method) {
  check(!samples.empty(), "mean_estimate: at least one sample is needed, given none");
  const double n = static_cast<double>(samples.size());
  Estimate e;
  e.value = mean(samples);
  e.samples = static_cast<int64_t>(samples.size());
  e.method = std::move(method);
  e.interval.level = level;
  if (samples.size() < 2) return e;
  e.standard_error = std::sqrt(variance(samples) / n);
  e.interval = t_interval(e.value, e.standard_error, n - 1, level);
  return e;
}

Estimate skewed_mean_estimate(std::span<const double> samples, double level, std::string method) {
  Estimate e = mean_estimate(samples, level, std::move(method));
  if (!(e.standard_error > 0)) return e;
  const double n = static_cast<double>(samples.size());
  double cubes = 0;
  for (const double v : samples) cubes += std::pow(v - e.value, 3);
  const double deviation = std::sqrt((n - 1)) * e.standard_error;  // with divisor n
  const double g = cubes / n / std::pow(deviation, 3) / std::sqrt(n);
  if (std::abs(g) < 1e-9) return e;
  // The inverse of T -> T + g (T^2 / 3 + 1 / 6) + g^2 T^3 / 27, T the studentised mean.
  auto inverse = [&](double x) { return 3 / g * (std::cbrt(1 + g * (x - g / 6)) - 1); };
  const double factor = student_t_quantile((1 + level) / 2, n - 1);
  e.interval.low = e.value - e.standard_error * inverse(factor);
  e.interval.high = e.value - e.standard_error * inverse(-factor);
  return e;
}

Estimate bootstrap(int64_t n, const RowStatistic& statistic, const BootstrapOptions& options) {
  check(n >= 2, "bootstrap: at least 2 rows are needed, given ", n);
  check(options.resamples >= 10, "bootstrap: at least 10 resamples are needed, given ",
        options.resamples);
  const double level = options.level;
  check(level > 0 && level < 1, "bootstrap: the level must lie between 0 and 1, given ", level);
  std::vector<int64_t> all(static_cast<size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  Estimate e;
  e.value = statistic(all);
  if (!std::isfinite(e.value)) {
    fail(ErrorKind::numerical, "bootstrap: the statistic must be finite, the ", n,
         " rows themselves gave ", e.value);
  }
  std::vector<double> values = resampled(n, statistic, options);
  e.standard_error = std::sqrt(variance(values));
  e.samples = options.resamples;
  std::sort(values.begin(), values.end());
  const double low = sorted_quantile(values, (1 - level) / 2);
  const double high = sorted_quantile(values, (1 + level) / 2);
  switch (options.kind) {
    case BootstrapKind::percentile:
      e.interval = {low, high, level};
      e.method = "bootstrap percentile";
      break;
    case BootstrapKind::basic:
      e.interval = {2 * e.value - high, 2 * e.value - low, level};
      e.method = "bootstrap basic";
      break;
    case BootstrapKind::bca:
      e.interval = bca_interval(e.value, values, acceleration(n, statistic), level);
      e.method = "bootstrap bca";
      break;
  }
  return e;
}

Estimate ratio(const Estimate& a, const Estimate& b) {
  check(a.interval.level == b.interval.level, "ratio: the intervals must have one level, given ",
        a.interval.level, " and ", b.interval.level);
  Estimate e;
  e.value = a.value / b.value;
  e.standard_error = std::hypot(a.standard_error, e.value * b.standard_error) / std::abs(b.value);
  e.samples = std::min(a.samples, b.samples);
  e.method = "ratio";
  e.interval.level = a.interval.level;
  const bool known = std::isfinite(a.interval.low) && std::isfinite(a.interval.high) &&
                     std::isfinite(b.interval.low) && std::isfinite(b.interval.high);
  if (!known) return e;
  // Half widths to the left and right; a negative denominator changes both signs, so that b > 0.
  const bool flip = b.value < 0;
  const double x = flip ? -a.value : a.value, y = std::abs(b.value);
  double down = a.value - a.interval.low, up = a.interval.high - a.value;
  double b_down = b.value - b.interval.low, b_up = b.interval.high - b.value;
  if (flip) {
    std::swap(down, up);
    std::swap(b_down, b_up);
  }
  const auto [scale_a, scale_b] = common_factor(a, b, e.value);
  down *= scale_a, up *= scale_a, b_down *= scale_b, b_up *= scale_b;
  if (b_down >= y) {
    e.interval.low = -kInf;
    e.interval.high = kInf;
    return e;
  }
  // The limit farther from zero has the lower end of b's interval against it, the nearer one the
  // upper end; the nearer root is written without its cancellation, also valid for d > y.
  auto limit = [&](double half, double side) {
    const bool far = side * (x + side * half) > 0;
    const double d = far ? b_down : b_up;
    const double lead = (y - d) * (y + d);
    const double root = std::sqrt(std::max(0.0, half * half * lead + x * x * d * d));
    return far ? (x * y + side * root) / lead : (x - half) * (x + half) / (x * y - side * root);
  };
  e.interval.low = limit(down, -1);
  e.interval.high = limit(up, 1);
  return e;
}

Estimate paired_ratio(std::span<const double> a, std::span<const double> b, double level) {
  check(a.size() == b.size() && a.size() >= 2, "paired_ratio: expects two or more pairs, given ",
        a.size(), " and ", b.size(), " samples");
  check(level > 0 && level < 1, "paired_ratio: the level must lie between 0 and 1, given ", level);
  const double n = static_cast<double>(a.size()), x = mean(a), y = mean(b);
  Estimate e;
  e.value = x / y;
  e.samples = static_cast<int64_t>(a.size());
  e.method = "paired ratio";
  const auto residuals = [&](double r) {  // of a - R b
    std::vector<double> out(a.size());
    for (size_t i = 0; i < a.size(); ++i) out[i] = a[i] - r * b[i];
    return out;
  };
  e.standard_error = std::sqrt(variance(residuals(e.value)) / n) / std::abs(y);
  e.interval.level = level;
  const double t = student_t_quantile((1 + level) / 2, n - 1), q = t * t / n;
  // (x - R y)^2 - q var(a - R b) = lead R^2 - 2 half R + last
  const double of_a = variance(a), of_b = variance(b);
  const double both = (variance(residuals(-1)) - variance(residuals(1))) / 4;
  const double lead = y * y - q * of_b, half = x * y - q * both, last = x * x - q * of_a;
  if (!(lead > 0)) {
    e.interval.low = -kInf;
    e.interval.high = kInf;
    return e;
  }
  const double root = std::sqrt(std::max(0.0, half * half - lead * last));
  e.interval.low = (half - root) / lead;
  e.interval.high = (half + root) / lead;
  return e;
}

}  // namespace basin
