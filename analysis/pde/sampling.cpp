// See sampling.h.
#include "basin/analysis/pde/sampling.h"

#include <cmath>
#include <numeric>
#include <span>

#include "basin/core/random.h"

namespace basin {
namespace {

int64_t check_box(const char* name, const std::vector<double>& low,
                  const std::vector<double>& high) {
  check(!low.empty() && low.size() == high.size(), name, ": expects one low and one high end per ",
        "coordinate, got ", low.size(), " and ", high.size());
  for (size_t j = 0; j < low.size(); ++j) {
    check(low[j] < high[j] && std::isfinite(high[j] - low[j]), name, ": coordinate ", j,
          " expects low < high, got ", low[j], " and ", high[j]);
  }
  return static_cast<int64_t>(low.size());
}

void check_point_count(const char* name, int64_t n) {
  check(n >= 1, name, ": expects at least 1 point, got ", n);
}

double equidistant(double low, double high, int64_t i, int64_t n) {
  if (n == 1) return 0.5 * (low + high);
  if (i == n - 1) return high;
  return low + (high - low) * (static_cast<double>(i) / static_cast<double>(n - 1));
}

}  // namespace

Tensor uniform_points(int64_t n, const std::vector<double>& low, const std::vector<double>& high,
                      uint64_t seed) {
  const int64_t d = check_box("uniform_points", low, high);
  check_point_count("uniform_points", n);
  Tensor out = Tensor::empty({n, d}, DType::f64);
  double* x = out.mutable_data<double>();
  Rng rng(seed, stream_id("uniform points"));
  for (int64_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < low.size(); ++j) *x++ = rng.uniform(low[j], high[j]);
  }
  return out;
}

Tensor latin_hypercube(int64_t n, const std::vector<double>& low, const std::vector<double>& high,
                       uint64_t seed) {
  const int64_t d = check_box("latin_hypercube", low, high);
  check_point_count("latin_hypercube", n);
  Tensor out = Tensor::empty({n, d}, DType::f64);
  double* x = out.mutable_data<double>();
  std::vector<int64_t> slice(static_cast<size_t>(n));
  for (int64_t j = 0; j < d; ++j) {
    Rng rng(seed, stream_id("latin hypercube", static_cast<uint64_t>(j)));
    std::iota(slice.begin(), slice.end(), int64_t{0});
    rng.shuffle(std::span<int64_t>(slice));
    const auto axis = static_cast<size_t>(j);
    const double width = (high[axis] - low[axis]) / static_cast<double>(n);
    for (int64_t i = 0; i < n; ++i) {
      const auto at = static_cast<double>(slice[static_cast<size_t>(i)]);
      x[i * d + j] = low[axis] + width * (at + rng.uniform());
    }
  }
  return out;
}

Tensor grid_points(const std::vector<int64_t>& counts, const std::vector<double>& low,
                   const std::vector<double>& high) {
  const int64_t d = check_box("grid_points", low, high);
  check(counts.size() == low.size(), "grid_points: expects one count per coordinate, got ",
        counts.size(), " for ", d);
  Shape grid;
  for (const int64_t count : counts) {
    check_point_count("grid_points", count);
    check(grid.rank() < kMaxRank, "grid_points: expects at most ", kMaxRank, " coordinates");
    grid.push_back(count);
  }
  Tensor out = Tensor::empty({grid.numel(), d}, DType::f64);
  double* x = out.mutable_data<double>();
  for (int64_t i = 0; i < grid.numel(); ++i) {
    int64_t rest = i;
    for (int64_t j = d - 1; j >= 0; --j) {
      const auto axis = static_cast<size_t>(j);
      x[i * d + j] = equidistant(low[axis], high[axis], rest % counts[axis], counts[axis]);
      rest /= counts[axis];
    }
  }
  return out;
}

Tensor linspace(double low, double high, int64_t n) {
  return grid_points({n}, {low}, {high}).view({n});
}

}  // namespace basin
