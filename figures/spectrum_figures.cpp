// The figure of singular values per layer; ranks per layer have a layout of their own
// (layer_ranks.cpp).
#include "basin/figures/spectrum_figures.h"

#include <algorithm>
#include <cmath>

#include "basin/analysis/csv_table.h"
#include "basin/core/error.h"
#include "basin/figures/detail/figure_drawing.h"

namespace basin {
namespace {

constexpr double kPanelWidth = 190, kPanelHeight = 150;
constexpr double kFloor = 1e-6;  // the axis goes no lower, whatever rounding left there

void check_spectra(const SingularSpectra& data) {
  check(!data.panels.empty(), "singular values: expects at least one panel, given none");
  for (const SpectrumPanel& p : data.panels) {
    check(!p.series.empty() && p.rows > 0 && p.cols > 0, "singular values: panel ", p.layer,
          " has ", p.series.size(), " series for a matrix of ", p.rows, " x ", p.cols);
    for (const SpectrumSeries& s : p.series) {
      check(!s.singular_values.empty(), "singular values: ", p.layer, ", ", s.optimizer,
            " has no values");
    }
  }
}

// Of those that are finite; NaN where none is positive.
double largest(const std::vector<double>& values) {
  double most = std::numeric_limits<double>::quiet_NaN();
  for (const double v : values) {
    if (std::isfinite(v) && v > 0 && !(v <= most)) most = v;
  }
  return most;
}

struct Look {
  std::vector<std::string> names;
  std::vector<SeriesStyle> styles;
  SeriesStyle of(const SpectrumSeries& s) const {
    if (s.reference) return {-1, Dash::dotted, Marker::none};
    const auto at = std::find(names.begin(), names.end(), s.optimizer) - names.begin();
    return styles[static_cast<size_t>(at)];
  }
};

Look look_of(const SingularSpectra& data) {
  Look look;
  for (const SpectrumPanel& p : data.panels) {
    for (const SpectrumSeries& s : p.series) {
      if (s.reference) continue;
      if (std::find(look.names.begin(), look.names.end(), s.optimizer) == look.names.end()) {
        look.names.push_back(s.optimizer);
      }
    }
  }
  look.styles = series_styles(look.names);
  return look;
}

PlotPanel spectrum_panel(const SpectrumPanel& data, const Look& look, const AxisRange& axis,
                         double longest) {
  PlotPanel panel{.title = shortened(data.layer, kPanelTitleSize, kPanelWidth - 62),
                  .x = {"index", AxisScale::log, 0.92, 1.08 * std::max(longest, 2.0)},
                  .y = {"sigma / sigma 1", AxisScale::log, axis.low(), axis.high()}};
  panel.note = str(data.rows, " x ", data.cols);
  for (const SpectrumSeries& s : data.series) {
    const double top = largest(s.singular_values);
    PlotSeries line;
    line.name = s.optimizer;
    line.style = look.of(s);
    for (size_t i = 0; i < s.singular_values.size(); ++i) {
      line.x.push_back(static_cast<double>(i + 1));
      line.y.push_back(s.singular_values[i] / top);
    }
    panel.series.push_back(line);
    const double edge = marchenko_pastur_edge(s.singular_values, data.rows, data.cols);
    if (s.reference || !holds(axis, edge)) continue;
    PlotSeries across{.name = s.optimizer + ": random matrix",
                      .x = {1, static_cast<double>(s.singular_values.size())},
                      .y = {edge, edge},
                      .style = look.of(s)};
    across.style.dash = Dash::dotted;
    across.style.marker = Marker::none;
    across.width = 1.2;
    panel.series.push_back(across);
  }
  return panel;
}

std::string spectra_csv(const SingularSpectra& data) {
  CsvTable csv({"layer", "rows", "cols", "series", "index", "singular_value", "relative",
                "marchenko_pastur_edge"});
  for (const SpectrumPanel& p : data.panels) {
    for (const SpectrumSeries& s : p.series) {
      const double top = largest(s.singular_values);
      const double edge = marchenko_pastur_edge(s.singular_values, p.rows, p.cols);
      for (size_t i = 0; i < s.singular_values.size(); ++i) {
        csv.row({p.layer, p.rows, p.cols, s.optimizer, static_cast<int64_t>(i + 1),
                 s.singular_values[i], s.singular_values[i] / top, edge});
      }
    }
  }
  return csv.text();
}

std::string spectra_alt(const SingularSpectra& data) {
  std::string out = "Singular values relative to the largest, both axes logarithmic.";
  for (const SpectrumPanel& p : data.panels) {
    out += str(" ", p.layer, ", ", p.rows, " x ", p.cols, ": ");
    for (size_t i = 0; i < p.series.size(); ++i) {
      const SpectrumSeries& s = p.series[i];
      const double top = largest(s.singular_values);
      const auto& v = s.singular_values;
      out += str(i == 0 ? "" : "; ", s.optimizer, " from ", readable(top), ", halfway at ",
                 readable(v[v.size() / 2] / top), ", last at ", readable(v.back() / top), " of it");
    }
    out += ".";
  }
  return out;
}

}  // namespace

double marchenko_pastur_edge(const std::vector<double>& singular_values, int64_t rows,
                             int64_t cols) {
  double squares = 0;
  for (const double v : singular_values) {
    if (std::isfinite(v)) squares += v * v;
  }
  const auto m = static_cast<double>(rows), n = static_cast<double>(cols);
  return std::sqrt(squares / (m * n)) * (std::sqrt(m) + std::sqrt(n)) / largest(singular_values);
}

Figure singular_value_figure(const SingularSpectra& data) {
  check_spectra(data);
  const Look look = look_of(data);
  Figure figure{.name = "singular_values", .title = data.title};
  std::vector<double> seen{1};
  size_t longest = 0;
  for (const SpectrumPanel& p : data.panels) {
    for (const SpectrumSeries& s : p.series) {
      const double top = largest(s.singular_values);
      longest = std::max(longest, s.singular_values.size());
      for (const double v : s.singular_values) {
        if (!std::isfinite(v)) ++figure.holes;
        if (v / top >= kFloor) seen.push_back(v / top);
      }
    }
  }
  AxisRange axis = axis_around(seen, AxisScale::log);
  axis.fix_high(1.5);
  LinePlot plot{.title = data.title, .share_x = true, .share_y = true};
  plot.panel_width = kPanelWidth, plot.panel_height = kPanelHeight;
  for (const SpectrumPanel& p : data.panels) {
    plot.panels.push_back(spectrum_panel(p, look, axis, static_cast<double>(longest)));
  }
  plot.columns = static_cast<int>(std::min<size_t>(4, plot.panels.size()));
  plot.notes = condition_lines(data.conditions, plot);
  figure.svg = line_plot_svg(plot);
  figure.csv = spectra_csv(data);
  figure.alt = spectra_alt(data);
  return finish_figure(std::move(figure),
                       "Singular values of each weight relative to its largest; dotted across: "
                       "where the largest of a random matrix of the same size and Frobenius norm "
                       "would lie (Marchenko-Pastur edge); grey: for reference.",
                       data.conditions);
}

}  // namespace basin
