// Figures of part "curvature": plain selection of numbers, the drawing is that of figures/.
#include <algorithm>
#include <cmath>
#include <optional>

#include "basin/analysis/spectral_density.h"
#include "basin/analysis/statistics.h"
#include "basin/figures/curvature_figures.h"
#include "basin/figures/optimizer_figures.h"
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

// `traces`: the record behind each bar of a trace, null behind the others.
void add_bars(CurvatureBars& out, std::vector<const CurvatureRecord*>& traces,
              const LoadedProbe& p) {
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
      traces.push_back(quantity == "trace" ? &c : nullptr);
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
void add_ratios(CurvatureBars& out, const std::vector<const CurvatureRecord*>& traces) {
  for (size_t a = 0; a < out.bars.size(); ++a) {
    std::vector<size_t> same;
    for (size_t b = 0; b < out.bars.size(); ++b) {
      if (out.bars[b].network == out.bars[a].network &&
          out.bars[b].quantity == out.bars[a].quantity) {
        same.push_back(b);
      }
    }
    if (same.size() != 2 || same.front() != a) continue;
    const CurvatureBar &first = out.bars[a], &second = out.bars[same[1]];
    if (!(first.estimate.value > 0) || !(second.estimate.value > 0)) continue;
    std::optional<Estimate> pairs;
    if (traces[a] && traces[same[1]]) pairs = trace_ratio(*traces[same[1]], *traces[a]);
    out.ratios.push_back({first.network, first.quantity, second.optimizer + " / " + first.optimizer,
                          pairs ? *pairs : ratio(second.estimate, first.estimate)});
  }
}

Figure bars(const std::vector<LoadedProbe>& probes, const std::string& command) {
  CurvatureBars out;
  std::vector<const CurvatureRecord*> traces;
  for (const LoadedProbe& p : probes) add_bars(out, traces, p);
  add_ratios(out, traces);
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
    out.series.push_back(
        density_series(p.optimizer, {quadrature_of(*hessian_of(p))}, width, low, high));
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

namespace {

std::vector<LoadedProbe> every_probe(const std::vector<SeedProbes>& all) {
  std::vector<LoadedProbe> out;
  for (const SeedProbes& seeds : all) {
    for (const LoadedProbe& p : seeds.probes) {
      if (hessian_of(p) != nullptr) out.push_back(p);
    }
  }
  return out;
}

// Runs, seeds and command as given, the data and the precision of the curvature.
FigureConditions seed_conditions(const std::vector<SeedProbes>& all,
                                 const FigureConditions& conditions) {
  const FigureConditions measured = curvature_conditions(every_probe(all), conditions.command);
  FigureConditions out = conditions;
  out.data = measured.data, out.dtype = measured.dtype;
  return out;
}

// The k-th eigenvalue from the top, or from the bottom, over the seeds; the geometric mean is of
// those with the sign of that end.
void add_rank(ScreeSeries& to, const std::vector<const CurvatureRecord*>& records,
              std::vector<EigenRecord> CurvatureRecord::*end, size_t k, double sign) {
  std::vector<double> sizes;
  for (size_t r = 0; r < records.size(); ++r) {
    const std::vector<EigenRecord>& pairs = records[r]->*end;
    if (k >= pairs.size() || !(sign * pairs[k].value > 0)) continue;
    sizes.push_back(sign * pairs[k].value);
    to.runs[r].push_back(pairs[k].value);
  }
  if (sizes.empty()) return;
  const Estimate mean = mean_of_runs(sizes, true);
  to.eigenvalues.push_back(sign * mean.value);
  to.low.push_back(mean.interval.low);
  to.high.push_back(mean.interval.high);
}

std::optional<Figure> scree_over_seeds(const std::string& network,
                                       const std::vector<SeedProbes>& all,
                                       const FigureConditions& conditions) {
  ScreePanel panel{network, {}};
  for (const SeedProbes& seeds : all) {
    std::vector<const CurvatureRecord*> records;
    size_t top = 0, bottom = 0;
    for (const LoadedProbe& p : seeds.probes) {
      const CurvatureRecord* c = hessian_of(p);
      if (c == nullptr) continue;
      records.push_back(c);
      top = std::max(top, c->top.size()), bottom = std::max(bottom, c->bottom.size());
    }
    ScreeSeries series{.optimizer = seeds.optimizer, .eigenvalues = {}};
    series.runs.resize(records.size());
    for (size_t k = 0; k < top; ++k) add_rank(series, records, &CurvatureRecord::top, k, 1);
    for (size_t k = 0; k < bottom; ++k) add_rank(series, records, &CurvatureRecord::bottom, k, -1);
    if (records.size() < 2) series.runs.clear(), series.low.clear(), series.high.clear();
    if (!series.eigenvalues.empty()) panel.series.push_back(std::move(series));
  }
  if (panel.series.empty()) return std::nullopt;
  Figure out = scree_figure({.title = "Largest eigenvalues of the Hessian: " + network,
                             .panels = {std::move(panel)},
                             .conditions = conditions});
  out.name += "-" + network;
  return out;
}

// The mean over the seeds of their densities, all at one width and on one grid.
std::optional<Figure> density_over_seeds(const std::string& network,
                                         const std::vector<SeedProbes>& all,
                                         FigureConditions conditions, bool wide) {
  double width = 0, low = 0, high = 0;
  std::vector<LoadedProbe> measured = every_probe(all);
  std::erase_if(measured, [](const LoadedProbe& p) { return !has_density(p); });
  if (measured.empty()) return std::nullopt;
  for (const LoadedProbe& p : measured) {
    const SpectralQuadrature q = quadrature_of(*hessian_of(p));
    const Bandwidths b = default_bandwidths(q);
    width = std::max(width, wide ? b.relative : b.published);
    low = std::min(low, q.smallest());
    high = std::max(high, q.largest());
  }
  SpectralDensity out{.title = "Spectral density of the Hessian: " + network, .over = "seeds"};
  for (const SeedProbes& seeds : all) {
    std::vector<SpectralQuadrature> runs;
    for (const LoadedProbe& p : seeds.probes) {
      if (has_density(p)) runs.push_back(quadrature_of(*hessian_of(p)));
    }
    if (runs.empty()) continue;
    out.series.push_back(density_series(seeds.optimizer, runs, width, low, high));
  }
  conditions.probes = str(hessian_of(measured.front())->density.size(),
                          " probes of stochastic Lanczos per network");
  out.conditions = std::move(conditions);
  Figure figure = density_figure(out);
  figure.name += str("-", network, wide ? "-wide" : "");
  return figure;
}

}  // namespace

PartReport curvature_over_seeds(const std::string& network, const std::vector<SeedProbes>& all,
                                const FigureConditions& given) {
  if (every_probe(all).empty()) return {};
  const FigureConditions conditions = seed_conditions(all, given);
  PartReport out;
  PartSection section{"Spectrum of the Hessian: " + network,
                      "Eigenvalues as geometric means over the seeds, densities as means over "
                      "them, with 95 % t intervals.",
                      {},
                      {}};
  if (auto figure = scree_over_seeds(network, all, conditions)) {
    section.figures.push_back(std::move(*figure));
  } else {
    out.warnings.push_back(str(network, ": no eigenvalues (measured with top = 0)"));
  }
  for (const bool wide : {false, true}) {
    if (auto figure = density_over_seeds(network, all, conditions, wide)) {
      section.figures.push_back(std::move(*figure));
    } else if (!wide) {
      out.warnings.push_back(
          str(network, ": no spectral density (measured with density_probes = 0)"));
    }
  }
  out.sections.push_back(std::move(section));
  return out;
}

}  // namespace basin::tools
