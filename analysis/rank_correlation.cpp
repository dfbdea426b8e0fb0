// Ranks with ties, their correlation and its interval.
#include "basin/analysis/rank_correlation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "basin/analysis/statistics.h"
#include "basin/core/error.h"

namespace basin {
namespace {

// From 1; equal values share the mean of their places.
std::vector<double> mean_ranks(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> out(values.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    const double rank = 0.5 * static_cast<double>(begin + 1 + end);
    for (size_t i = begin; i < end; ++i) out[order[i]] = rank;
    begin = end;
  }
  return out;
}

double correlation(const std::vector<double>& x, const std::vector<double>& y) {
  const double mx = mean(x), my = mean(y);
  double xy = 0, xx = 0, yy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    xy += (x[i] - mx) * (y[i] - my);
    xx += (x[i] - mx) * (x[i] - mx);
    yy += (y[i] - my) * (y[i] - my);
  }
  return xx > 0 && yy > 0 ? std::clamp(xy / std::sqrt(xx * yy), -1.0, 1.0)
                          : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace

Estimate rank_correlation(std::span<const double> x, std::span<const double> y, double level) {
  check(x.size() == y.size(), "rank_correlation: expects as many x as y, given ", x.size(), " and ",
        y.size());
  std::vector<double> a, b;
  for (size_t i = 0; i < x.size(); ++i) {
    if (!std::isfinite(x[i]) || !std::isfinite(y[i])) continue;
    a.push_back(x[i]);
    b.push_back(y[i]);
  }
  Estimate out;
  out.value = out.standard_error = std::numeric_limits<double>::quiet_NaN();
  out.interval = {out.value, out.value, level};
  out.samples = std::ssize(a);
  out.method = "Spearman's rank correlation";
  if (a.size() < 3) return out;
  out.value = correlation(mean_ranks(a), mean_ranks(b));
  if (a.size() < 4 || !(std::abs(out.value) < 1)) return out;
  const auto n = static_cast<double>(a.size());
  const double deviation = std::sqrt((1 + out.value * out.value / 2) / (n - 3));
  const double half = normal_quantile(0.5 + level / 2) * deviation;
  out.standard_error = (1 - out.value * out.value) * deviation;  // to first order
  out.interval.low = std::tanh(std::atanh(out.value) - half);
  out.interval.high = std::tanh(std::atanh(out.value) + half);
  return out;
}

}  // namespace basin
