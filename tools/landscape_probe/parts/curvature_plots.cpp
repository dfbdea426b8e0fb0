// Figures of part "curvature": plain selection of numbers, the drawing is that of figures/.
#include <algorithm>
#include <cmath>

#include "basin/analysis/spectral_density.h"
#include "basin/analysis/statistics.h"
#include "basin/figures/curvature_figures.h"
#include "basin/tools/landscape_probe/detail/curvature.h"

namespace basin::tools {
namespace {

// Of all parameters; null if not measured.
const CurvatureRecord* hessian_of(const LoadedProbe& p) {
  for (const CurvatureRecord& c : curvature_of(p)) {
    if (c.kind == "hessian" && c.subset == "all") return &c;
  }
  return nullptr;
}

bool has_density(const LoadedProbe& p) {
  return hessian_of(p) != nullptr && !hessian_of(p)->density.empty();
}

// What the curvature was measured on; the same for probes that are compared.
FigureConditions curvature_conditions(const std::vector<LoadedProbe>& probes,
                                      const std::string& command) {
  FigureConditions out = conditions_of(probes, command);
  for (const LoadedProbe& p : probes) {
    if (curvature_of(p).empty()) continue;
    const CurvatureRecord& c = curvature_of(p).front();
    const RecordFields id = p.identity(kCurvature);
    const std::string data =
        c.data.empty() ? str(p.setting(id, "examples"), " training ", p.example, "s") : c.data;
    out.data = str(data, ", batch norm ", p.setting(id, "batch_norm"));
    out.dtype = p.setting(id, "dtype");
    out.probes = str(c.trace.samples, " probes (", c.trace.method, ")");
    break;
  }
  return out;
}

void add_bars(CurvatureBars& out, const LoadedProbe& p) {
  for (const CurvatureRecord& c : curvature_of(p)) {
    if (c.subset != "all") continue;
    const std::string prefix = c.kind == "hessian" ? "" : "Gauss-Newton ";
    const auto add = [&](const std::string& quantity, const Estimate& e) {
      CurvatureBar bar;
      bar.network = p.network;
      bar.quantity = prefix + quantity;
      bar.optimizer = p.optimizer;
      bar.estimate = e;
      out.bars.push_back(bar);
    };
    if (!c.top.empty()) add("λ max", eigen_estimate(c.top.front()));
    if (!c.bottom.empty() && c.kind == "hessian") {
      EigenRecord low = c.bottom.front();
      low.value = -low.value;
      add("−λ min", eigen_estimate(low));
    }
    add("trace", c.trace);
  }
}

// Second over first, where a network has exactly two probes.
void add_ratios(CurvatureBars& out) {
  for (const CurvatureBar& a : out.bars) {
    std::vector<const CurvatureBar*> same;
    for (const CurvatureBar& b : out.bars) {
      if (b.network == a.network && b.quantity == a.quantity) same.push_back(&b);
    }
    if (same.size() != 2 || same.front() != &a) continue;
    if (!(same[0]->estimate.value > 0) || !(same[1]->estimate.value > 0)) continue;
    out.ratios.push_back({a.network, a.quantity, same[1]->optimizer + " / " + same[0]->optimizer,
                          ratio(same[1]->estimate, same[0]->estimate)});
  }
}

Figure bars(const std::vector<LoadedProbe>& probes, const std::string& command) {
  CurvatureBars out;
  for (const LoadedProbe& p : probes) add_bars(out, p);
  add_ratios(out);
  out.conditions = curvature_conditions(probes, command);
  return curvature_bars_figure(out);
}

Figure scree(const std::vector<LoadedProbe>& probes, const std::string& command) {
  Scree out;
  for (const std::string& network : networks_of(probes)) {
    ScreePanel panel{network, {}};
    for (const LoadedProbe& p : of_network(probes, network)) {
      const CurvatureRecord* c = hessian_of(p);
      if (c == nullptr) continue;
      ScreeSeries series;
      series.optimizer = p.optimizer;
      for (const auto* pairs : {&c->top, &c->bottom}) {
        for (const EigenRecord& e : *pairs) {
          series.eigenvalues.push_back(e.value);
          series.residuals.push_back(e.residual);
        }
      }
      panel.series.push_back(std::move(series));
    }
    if (!panel.series.empty()) out.panels.push_back(std::move(panel));
  }
  out.conditions = curvature_conditions(probes, command);
  return scree_figure(out);
}

SpectralQuadrature quadrature_of(const CurvatureRecord& c) {
  SpectralQuadrature q;
  q.n = c.size;
  for (const QuadratureRecord& r : c.density) q.rules.push_back({r.nodes, r.weights});
  return q;
}

// The densities of a network at one bandwidth, so that they compare: the published rule's, and the
// wider one percent of the range.
Figure density(const std::vector<LoadedProbe>& probes, const std::string& network,
               const std::string& command, bool wide) {
  SpectralDensity out;
  double width = 0, low = 0, high = 0;
  for (const LoadedProbe& p : probes) {
    const SpectralQuadrature q = quadrature_of(*hessian_of(p));
    const Bandwidths b = default_bandwidths(q);
    width = std::max(width, wide ? b.relative : b.published);
    low = std::min(low, q.smallest());
    high = std::max(high, q.largest());
  }
  for (const LoadedProbe& p : probes) {
    const SpectralQuadrature q = quadrature_of(*hessian_of(p));
    const DensityCurve curve =
        spectral_density(q, width, {1200, low - 6 * width, high + 6 * width});
    DensitySeries series;
    series.optimizer = p.optimizer;
    series.at = curve.x;
    series.density = curve.density;
    series.low = curve.low;
    series.high = curve.high;
    for (const SpectralRule& r : q.rules) {
      series.nodes.insert(series.nodes.end(), r.nodes.begin(), r.nodes.end());
      series.weights.insert(series.weights.end(), r.weights.begin(), r.weights.end());
    }
    series.bandwidth = width;
    series.negative_share = negative_share(q).value;
    out.series.push_back(std::move(series));
  }
  out.title = "Spectral density of the Hessian: " + network;
  out.conditions = curvature_conditions(probes, command);
  out.conditions.probes =
      str(hessian_of(probes.front())->density.size(), " probes of stochastic Lanczos");
  Figure figure = density_figure(out);
  figure.name += str("-", network, wide ? "-wide" : "");
  return figure;
}

}  // namespace

std::vector<Figure> curvature_plots(const std::vector<LoadedProbe>& probes,
                                    const std::string& command) {
  if (std::none_of(probes.begin(), probes.end(), hessian_of)) return {};
  std::vector<Figure> out{bars(probes, command), scree(probes, command)};
  for (const std::string& network : networks_of(probes)) {
    std::vector<LoadedProbe> part = of_network(probes, network);
    std::erase_if(part, [](const LoadedProbe& p) { return !has_density(p); });
    if (part.empty()) continue;
    for (const bool wide : {false, true}) out.push_back(density(part, network, command, wide));
  }
  return out;
}

std::vector<Figure> convergence_plots(const std::vector<LoadedProbe>& probes,
                                      const std::string& command) {
  std::vector<Figure> out;
  for (const std::string& network : networks_of(probes)) {
    Diagnostics data;
    data.title = "Running trace estimate: " + network;
    for (const LoadedProbe& p : of_network(probes, network)) {
      const CurvatureRecord* c = hessian_of(p);
      if (c == nullptr || c->trace_samples.size() < 3) continue;
      RunningEstimate running;
      running.optimizer = p.optimizer;
      running.method = c->trace.method;
      for (size_t n = 3; n <= c->trace_samples.size(); ++n) {
        const Estimate e = skewed_mean_estimate(std::span(c->trace_samples.data(), n));
        running.probes.push_back(static_cast<double>(n));
        running.value.push_back(e.value);
        running.low.push_back(e.interval.low);
        running.high.push_back(e.interval.high);
      }
      data.running.push_back(std::move(running));
    }
    if (data.running.empty()) continue;
    data.conditions.command = command;
    Figure figure = diagnostics_figure(data);
    figure.name += "-" + network;
    out.push_back(std::move(figure));
  }
  return out;
}

}  // namespace basin::tools
