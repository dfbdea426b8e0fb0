// Statistics that every estimator of analysis/ shares: moments, the normal and Student t
// distributions, t and bootstrap intervals, the ratio of two estimates. All results are
// deterministic: sums are pairwise in a fixed order, resamples are Philox streams of (seed, index).
// Accuracy of the distribution functions: about 1e-12 relative, tails included.
#pragma once
#include <functional>
#include <span>
#include <string>

#include "basin/analysis/estimate.h"

namespace basin {

// Pairwise sums in index order. NaN for an empty span; the variance divides by n - 1 and is NaN
// below two values. It is taken about the mean (two passes), so a large mean costs no digits.
double mean(std::span<const double> x);
double variance(std::span<const double> x);

double normal_cdf(double x);
double normal_quantile(double p);  // p in (0, 1), usage error otherwise
// df > 0, not necessarily whole; infinity is the normal distribution.
double student_t_cdf(double t, double df);
double student_t_quantile(double p, double df);
// The regularised incomplete beta function I_x(a, b), a, b > 0, x in [0, 1].
double incomplete_beta(double a, double b, double x);

// A symmetric interval value +- t_{df} standard_error; df may be infinite.
Interval t_interval(double value, double standard_error, double df, double level = 0.95);
// The mean of independent samples with its t interval on n - 1 degrees of freedom. One sample gives
// a value whose error is unknown: standard error and interval are NaN. usage error without samples.
Estimate mean_estimate(std::span<const double> samples, double level = 0.95,
                       std::string method = "mean");

// The same for skewed samples: the t interval goes through the cubic transformation of Hall (1992,
// On the removal of skewness by transformation), which takes the skewness of the studentised mean
// out to order 1 / n. The longer half lies on the side of the long tail.
Estimate skewed_mean_estimate(std::span<const double> samples, double level = 0.95,
                              std::string method = "mean");

// percentile: quantiles of the resampled values. basic: the same reflected about the value, which
// follows a biased statistic to the right side. bca: percentiles corrected for bias and skewness
// (Efron 1987), acceleration from the jackknife (delete one row, or one of 200 blocks of rows).
enum class BootstrapKind : uint8_t { percentile, basic, bca };

struct BootstrapOptions {
  int64_t resamples = 2000;
  double level = 0.95;
  uint64_t seed = 0;
  BootstrapKind kind = BootstrapKind::bca;
  bool parallel = false;  // call the statistic from several threads at once; same bits
};

// A statistic of n exchangeable rows: statistic(rows) gets row numbers, with repetitions. The value
// is the statistic of rows 0, 1 .. n - 1; the standard error is the standard deviation over the
// resamples, `samples` their number. usage error for n < 2 or fewer than 10 resamples; numerical
// error naming the resample when the statistic is not finite.
Estimate bootstrap(int64_t n, const std::function<double(std::span<const int64_t> rows)>& statistic,
                   const BootstrapOptions& options = {});

// a / b of two INDEPENDENT estimates whose intervals have the same level. The interval comes from
// the two intervals themselves (MOVER, Donner and Zou 2012), not from the standard errors:
//   { R : the interval of a - R b, of squared half widths (a - l_a)^2 + R^2 (u_b - b)^2, holds 0 }
// Two t intervals are first given the one factor of Welch and Satterthwaite's degrees of freedom
// for a - R b, and the result is Fieller's interval. The asymmetry of a bootstrap interval is kept,
// and no value has to be positive, as the log-normal delta method wants. Unbounded when b is not
// told apart from zero: the data then do not bound the ratio. The standard error is the delta
// method's; `samples` is the smaller count.
Estimate ratio(const Estimate& a, const Estimate& b);
// mean(a) / mean(b) of samples that belong together pair by pair, such as two operators probed with
// the same vectors: Fieller's interval (1954) with their covariance,
//   { R : |mean(a - R b)| <= t sd(a - R b) / sqrt(n) },  t of n - 1 degrees of freedom,
// which is right for independent samples too. Unbounded when mean(b) is not told apart from zero.
// usage error for other than two equal numbers of samples, at least 2.
Estimate paired_ratio(std::span<const double> a, std::span<const double> b, double level = 0.95);

}  // namespace basin
