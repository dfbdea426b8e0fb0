// Figures of curvature and ranks from probes: see figures.h.
#include "basin/tools/landscape_probe/figures.h"

#include <algorithm>
#include <cmath>

#include "basin/analysis/spectral_density.h"
#include "basin/analysis/statistics.h"
#include "basin/figures/curvature_figures.h"
#include "basin/figures/spectrum_figures.h"

namespace basin::tools {
namespace {

FigureConditions conditions_of(const std::vector<LoadedProbe>& probes, const std::string& command) {
  FigureConditions out;
  out.runs = 1;
  for (const LoadedProbe& p : probes) {
    const auto seed = static_cast<uint64_t>(p.facts.integer("train_seed"));
    if (std::find(out.seeds.begin(), out.seeds.end(), seed) == out.seeds.end()) {
      out.seeds.push_back(seed);
    }
  }
  out.command = command;
  return out;
}

// What the curvature was measured on; the same for probes that are compared.
FigureConditions curvature_conditions(const std::vector<LoadedProbe>& probes,
                                      const std::string& command) {
  FigureConditions out = conditions_of(probes, command);
  for (const LoadedProbe& p : probes) {
    if (p.curvature.empty()) continue;
    const RecordFields id = PartFiles(p.dir).identity("curvature");
    out.data = str(id.text("probe_shapes"), " training shapes of ", id.text("points"),
                   " points, batch norm ", id.text("probe_batch_norm"));
    out.dtype = id.text("probe_dtype");
    const CurvatureRecord& c = p.curvature.front();
    out.probes = str(c.trace.samples, " probes (", c.trace.method, ")");
    break;
  }
  return out;
}

void add_bars(CurvatureBars& out, const LoadedProbe& p) {
  for (const CurvatureRecord& c : p.curvature) {
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
    for (const LoadedProbe& p : probes) {
      const CurvatureRecord* c = p.hessian();
      if (p.network != network || c == nullptr) continue;
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
    if (p.hessian() == nullptr || p.hessian()->density.empty()) continue;
    const SpectralQuadrature q = quadrature_of(*p.hessian());
    const Bandwidths b = default_bandwidths(q);
    width = std::max(width, wide ? b.relative : b.published);
    low = std::min(low, q.smallest());
    high = std::max(high, q.largest());
  }
  for (const LoadedProbe& p : probes) {
    if (p.hessian() == nullptr || p.hessian()->density.empty()) continue;
    const SpectralQuadrature q = quadrature_of(*p.hessian());
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
      str(quadrature_of(*probes.front().hessian()).rules.size(), " probes of stochastic Lanczos");
  Figure figure = density_figure(out);
  figure.name += str("-", network, wide ? "-wide" : "");
  return figure;
}

std::vector<LoadedProbe> of_network(const std::vector<LoadedProbe>& probes,
                                    const std::string& network) {
  std::vector<LoadedProbe> out;
  for (const LoadedProbe& p : probes) {
    if (p.network == network) out.push_back(p);
  }
  return out;
}

bool any_curvature(const std::vector<LoadedProbe>& probes) {
  return std::any_of(probes.begin(), probes.end(),
                     [](const LoadedProbe& p) { return p.hessian() != nullptr; });
}

// The layers of a network's probes in the order of the first; a layer that another probe lacks is
// a hole there.
template <class Record, class Name>
std::vector<std::string> layers_of(const std::vector<Record>& records, Name&& name) {
  std::vector<std::string> out;
  for (const Record& r : records) {
    if (std::find(out.begin(), out.end(), name(r)) == out.end()) out.push_back(name(r));
  }
  return out;
}

Estimate exact(double value) {
  Estimate out;
  out.value = value;
  out.standard_error = 0;
  out.interval = {value, value, 0.95};
  out.method = "exact";
  return out;
}

Estimate scaled(Estimate e, double by) {
  e.value *= by;
  e.standard_error *= by;
  e.interval.low *= by;
  e.interval.high *= by;
  return e;
}

Figure weight_ranks(const std::vector<LoadedProbe>& probes, const std::string& network,
                    const std::string& command) {
  LayerRanks out;
  out.title = "Rank of the weights: " + network;
  LayerPanel stable{"stable rank / maximal rank", {}},
      effective{"effective rank / maximal rank", {}};
  const RanksRecord* first = nullptr;
  for (const LoadedProbe& p : probes) {
    if (!p.ranks) continue;
    LayerSeries s, e, s0, e0;
    for (const WeightRecord& w : p.ranks->weights) {
      const double limit = 1.0 / static_cast<double>(std::min(w.rows, w.cols));
      s.values.push_back(exact(w.stable * limit));
      e.values.push_back(exact(w.effective * limit));
      s0.values.push_back(exact(w.initial_stable * limit));
      e0.values.push_back(exact(w.initial_effective * limit));
    }
    if (first == nullptr) {
      first = &*p.ranks;
      for (const WeightRecord& w : p.ranks->weights) out.layers.push_back(w.name);
      for (const SkippedRecord& k : p.ranks->skipped) out.skipped.push_back({k.name, k.reason});
      s0.reference = e0.reference = true;
      s0.optimizer = e0.optimizer = "initialisation";
      stable.series.push_back(s0);
      effective.series.push_back(e0);
    }
    s.optimizer = e.optimizer = p.optimizer;
    stable.series.push_back(s);
    effective.series.push_back(e);
  }
  out.panels = {stable, effective};
  out.conditions = conditions_of(probes, command);
  out.conditions.level = 0;
  Figure figure = weight_rank_figure(out);
  figure.name += "-" + network;
  return figure;
}

Figure singular_values(const std::vector<LoadedProbe>& probes, const std::string& network,
                       const std::string& command) {
  SingularSpectra out;
  out.title = "Singular values of the weights: " + network;
  for (const LoadedProbe& p : probes) {
    if (!p.ranks) continue;
    const bool first = out.panels.empty();
    for (size_t i = 0; i < p.ranks->weights.size(); ++i) {
      const WeightRecord& w = p.ranks->weights[i];
      if (first) {
        out.panels.push_back({w.name, w.rows, w.cols, {}});
        out.panels.back().series.push_back({"initialisation", w.initial, true});
      }
      if (i < out.panels.size()) {
        out.panels[i].series.push_back({p.optimizer, w.singular, false});
      }
    }
  }
  out.conditions = conditions_of(probes, command);
  out.conditions.level = 0;
  Figure figure = singular_value_figure(out);
  figure.name += "-" + network;
  return figure;
}

Figure representation_ranks(const std::vector<LoadedProbe>& probes, const std::string& network,
                            const std::string& command) {
  LayerRanks out;
  out.title = "Rank of the representations: " + network;
  out.panels = {{"stable rank, uncentred", {}},
                {"effective rank, uncentred", {}},
                {"stable rank, centred", {}},
                {"effective rank, centred", {}}};
  out.axis = "rank / maximal rank";
  for (const LoadedProbe& p : probes) {
    if (!p.representations) continue;
    const auto& layers = p.representations->layers;
    if (out.layers.empty()) {
      out.layers = layers_of(layers, [](const LayerRankRecord& r) { return r.layer; });
      out.conditions = conditions_of(probes, command);
      out.conditions.data = p.representations->data;
    }
    std::vector<LayerSeries> series(4);
    for (const LayerRankRecord& r : layers) {
      const double limit = 1.0 / static_cast<double>(std::min(r.samples, r.channels));
      const size_t at = r.centred ? 2 : 0;
      series[at].values.push_back(scaled(r.stable, limit));
      series[at + 1].values.push_back(scaled(r.effective, limit));
    }
    for (size_t i = 0; i < series.size(); ++i) {
      series[i].optimizer = p.optimizer;
      out.panels[i].series.push_back(std::move(series[i]));
    }
  }
  Figure figure = representation_rank_figure(out);
  figure.name += "-" + network;
  return figure;
}

}  // namespace

std::vector<Figure> curvature_figures(const std::vector<LoadedProbe>& probes,
                                      const std::string& command) {
  if (!any_curvature(probes)) return {};
  std::vector<Figure> out{bars(probes, command), scree(probes, command)};
  for (const std::string& network : networks_of(probes)) {
    std::vector<LoadedProbe> part;
    for (LoadedProbe& p : of_network(probes, network)) {
      if (p.hessian() != nullptr && !p.hessian()->density.empty()) part.push_back(std::move(p));
    }
    if (part.empty()) continue;
    for (const bool wide : {false, true}) out.push_back(density(part, network, command, wide));
  }
  return out;
}

std::vector<Figure> rank_figures(const std::vector<LoadedProbe>& probes,
                                 const std::string& command) {
  std::vector<Figure> out;
  for (const std::string& network : networks_of(probes)) {
    const std::vector<LoadedProbe> part = of_network(probes, network);
    if (std::any_of(part.begin(), part.end(), [](const auto& p) { return p.ranks.has_value(); })) {
      out.push_back(weight_ranks(part, network, command));
      out.push_back(singular_values(part, network, command));
    }
    if (std::any_of(part.begin(), part.end(),
                    [](const auto& p) { return p.representations.has_value(); })) {
      out.push_back(representation_ranks(part, network, command));
    }
  }
  return out;
}

}  // namespace basin::tools
