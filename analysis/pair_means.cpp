// The mean of pairs and its jackknife.
#include "basin/analysis/pair_means.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "basin/analysis/statistics.h"
#include "basin/core/error.h"

namespace basin {
namespace {

struct Pair {
  size_t i, j;
  double value;
};

// Without the pairs of one network.
double mean_without(const std::vector<Pair>& pairs, std::optional<size_t> left_out) {
  double sum = 0;
  int64_t count = 0;
  for (const Pair& p : pairs) {
    if (left_out == p.i || left_out == p.j) continue;
    sum += p.value;
    ++count;
  }
  return count == 0 ? std::numeric_limits<double>::quiet_NaN() : sum / static_cast<double>(count);
}

double jackknife_variance(const std::vector<Pair>& pairs, const std::vector<size_t>& group) {
  const auto n = static_cast<double>(group.size());
  std::vector<double> values;
  for (const size_t k : group) values.push_back(mean_without(pairs, k));
  return group.size() < 2 ? std::numeric_limits<double>::quiet_NaN()
                          : (n - 1) * (n - 1) / n * variance(values);
}

}  // namespace

Estimate mean_over_pairs(const std::vector<size_t>& a, const std::vector<size_t>& b,
                         const std::function<double(size_t i, size_t j)>& value, double level) {
  std::vector<Pair> pairs;
  for (size_t x = 0; x < a.size(); ++x) {
    const std::vector<size_t>& others = b.empty() ? a : b;
    for (size_t y = b.empty() ? x + 1 : 0; y < others.size(); ++y) {
      const auto [i, j] = std::minmax(a[x], others[y]);
      pairs.push_back({i, j, value(i, j)});
    }
  }
  check(!pairs.empty(), "mean_over_pairs: expects two networks at least");
  std::erase_if(pairs, [](const Pair& p) { return !std::isfinite(p.value); });
  Estimate out;
  out.method = "jackknife over networks";
  out.samples = std::ssize(pairs);
  out.value = mean_without(pairs, std::nullopt);
  double squares = jackknife_variance(pairs, a);
  size_t smallest = a.size();
  if (!b.empty()) {
    squares += jackknife_variance(pairs, b);
    smallest = std::min(smallest, b.size());
  }
  out.interval.level = level;
  out.standard_error = std::sqrt(squares);
  if (!std::isfinite(out.standard_error)) return out;
  out.interval =
      t_interval(out.value, out.standard_error, static_cast<double>(smallest) - 1, level);
  return out;
}

}  // namespace basin
