// Quadrature rules of all probes, integrals of them with intervals, and smoothed densities as cell
// averages: the Gaussian's distribution function at the cell borders.
#include "basin/analysis/spectral_density.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include "basin/analysis/lanczos.h"
#include "basin/analysis/statistics.h"
#include "basin/analysis/trace.h"
#include "basin/core/error.h"
#include "basin/core/parallel.h"

namespace basin {
namespace {

constexpr double kReach = 8;  // bandwidths beyond which a Gaussian counts as nothing (1e-15)

void check_rules(const char* what, const SpectralQuadrature& q) {
  check(!q.rules.empty() && q.n > 0, what, ": expects a quadrature with at least one probe");
}

// One number per probe: the rule's mean of f.
template <class F>
std::vector<double> probe_means(const SpectralQuadrature& q, const F& f) {
  std::vector<double> means;
  for (const SpectralRule& rule : q.rules) {
    double sum = 0;
    for (size_t j = 0; j < rule.nodes.size(); ++j) sum += rule.weights[j] * f(rule.nodes[j]);
    means.push_back(sum);
  }
  return means;
}

template <class F>
Estimate estimate(const SpectralQuadrature& q, const F& f) {
  check_rules("spectral_mean", q);
  return skewed_mean_estimate(probe_means(q, f), q.level, "stochastic Lanczos quadrature");
}

// A share lies in [0, 1], and so does its interval.
template <class F>
Estimate share(const SpectralQuadrature& q, const F& counts) {
  Estimate e = estimate(q, [&](double t) { return counts(t) ? 1.0 : 0.0; });
  e.interval.low = std::max(e.interval.low, 0.0);  // one probe: NaN stays NaN
  e.interval.high = std::min(e.interval.high, 1.0);
  return e;
}

// Where a node is drawn, if it is.
using Place = std::function<std::optional<double>(double)>;

DensityCurve drawn(const char* what, const SpectralQuadrature& q, double bandwidth,
                   const DensityGrid& grid, const Place& place) {
  check_rules(what, q);
  check(bandwidth > 0 && std::isfinite(bandwidth), what, ": the bandwidth must be positive, given ",
        bandwidth);
  check(grid.cells >= 1, what, ": expects at least one cell, got ", grid.cells);
  double least = std::numeric_limits<double>::infinity(), most = -least;
  for (const SpectralRule& rule : q.rules) {
    for (const double t : rule.nodes) {
      if (const auto at = place(t)) least = std::min(least, *at), most = std::max(most, *at);
    }
  }
  if (least > most) least = most = 0;  // nothing to draw: a curve of zeros
  const double low = std::isnan(grid.low) ? least - 6 * bandwidth : grid.low;
  const double high = std::isnan(grid.high) ? most + 6 * bandwidth : grid.high;
  check(low < high, what, ": the grid must ascend, given ", low, " to ", high);

  const auto cells = static_cast<size_t>(grid.cells);
  const double width = (high - low) / static_cast<double>(grid.cells);
  std::vector<std::vector<double>> curves;  // [probes][cells]
  double mass = 0;
  for (const SpectralRule& rule : q.rules) {
    std::vector<double>& curve = curves.emplace_back(cells, 0.0);
    for (size_t j = 0; j < rule.nodes.size(); ++j) {
      const auto at = place(rule.nodes[j]);
      if (!at) continue;
      mass += rule.weights[j] / static_cast<double>(q.rules.size());
      const double reach = kReach * bandwidth;
      const double first = std::clamp((*at - reach - low) / width, 0.0, static_cast<double>(cells));
      const double last = std::clamp((*at + reach - low) / width, 0.0, static_cast<double>(cells));
      auto c = static_cast<size_t>(first);
      const auto end = static_cast<size_t>(std::ceil(last));
      double left = normal_cdf((low + static_cast<double>(c) * width - *at) / bandwidth);
      for (; c < end; ++c) {
        const double right =
            normal_cdf((low + static_cast<double>(c + 1) * width - *at) / bandwidth);
        curve[c] += rule.weights[j] * (right - left) / width;
        left = right;
      }
    }
  }

  DensityCurve out;
  out.bandwidth = bandwidth;
  out.level = q.level;
  out.mass = mass;
  out.x.resize(cells);
  out.density.resize(cells);
  out.low.resize(cells);
  out.high.resize(cells);
  parallel_for(grid.cells, 64, [&](int64_t begin, int64_t end) {
    std::vector<double> samples(curves.size());
    for (auto c = static_cast<size_t>(begin); c < static_cast<size_t>(end); ++c) {
      for (size_t p = 0; p < curves.size(); ++p) samples[p] = curves[p][c];
      const Estimate e = skewed_mean_estimate(samples, q.level);
      out.x[c] = low + (static_cast<double>(c) + 0.5) * width;
      out.density[c] = e.value;
      out.low[c] = std::max(e.interval.low, 0.0);
      out.high[c] = e.interval.high;
    }
  });
  return out;
}

}  // namespace

double SpectralQuadrature::smallest() const {
  check_rules("smallest", *this);
  double least = rules.front().nodes.front();
  for (const SpectralRule& rule : rules) least = std::min(least, rule.nodes.front());
  return least;
}

double SpectralQuadrature::largest() const {
  check_rules("largest", *this);
  double most = rules.front().nodes.back();
  for (const SpectralRule& rule : rules) most = std::max(most, rule.nodes.back());
  return most;
}

SpectralQuadrature spectral_quadrature(const SymmetricOperator& a,
                                       const QuadratureOptions& options) {
  check(a.size() >= 1, "spectral_quadrature: expects an operator of size at least 1, got ",
        a.size());
  check(options.probes >= 1 && options.steps >= 1 && options.lanes >= 1,
        "spectral_quadrature: expects at least one probe, step and lane, got ", options.probes,
        ", ", options.steps, " and ", options.lanes);
  check(options.level > 0 && options.level < 1,
        "spectral_quadrature: expects a level between 0 and 1, got ", options.level);
  SpectralQuadrature q;
  q.n = a.size();
  q.level = options.level;
  const int64_t steps = std::min(options.steps, q.n);
  const int64_t fitting = options.basis_bytes / (8 * (steps + 1)) / q.n;
  const int64_t together = std::clamp<int64_t>(fitting, 1, options.lanes);
  for (int64_t at = 0; at < options.probes; at += together) {
    const int64_t count = std::min(together, options.probes - at);
    const Tensor starts = rademacher_probes(q.n, at, count, options.seed);
    for (const LanczosQuadrature& rule : lanczos_quadratures(a, starts, steps)) {
      q.products += rule.nodes.numel();
      q.rules.push_back({rule.nodes.to_vector<double>(), rule.weights.to_vector<double>()});
    }
  }
  return q;
}

Estimate spectral_mean(const SpectralQuadrature& q, const std::function<double(double)>& f) {
  return estimate(q, f);
}

Estimate spectral_moment(const SpectralQuadrature& q, int k) {
  check(k >= 0, "spectral_moment: expects a power >= 0, got ", k);
  return estimate(q, [k](double t) { return std::pow(t, k); });
}

Estimate spectral_trace(const SpectralQuadrature& q) {
  const double n = static_cast<double>(q.n);
  return estimate(q, [n](double t) { return n * t; });
}

std::vector<Estimate> cumulative_share(const SpectralQuadrature& q, const std::vector<double>& x) {
  std::vector<Estimate> out;
  for (const double border : x) {
    out.push_back(share(q, [border](double t) { return t <= border; }));
  }
  return out;
}

Estimate negative_share(const SpectralQuadrature& q, double tolerance) {
  if (std::isnan(tolerance)) {
    tolerance = 1e-3 * std::max(std::abs(q.smallest()), std::abs(q.largest()));
  }
  check(tolerance >= 0, "negative_share: expects a tolerance >= 0, got ", tolerance);
  return share(q, [tolerance](double t) { return t < -tolerance; });
}

double wasserstein_distance(const SpectralQuadrature& q, const std::vector<double>& eigenvalues) {
  check_rules("wasserstein_distance", q);
  check(!eigenvalues.empty(), "wasserstein_distance: expects eigenvalues, given none");
  // Jumps of the difference of the two distribution functions.
  std::vector<std::pair<double, double>> jumps;
  for (const double x : eigenvalues) {
    jumps.emplace_back(x, -1 / static_cast<double>(eigenvalues.size()));
  }
  for (const SpectralRule& rule : q.rules) {
    for (size_t j = 0; j < rule.nodes.size(); ++j) {
      jumps.emplace_back(rule.nodes[j], rule.weights[j] / static_cast<double>(q.rules.size()));
    }
  }
  std::sort(jumps.begin(), jumps.end());
  double difference = 0, area = 0;
  for (size_t i = 0; i + 1 < jumps.size(); ++i) {
    difference += jumps[i].second;
    area += std::abs(difference) * (jumps[i + 1].first - jumps[i].first);
  }
  return area;
}

Bandwidths default_bandwidths(const SpectralQuadrature& q) {
  const double range = q.largest() - q.smallest();
  const double size = std::max(std::abs(q.largest()), std::abs(q.smallest()));
  // A spectrum of one value has no range: its own size, or 1 for the zero matrix.
  const double scale = range > 1e-12 * size ? range : size > 0 ? size : 1;
  return {std::sqrt(1e-5 * std::max(1.0, range)), 0.01 * scale};
}

DensityCurve spectral_density(const SpectralQuadrature& q, double bandwidth,
                              const DensityGrid& grid) {
  return drawn("spectral_density", q, bandwidth, grid, [](double t) { return std::optional(t); });
}

DensityCurve log_spectral_density(const SpectralQuadrature& q, double bandwidth, double floor,
                                  SpectrumSign sign, const DensityGrid& grid) {
  check(floor > 0, "log_spectral_density: expects a floor above 0, got ", floor);
  auto place = [&](double t) -> std::optional<double> {
    const bool wanted = sign == SpectrumSign::both || (t > 0) == (sign == SpectrumSign::positive);
    if (!wanted || std::abs(t) <= floor) return std::nullopt;
    return std::log10(std::abs(t));
  };
  return drawn("log_spectral_density", q, bandwidth, grid, place);
}

}  // namespace basin
