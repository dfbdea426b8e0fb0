// The error of every stage on a grid of pairs of singular values, then the least number of stages.
#include "basin/kernels/cpu/gram_stages.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace basin {
namespace {

constexpr size_t kPoints = 16;  // singular values, the largest and down to 2e-6 of it
constexpr size_t kLongest = 6;  // steps of a stage
using Grid = std::array<double, kPoints>;
using Pairs = std::array<Grid, kPoints>;

// The scalar map along its steps.
struct Path {
  std::vector<Grid> t, factor, slope;  // before each step; t_(k+1) / t_k and its derivative of t_k
  std::vector<double> largest;         // largest |t_k|
  std::vector<Pairs> apart;            // 1 / (lambda_k - lambda'_k), 0 where they are the same
  std::vector<Pairs> rest;             // |divided difference| of the steps that follow
};

Path path_of(std::span<const OddQuintic> steps, double largest) {
  const size_t n = steps.size();
  Path out{std::vector<Grid>(n + 1),   std::vector<Grid>(n),      std::vector<Grid>(n),
           std::vector<double>(n + 1), std::vector<Pairs>(n + 1), std::vector<Pairs>(n + 1)};
  for (size_t i = 0; i < kPoints; ++i) {
    double t = std::sqrt(largest) * std::exp2(-1.25 * static_cast<double>(i));
    for (size_t k = 0; k <= n; ++k) {
      out.t[k][i] = t;
      out.largest[k] = std::max(out.largest[k], std::abs(t));
      if (k == n) break;
      const double s = t * t;
      out.factor[k][i] = steps[k].a + s * (steps[k].b + s * steps[k].c);
      out.slope[k][i] = steps[k].a + s * (3 * steps[k].b + 5 * s * steps[k].c);
      t *= out.factor[k][i];
    }
  }
  Grid slope;
  slope.fill(1);
  for (size_t k = n + 1; k-- > 0;) {
    for (size_t i = 0; i < kPoints; ++i) {
      if (k < n) slope[i] *= out.slope[k][i];
      for (size_t l = 0; l < kPoints; ++l) {
        const double gap = out.t[k][i] - out.t[k][l], sum = out.t[k][i] + out.t[k][l];
        const bool same = std::abs(gap) <= 1e-6 * std::abs(sum);
        out.apart[k][i][l] = same ? 0 : 1 / (gap * sum);
        out.rest[k][i][l] = std::abs(same ? slope[i] : (out.t[n][i] - out.t[n][l]) / gap);
      }
    }
  }
  return out;
}

// Of the stage from step j to e, in units of rounding.
double stage_error(const Path& path, size_t j, size_t e) {
  Grid factor, slope;
  factor.fill(1);
  slope.fill(1);
  Pairs sum{};
  for (size_t k = e; k-- > j;) {
    const double scale = path.largest[k] * path.largest[k];
    for (size_t i = 0; i < kPoints; ++i) {
      factor[i] *= path.factor[k][i];
      slope[i] *= path.slope[k][i];
    }
    for (size_t i = 0; i < kPoints; ++i) {
      for (size_t l = 0; l < kPoints; ++l) {
        const double change = (factor[i] - factor[l]) * path.apart[k][i][l];
        sum[i][l] += std::abs(change * path.t[k][l]) * scale;
      }
      sum[i][i] += std::abs((slope[i] - factor[i]) / (2 * path.t[k][i])) * scale;
    }
  }
  double largest = 0, out = 0;
  for (const double f : factor) largest = std::max(largest, std::abs(f));
  for (size_t i = 0; i < kPoints; ++i) {
    for (size_t l = 0; l < kPoints; ++l) {
      out = std::max(out, path.rest[e][i][l] * (sum[i][l] + largest * path.largest[j]));
    }
  }
  return out;
}

}  // namespace

std::vector<size_t> gram_stages(std::span<const OddQuintic> steps, double largest) {
  const size_t n = steps.size();
  const Path path = path_of(steps, largest);
  std::vector<size_t> ends;
  if (!std::all_of(path.t[n].begin(), path.t[n].end(), [](double t) { return std::isfinite(t); })) {
    for (size_t e = 1; e <= n; ++e) ends.push_back(e);
    return ends;
  }
  double allowed = 0;
  for (size_t j = 0; j < n; ++j) allowed += kGramError * stage_error(path, j, j + 1);
  // error[s][e]: least sum of s stages that end at e, the last of them from from[s][e].
  constexpr double kNone = std::numeric_limits<double>::infinity();
  std::vector<std::vector<double>> error{std::vector<double>(n + 1, kNone)};
  std::vector<std::vector<size_t>> from{std::vector<size_t>(n + 1, 0)};
  error[0][0] = 0;
  std::vector<std::vector<double>> of(n, std::vector<double>(n + 1, kNone));
  for (size_t j = 0; j < n; ++j) {
    for (size_t e = j + 1; e <= std::min(n, j + kLongest); ++e) of[j][e] = stage_error(path, j, e);
  }
  size_t stages = 0;
  while (stages < n && !(error[stages][n] <= allowed)) {
    error.emplace_back(n + 1, kNone);
    from.emplace_back(n + 1, 0);
    for (size_t e = 1; e <= n; ++e) {
      for (size_t j = e > kLongest ? e - kLongest : 0; j < e; ++j) {
        const double sum = error[stages][j] + of[j][e];
        if (sum < error[stages + 1][e]) error[stages + 1][e] = sum, from[stages + 1][e] = j;
      }
    }
    ++stages;
  }
  for (size_t e = n; e > 0; e = from[stages--][e]) ends.push_back(e);
  std::reverse(ends.begin(), ends.end());
  return ends;
}

}  // namespace basin
