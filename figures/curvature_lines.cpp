// The figures of curvature that are line plots: screes of eigenvalues and spectral densities.
#include <algorithm>
#include <cmath>

#include "basin/analysis/csv_table.h"
#include "basin/core/error.h"
#include "basin/figures/curvature_figures.h"
#include "basin/figures/detail/figure_drawing.h"
#include "basin/figures/optimizer_figures.h"

namespace basin {
namespace {

bool finite(double v) { return std::isfinite(v); }

int64_t not_finite(const std::vector<double>& values) {
  return std::count_if(values.begin(), values.end(), [](double v) { return !finite(v); });
}

template <class Series>
std::vector<std::string> names_of(const std::vector<Series>& all) {
  std::vector<std::string> out;
  for (const Series& s : all) {
    if (std::find(out.begin(), out.end(), s.optimizer) == out.end()) out.push_back(s.optimizer);
  }
  return out;
}

// ---- Scree

// The eigenvalues of one sign, by falling size, with the ends of their whiskers: the size itself
// where nothing is known.
struct Ranked {
  std::vector<double> size, low, high;
};

Ranked ranked(const ScreeSeries& s, bool negative) {
  std::vector<size_t> order;
  for (size_t i = 0; i < s.eigenvalues.size(); ++i) {
    if (finite(s.eigenvalues[i]) && (s.eigenvalues[i] < 0) == negative) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::abs(s.eigenvalues[a]) > std::abs(s.eigenvalues[b]);
  });
  Ranked out;
  for (const size_t i : order) {
    const double size = std::abs(s.eigenvalues[i]);
    const double r = s.residuals.empty() || !finite(s.residuals[i]) ? 0 : s.residuals[i];
    const bool interval = !s.low.empty() && finite(s.low[i]) && finite(s.high[i]);
    out.size.push_back(size);
    out.low.push_back(interval ? s.low[i] : size - r);
    out.high.push_back(interval ? s.high[i] : size + r);
  }
  return out;
}

void check_scree(const Scree& data) {
  check(!data.panels.empty(), "scree: expects at least one panel, given none");
  for (const ScreePanel& p : data.panels) {
    check(!p.series.empty(), "scree: panel ", p.network, " has no series");
    for (const ScreeSeries& s : p.series) {
      check(!s.eigenvalues.empty(), "scree: ", p.network, ", ", s.optimizer, " has no eigenvalues");
      check(s.residuals.empty() || s.residuals.size() == s.eigenvalues.size(), "scree: ", p.network,
            ", ", s.optimizer, " has ", s.residuals.size(), " residuals for ", s.eigenvalues.size(),
            " eigenvalues");
      check(
          (s.low.empty() || s.low.size() == s.eigenvalues.size()) && s.high.size() == s.low.size(),
          "scree: the interval of ", p.network, ", ", s.optimizer, " has ", s.low.size(), " and ",
          s.high.size(), " ends for ", s.eigenvalues.size(), " eigenvalues");
    }
  }
}

std::vector<std::string> scree_names(const Scree& data) {
  std::vector<ScreeSeries> all;
  for (const ScreePanel& p : data.panels) all.insert(all.end(), p.series.begin(), p.series.end());
  return names_of(all);
}

AxisRange scree_axis(const Scree& data) {
  std::vector<double> seen;
  for (const ScreePanel& p : data.panels) {
    for (const ScreeSeries& s : p.series) {
      for (const double v : s.eigenvalues) seen.push_back(std::abs(v));
      for (const auto& run : s.runs) {
        for (const double v : run) seen.push_back(std::abs(v));
      }
      seen.push_back(s.bulk_edge);
    }
  }
  return axis_around(seen, AxisScale::log);
}

PlotPanel scree_panel(const ScreePanel& data, bool negative, const AxisRange& axis,
                      const std::vector<std::string>& names) {
  PlotPanel panel{.title = data.network + (negative ? ": negative eigenvalues" : ""),
                  .x = {.label = negative ? "rank, from the most negative" : "rank"},
                  .y = {"|eigenvalue|", AxisScale::log, axis.low(), axis.high()}};
  for (const ScreeSeries& s : data.series) {
    const Ranked r = ranked(s, negative);
    if (r.size.empty()) continue;
    for (const std::vector<double>& run : s.runs) {
      const Ranked single = ranked({s.optimizer, run}, negative);
      PlotSeries faint{.y = single.size, .style = style_among(names, s.optimizer), .faint = true};
      for (size_t i = 0; i < faint.y.size(); ++i) faint.x.push_back(static_cast<double>(i + 1));
      if (!faint.x.empty()) panel.series.push_back(std::move(faint));
    }
    PlotSeries line;
    line.name = s.optimizer;
    line.style = style_among(names, s.optimizer);
    line.marker_every = 1;
    line.bars = true;
    for (size_t i = 0; i < r.size.size(); ++i) {
      line.x.push_back(static_cast<double>(i + 1));
      line.y.push_back(r.size[i]);
      line.low.push_back(std::max(r.low[i], axis.low()));
      line.high.push_back(std::min(r.high[i], axis.high()));
    }
    panel.series.push_back(line);
    if (!negative && s.bulk_edge > 0 && finite(s.bulk_edge)) {
      panel.references.push_back({s.bulk_edge, false, s.optimizer + ": bulk edge"});
    }
  }
  return panel;
}

std::string scree_csv(const Scree& data) {
  CsvTable csv({"network", "optimizer", "kind", "index", "eigenvalue", "residual", "low", "high"});
  for (const ScreePanel& p : data.panels) {
    for (const ScreeSeries& s : p.series) {
      for (size_t i = 0; i < s.eigenvalues.size(); ++i) {
        csv.row({p.network, s.optimizer, "eigenvalue", static_cast<int64_t>(i + 1),
                 s.eigenvalues[i], s.residuals.empty() ? CsvCell("") : CsvCell(s.residuals[i]),
                 s.low.empty() ? CsvCell("") : CsvCell(s.low[i]),
                 s.high.empty() ? CsvCell("") : CsvCell(s.high[i])});
      }
      for (size_t r = 0; r < s.runs.size(); ++r) {
        for (size_t i = 0; i < s.runs[r].size(); ++i) {
          csv.row({p.network, s.optimizer, str("run ", r + 1), static_cast<int64_t>(i + 1),
                   s.runs[r][i], "", "", ""});
        }
      }
      if (finite(s.bulk_edge)) {
        csv.row({p.network, s.optimizer, "bulk_edge", "", s.bulk_edge, "", "", ""});
      }
    }
  }
  return csv.text();
}

std::string scree_alt(const Scree& data) {
  std::string out = "Eigenvalues against rank on a log scale.";
  for (const ScreePanel& p : data.panels) {
    for (const ScreeSeries& s : p.series) {
      const Ranked up = ranked(s, false), down = ranked(s, true);
      out += str(" ", p.network, ", ", s.optimizer, ": ");
      if (up.size.empty()) {
        out += "none positive";
      } else {
        out += str(up.size.size(), " from ", readable(up.size.front()), " down to ",
                   readable(up.size.back()));
      }
      if (!down.size.empty()) {
        out += str("; ", down.size.size(), " negative, the lowest ", readable(-down.size.front()));
      }
      if (finite(s.bulk_edge)) out += "; bulk edge " + readable(s.bulk_edge);
      out += ".";
    }
  }
  return out;
}

// ---- Density

void check_density(const SpectralDensity& data) {
  check(!data.series.empty(), "spectral density: expects at least one series, given none");
  check(data.floor > 0 && data.floor < 1, "spectral density: expects a floor in (0, 1), given ",
        data.floor);
  for (const DensitySeries& s : data.series) {
    check(s.at.size() > 1 && s.density.size() == s.at.size(), "spectral density: ", s.optimizer,
          " has ", s.density.size(), " densities at ", s.at.size(), " places");
    check((s.low.empty() || s.low.size() == s.at.size()) && s.high.size() == s.low.size(),
          "spectral density: the band of ", s.optimizer, " has ", s.low.size(), " and ",
          s.high.size(), " ends for ", s.at.size(), " places");
    check(s.weights.empty() || s.weights.size() == s.nodes.size(),
          "spectral density: ", s.optimizer, " has ", s.weights.size(), " weights for ",
          s.nodes.size(), " nodes");
  }
}

AxisRange density_axis(const SpectralDensity& data) {
  double most = 0;
  for (const DensitySeries& s : data.series) {
    for (const auto* list : {&s.density, &s.high}) {
      for (const double v : *list) most = finite(v) ? std::max(most, v) : most;
    }
  }
  check(most > 0, "spectral density: expects a positive density somewhere, given none");
  AxisRange axis(AxisScale::log);
  axis.fix_low(data.floor * most);
  axis.fix_high(2 * most);
  return axis;
}

const std::string& label_of(const DensitySeries& s) {
  return s.label.empty() ? s.optimizer : s.label;
}

// The curve falls below the axis between the outliers: one line for each stretch that is on it.
void add_stretches(PlotPanel& panel, const DensitySeries& s, const SeriesStyle& style,
                   const AxisRange& axis) {
  bool named = false;
  PlotSeries line;
  const auto flush = [&] {
    if (!line.x.empty()) {
      line.name = named ? "" : s.optimizer;
      line.style = {style.colour, Dash::solid, Marker::none};  // the panel names the optimizer
      named = true;
      panel.series.push_back(line);
    }
    line = {};
  };
  for (size_t i = 0; i < s.at.size(); ++i) {
    if (!finite(s.density[i]) || s.density[i] < axis.low()) {
      flush();
      continue;
    }
    line.x.push_back(s.at[i]);
    line.y.push_back(s.density[i]);
    if (s.low.empty()) continue;
    line.low.push_back(std::max(s.low[i], axis.low()));
    line.high.push_back(std::min(s.high[i], axis.high()));
  }
  flush();
}

PlotPanel density_panel(const DensitySeries& s, const SeriesStyle& style, const AxisRange& axis) {
  PlotPanel panel{.title = label_of(s),
                  .x = {.label = "eigenvalue"},
                  .y = {"density (log scale)", AxisScale::log, axis.low(), axis.high()}};
  add_stretches(panel, s, style, axis);
  for (const double node : s.nodes) {
    if (finite(node)) panel.rug.push_back(node);
  }
  if (s.at.front() < 0 && s.at.back() > 0) panel.references.push_back({0, true, ""});
  std::vector<std::string> note;
  if (finite(s.bandwidth)) note.push_back("sigma = " + readable(s.bandwidth));
  if (finite(s.negative_share)) {
    note.push_back(readable(100 * s.negative_share) + " % below zero");
  }
  panel.note = joined(note);
  return panel;
}

std::string density_csv(const SpectralDensity& data) {
  CsvTable csv({"series", "optimizer", "kind", "eigenvalue", "density", "low", "high", "weight",
                "bandwidth", "negative_share"});
  for (const DensitySeries& s : data.series) {
    for (size_t i = 0; i < s.at.size(); ++i) {
      const bool band = !s.low.empty();
      csv.row({label_of(s), s.optimizer, "density", s.at[i], s.density[i],
               band ? CsvCell(s.low[i]) : CsvCell(""), band ? CsvCell(s.high[i]) : CsvCell(""), "",
               s.bandwidth, s.negative_share});
    }
    for (size_t i = 0; i < s.nodes.size(); ++i) {
      csv.row({label_of(s), s.optimizer, "node", s.nodes[i], "", "", "",
               s.weights.empty() ? CsvCell("") : CsvCell(s.weights[i]), "", ""});
    }
  }
  return csv.text();
}

std::string density_alt(const SpectralDensity& data) {
  std::string out = "Density of the eigenvalues on a log scale.";
  for (const DensitySeries& s : data.series) {
    size_t peak = 0;
    for (size_t i = 1; i < s.at.size(); ++i) {
      if (s.density[i] > s.density[peak] || !finite(s.density[peak])) peak = i;
    }
    out += str(" ", label_of(s), ": densest at ", readable(s.at[peak]));
    if (!s.nodes.empty()) {
      const auto [low, high] = std::minmax_element(s.nodes.begin(), s.nodes.end());
      out += str(", quadrature nodes from ", readable(*low), " to ", readable(*high));
    }
    if (finite(s.negative_share)) {
      out += str(", ", readable(100 * s.negative_share), " % of the mass below zero");
    }
    out += ".";
  }
  return out;
}

}  // namespace

Figure scree_figure(const Scree& data) {
  check_scree(data);
  const std::vector<std::string> names = scree_names(data);
  const AxisRange axis = scree_axis(data);
  LinePlot plot{.title = data.title, .share_x = true, .share_y = true};
  bool residuals = false, intervals = false, edges = false;
  Figure figure{.name = "scree", .title = data.title};
  for (const ScreePanel& p : data.panels) {
    plot.panels.push_back(scree_panel(p, false, axis, names));
    edges = edges || !plot.panels.back().references.empty();
    for (const ScreeSeries& s : p.series) {
      residuals = residuals || !s.residuals.empty();
      intervals = intervals || !s.low.empty();
      figure.holes += not_finite(s.eigenvalues);
    }
  }
  for (const ScreePanel& p : data.panels) {
    PlotPanel panel = scree_panel(p, true, axis, names);
    if (!panel.series.empty()) plot.panels.push_back(panel);
  }
  const size_t networks = data.panels.size();  // negative ones stand below their network's others
  plot.columns =
      static_cast<int>(networks == 1 ? plot.panels.size() : std::min<size_t>(3, networks));
  plot.notes = condition_lines(data.conditions, plot);
  figure.svg = line_plot_svg(plot);
  figure.csv = scree_csv(data);
  figure.alt = scree_alt(data);
  std::string what = "Size of the eigenvalues by rank";
  if (residuals) what += "; whiskers: residual of the eigenpair, cut at the lower end of the axis";
  if (intervals) {
    what += "; line: geometric mean over the runs; whiskers: its interval; faint: single runs";
  }
  if (edges) what += "; dashed: edge of the bulk";
  return finish_figure(std::move(figure), what + ".", data.conditions);
}

DensitySeries density_series(const std::string& optimizer,
                             const std::vector<SpectralQuadrature>& runs, double bandwidth,
                             double low, double high) {
  constexpr int64_t kCells = 1200;
  DensitySeries series{.optimizer = optimizer, .bandwidth = bandwidth};
  std::vector<DensityCurve> curves;
  double negative = 0;
  for (const SpectralQuadrature& q : runs) {
    curves.push_back(
        spectral_density(q, bandwidth, {kCells, low - 6 * bandwidth, high + 6 * bandwidth}));
    negative += negative_share(q).value / static_cast<double>(runs.size());
    for (const SpectralRule& r : q.rules) {
      series.nodes.insert(series.nodes.end(), r.nodes.begin(), r.nodes.end());
      series.weights.insert(series.weights.end(), r.weights.begin(), r.weights.end());
    }
  }
  series.negative_share = negative;
  series.at = curves.front().x;
  if (curves.size() == 1) {
    series.density = curves.front().density;
    series.low = curves.front().low;
    series.high = curves.front().high;
    return series;
  }
  for (size_t i = 0; i < series.at.size(); ++i) {
    std::vector<double> values;
    for (const DensityCurve& curve : curves) values.push_back(curve.density[i]);
    const Estimate mean = mean_of_runs(values, false);
    series.density.push_back(mean.value);
    series.low.push_back(std::max(0.0, mean.interval.low));
    series.high.push_back(mean.interval.high);
  }
  return series;
}

Figure density_figure(const SpectralDensity& data) {
  check_density(data);
  const AxisRange axis = density_axis(data);
  const std::vector<std::string> names = names_of(data.series);
  LinePlot plot{.title = data.title, .share_x = true, .share_y = true};
  Figure figure{.name = "spectral_density", .title = data.title};
  bool band = false, rug = false;
  for (const DensitySeries& s : data.series) {
    plot.panels.push_back(density_panel(s, style_among(names, s.optimizer), axis));
    figure.holes += not_finite(s.density) + not_finite(s.nodes);
    band = band || !s.low.empty(), rug = rug || !s.nodes.empty();
  }
  plot.columns = static_cast<int>(std::min<size_t>(2, plot.panels.size()));
  plot.panel_width = 400;
  plot.notes = condition_lines(data.conditions, plot);
  figure.svg = line_plot_svg(plot);
  figure.csv = density_csv(data);
  figure.alt = density_alt(data);
  std::string what =
      str("Density smoothed with a Gaussian of the width sigma, mean over the ", data.over);
  if (band) what += "; band: interval over the " + data.over;
  if (rug) what += "; strokes at the lower edge: nodes of the quadrature";
  what += str("; the axis starts at ", readable(data.floor), " of the peak.");
  return finish_figure(std::move(figure), what, data.conditions);
}

}  // namespace basin
