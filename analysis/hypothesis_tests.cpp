// Welch, permutation and sign tests, Holm's adjustment.
#include "basin/analysis/hypothesis_tests.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "basin/analysis/statistics.h"
#include "basin/core/error.h"
#include "basin/core/random.h"

namespace basin {
namespace {

// A difference counts as large as the observed one when it is equal up to rounding: the splits that
// mirror the observed one sum the same values in another order.
constexpr double kEqual = 1e-12;

// C(n, k), or the largest number where that is too large for it.
int64_t binomial(int64_t n, int64_t k) {
  double out = 1;
  for (int64_t i = 1; i <= k; ++i) {
    out = std::round(out * static_cast<double>(n - k + i) / static_cast<double>(i));
    if (out > 9e15) return std::numeric_limits<int64_t>::max();
  }
  return static_cast<int64_t>(out);
}

// How many of the splits are at least as extreme as the observed one.
struct Count {
  double observed, scale;
  int64_t large = 0;
  Count(double difference, double of) : observed(std::abs(difference)), scale(of) {}
  void add(double difference) { large += std::abs(difference) >= observed - kEqual * scale; }
};

double largest(std::span<const double> values) {
  double out = 0;
  for (const double v : values) out = std::max(out, std::abs(v));
  return out;
}

// Calls visit(sum of the chosen values) for every choice of k of the values.
void for_each_choice(std::span<const double> values, size_t k,
                     const std::function<void(double)>& visit) {
  std::vector<size_t> chosen(k);
  std::iota(chosen.begin(), chosen.end(), size_t{0});
  for (;;) {
    double sum = 0;
    for (const size_t i : chosen) sum += values[i];
    visit(sum);
    size_t at = k;
    while (at > 0 && chosen[at - 1] == values.size() - k + at - 1) --at;
    if (at == 0) return;
    ++chosen[at - 1];
    for (size_t i = at; i < k; ++i) chosen[i] = chosen[i - 1] + 1;
  }
}

// `least`: the smallest p of a count in full.
PermutationResult counted(const Count& count, int64_t splits, bool exact, double least) {
  const auto n = static_cast<double>(splits);
  if (exact) return {static_cast<double>(count.large) / n, least, splits, true};
  // The observed split belongs to the sample.
  return {static_cast<double>(count.large + 1) / (n + 1), std::max(least, 1 / (n + 1)), splits,
          false};
}

// P(T <= x) of the noncentral t distribution: T = (Z + shift) / S with S^2 = chi^2_df / df, so it
// is the mean of Phi(x s - shift) over the law of S, whose density falls like exp(-df (s - 1)^2):
// by Simpson's rule over twelve standard deviations to each side of 1.
double noncentral_t_cdf(double x, double df, double shift) {
  constexpr int kPieces = 2000;  // even
  const double wide = 12 / std::sqrt(2 * df);
  const double low = std::max(0.0, 1 - wide), step = (1 + wide - low) / kPieces;
  const double half = 0.5 * df;
  const double log_scale = std::log(2.0) + half * std::log(half) - std::lgamma(half);
  double sum = 0;
  for (int i = 0; i <= kPieces; ++i) {
    const double s = low + step * i;
    if (s <= 0) continue;
    const double density = std::exp(log_scale + (df - 1) * std::log(s) - half * s * s);
    const double weight = i == 0 || i == kPieces ? 1 : i % 2 == 1 ? 4 : 2;
    sum += weight * density * normal_cdf(x * s - shift);
  }
  return sum * step / 3;
}

}  // namespace

TestResult welch_test_of(double mean_a, double deviation_a, int64_t n_a, double mean_b,
                         double deviation_b, int64_t n_b, double level) {
  check(n_a >= 2 && n_b >= 2, "welch_test: expected two values of each group at least, given ", n_a,
        " and ", n_b);
  check(level > 0 && level < 1, "welch_test: expected a level between 0 and 1, given ", level);
  const auto na = static_cast<double>(n_a), nb = static_cast<double>(n_b);
  const double va = deviation_a * deviation_a / na, vb = deviation_b * deviation_b / nb;
  TestResult out;
  out.difference = mean_a - mean_b;
  const double error = std::sqrt(va + vb);
  if (error == 0) {
    out.lower = out.upper = out.difference;
    out.df = na + nb - 2;
    out.statistic = out.difference == 0 ? 0 : std::copysign(INFINITY, out.difference);
    out.p = out.difference == 0 ? 1 : 0;
    return out;
  }
  out.df = (va + vb) * (va + vb) / (va * va / (na - 1) + vb * vb / (nb - 1));
  out.statistic = out.difference / error;
  out.p = 2 * student_t_cdf(-std::abs(out.statistic), out.df);
  const double half = student_t_quantile(0.5 + 0.5 * level, out.df) * error;
  out.lower = out.difference - half;
  out.upper = out.difference + half;
  return out;
}

TestResult welch_test(std::span<const double> a, std::span<const double> b, double level) {
  check(a.size() >= 2 && b.size() >= 2, "welch_test: expected two values of each group at least, ",
        "given ", a.size(), " and ", b.size());
  return welch_test_of(mean(a), std::sqrt(variance(a)), std::ssize(a), mean(b),
                       std::sqrt(variance(b)), std::ssize(b), level);
}

double welch_power(double difference, double deviation_a, double deviation_b, int64_t n,
                   double level) {
  check(n >= 2, "welch_power: expected two values of each group at least, given ", n);
  check(level > 0 && level < 1, "welch_power: expected a level between 0 and 1, given ", level);
  check(deviation_a >= 0 && deviation_b >= 0 && std::isfinite(deviation_a + deviation_b),
        "welch_power: expected finite standard deviations of at least 0, given ", deviation_a,
        " and ", deviation_b);
  const auto count = static_cast<double>(n);
  const double va = deviation_a * deviation_a / count, vb = deviation_b * deviation_b / count;
  if (va + vb == 0) return difference == 0 ? 1 - level : 1;
  const double df = (va + vb) * (va + vb) * (count - 1) / (va * va + vb * vb);
  const double shift = std::abs(difference) / std::sqrt(va + vb);
  const double critical = student_t_quantile(0.5 + 0.5 * level, df);
  return 1 - noncentral_t_cdf(critical, df, shift) + noncentral_t_cdf(-critical, df, shift);
}

int64_t welch_sample_size(double difference, double deviation_a, double deviation_b, double power,
                          double level, int64_t most) {
  check(power > 1 - level && power < 1, "welch_sample_size: expected a power between ", 1 - level,
        " and 1, given ", power);
  const auto enough = [&](int64_t n) {
    return welch_power(difference, deviation_a, deviation_b, n, level) >= power;
  };
  if (difference == 0 || most < 2) return 0;
  int64_t low = 1, high = 2;  // low is too few
  while (!enough(high)) {
    if (high == most) return 0;
    low = high;
    high = std::min(2 * high, most);
  }
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (enough(middle) ? high : low) = middle;
  }
  return high;
}

PermutationResult permutation_test(std::span<const double> a, std::span<const double> b,
                                   const PermutationOptions& options) {
  check(!a.empty() && !b.empty(), "permutation_test: expected values in both groups, given ",
        a.size(), " and ", b.size());
  check(options.most_splits >= 1 && options.samples >= 1,
        "permutation_test: expected at least one split");
  std::vector<double> all(a.begin(), a.end());
  all.insert(all.end(), b.begin(), b.end());
  const auto na = static_cast<double>(a.size()), nb = static_cast<double>(b.size());
  const double total = std::accumulate(all.begin(), all.end(), 0.0);
  const auto difference = [&](double sum_a) { return sum_a / na - (total - sum_a) / nb; };
  const double scale = largest(all);
  Count count(difference(std::accumulate(a.begin(), a.end(), 0.0)), scale);
  const int64_t splits = binomial(std::ssize(all), std::ssize(a));
  // A split and its mirror image are equally extreme where the groups have one size.
  const double least = (a.size() == b.size() ? 2.0 : 1.0) / static_cast<double>(splits);
  if (splits <= options.most_splits) {
    for_each_choice(all, a.size(), [&](double sum) { count.add(difference(sum)); });
    return counted(count, splits, true, least);
  }
  Rng rng(options.seed, stream_id("permutation_test"));
  for (int64_t s = 0; s < options.samples; ++s) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      std::swap(all[i],
                all[i + static_cast<size_t>(rng.below(std::ssize(all) - static_cast<int64_t>(i)))]);
      sum += all[i];
    }
    count.add(difference(sum));
  }
  return counted(count, options.samples, false, least);
}

PermutationResult sign_flip_test(std::span<const double> differences,
                                 const PermutationOptions& options) {
  check(!differences.empty(), "sign_flip_test: expected a pair at least, given none");
  check(options.most_splits >= 1 && options.samples >= 1,
        "sign_flip_test: expected at least one split");
  const size_t n = differences.size();
  const double total = std::accumulate(differences.begin(), differences.end(), 0.0);
  Count count(total, largest(differences) * static_cast<double>(n));
  const double least = std::exp2(1 - static_cast<double>(n));
  if (n < 62 && (int64_t{1} << n) <= options.most_splits) {
    const int64_t splits = int64_t{1} << n;
    for (int64_t signs = 0; signs < splits; ++signs) {
      double sum = 0;
      for (size_t i = 0; i < n; ++i) {
        sum += (signs >> i & 1) != 0 ? -differences[i] : differences[i];
      }
      count.add(sum);
    }
    return counted(count, splits, true, least);
  }
  Rng rng(options.seed, stream_id("sign_flip_test"));
  for (int64_t s = 0; s < options.samples; ++s) {
    double sum = 0;
    for (const double d : differences) sum += rng.below(2) == 0 ? d : -d;
    count.add(sum);
  }
  return counted(count, options.samples, false, least);
}

double sign_test(int64_t wins, int64_t n) {
  check(n >= 1 && wins >= 0 && wins <= n, "sign_test: expected 0 <= wins <= n and n >= 1, given ",
        wins, " of ", n);
  const auto tail = static_cast<double>(std::min(wins, n - wins));
  // P(X <= k) of a fair coin is I_{1/2}(n - k, k + 1).
  return std::min(1.0, 2 * incomplete_beta(static_cast<double>(n) - tail, tail + 1, 0.5));
}

std::vector<double> holm(std::span<const double> p) {
  std::vector<size_t> order(p.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t i) { return p[i]; });
  std::vector<double> out(p.size());
  double floor = 0;
  for (size_t rank = 0; rank < order.size(); ++rank) {
    const double value = p[order[rank]];
    check(value >= 0 && value <= 1, "holm: expected p-values in [0, 1], given ", value);
    floor = std::max(floor, static_cast<double>(p.size() - rank) * value);
    out[order[rank]] = std::min(1.0, floor);
  }
  return out;
}

}  // namespace basin
