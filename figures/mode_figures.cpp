// Modes of a matrix optimizer as line plots: three panels a matrix, and the spread of all runs.
#include "basin/figures/mode_figures.h"

#include <algorithm>
#include <cmath>

#include "basin/analysis/csv_table.h"
#include "basin/core/error.h"
#include "basin/figures/detail/figure_drawing.h"

namespace basin {
namespace {

void check_modes(const MatrixModes& m) {
  check(!m.steps.empty() && !m.r.empty(), "modes: ", m.name, " has no step or no mode");
  for (const ModeCurves* curves : {&m.r, &m.r_over_e, &m.s, &m.scale}) {
    check(curves->size() == m.r.size(), "modes: ", m.name, " has ", curves->size(),
          " curves of a quantity for ", m.r.size(), " modes");
    for (const std::vector<double>& curve : *curves) {
      check(curve.size() == m.steps.size(), "modes: ", m.name, " has a curve of ", curve.size(),
            " values for ", m.steps.size(), " steps");
    }
  }
}

PlotPanel mode_panel(const MatrixModes& m, const char* quantity, const ModeCurves& curves,
                     bool legend, bool last) {
  PlotPanel panel;
  panel.title = str(m.name, ": ", quantity);
  if (last) panel.x.label = "step";
  panel.y.scale = AxisScale::log;
  for (size_t j = 0; j < curves.size(); ++j) {
    PlotSeries series;
    if (legend) series.name = str("mode ", j + 1);
    series.x = m.steps, series.y = curves[j];
    series.style = series_style(static_cast<int>(j));
    panel.series.push_back(std::move(series));
  }
  return panel;
}

// What the modes have at the last step.
std::string last_values(const ModeCurves& curves) {
  std::vector<std::string> words;
  for (const std::vector<double>& curve : curves) words.push_back(readable(curve.back()));
  return joined(words);
}

}  // namespace

std::vector<double> mode_spread(const ModeCurves& curves, size_t steps) {
  std::vector<double> out(steps, NAN);
  for (size_t i = 0; i < steps; ++i) {
    double low = INFINITY, high = -INFINITY, sum = 0;
    int64_t modes = 0;
    for (const std::vector<double>& curve : curves) {
      if (!std::isfinite(curve[i])) continue;
      low = std::min(low, curve[i]), high = std::max(high, curve[i]);
      sum += curve[i];
      ++modes;
    }
    if (modes >= 2 && sum > 0) out[i] = (high - low) / (sum / static_cast<double>(modes));
  }
  return out;
}

Figure modes_figure(const ModesPlot& data) {
  check(!data.matrices.empty(), "modes: expects at least one matrix, given none");
  Figure figure{.name = "modes", .title = "Auxiliary variables and modes: " + data.run};
  LinePlot plot{.title = figure.title, .columns = 3};
  plot.panel_width = 300;
  CsvTable csv({"matrix", "step", "mode", "r", "r_over_e", "s", "scale"});
  figure.alt = "Per matrix and mode, against steps, on logarithmic axes.";
  const MatrixModes* widest = &data.matrices.front();
  for (const MatrixModes& m : data.matrices) {
    if (m.r.size() > widest->r.size()) widest = &m;
  }
  for (const MatrixModes& m : data.matrices) {
    check_modes(m);
    const bool last = &m == &data.matrices.back(), legend = &m == widest;
    plot.panels.push_back(mode_panel(m, "r / E", m.r_over_e, legend, last));
    plot.panels.push_back(mode_panel(m, "singular value s of the gradient", m.s, false, last));
    plot.panels.push_back(mode_panel(m, "scale of the step", m.scale, false, last));
    for (size_t i = 0; i < m.steps.size(); ++i) {
      for (size_t j = 0; j < m.r.size(); ++j) {
        csv.row({m.name, m.steps[i], static_cast<int64_t>(j + 1), m.r[j][i], m.r_over_e[j][i],
                 m.s[j][i], m.scale[j][i]});
        figure.holes += std::isfinite(m.r[j][i]) ? 0 : 1;
      }
    }
    figure.alt += str(" ", m.name, " at step ", readable(m.steps.back()), ": r / E ",
                      last_values(m.r_over_e), "; s ", last_values(m.s), ".");
  }
  plot.notes = condition_lines(data.conditions, plot);
  figure.svg = line_plot_svg(plot);
  figure.csv = csv.text();
  return finish_figure(std::move(figure),
                       "Per matrix, from left to right: auxiliary variable over energy, singular "
                       "value of the normalised gradient, scale of the step, of its leading modes.",
                       data.conditions);
}

Figure mode_spread_figure(const SpreadPlot& data) {
  check(!data.runs.empty(), "mode spread: expects at least one run, given none");
  Figure figure{.name = "mode-spread", .title = "How far the modes of a matrix are told apart"};
  LinePlot plot{.title = figure.title, .columns = 2};
  plot.panel_width = 430, plot.panel_height = 300;
  plot.panels.resize(2);
  plot.panels[0].title = "auxiliary variables: (max r - min r) / mean r";
  plot.panels[1].title = "scales of the step: (max - min) / mean";
  for (PlotPanel& panel : plot.panels) {
    panel.x.label = "step";
    panel.y.scale = AxisScale::log;
  }
  CsvTable csv({"run", "matrix", "step", "r_spread", "scale_spread"});
  figure.alt = "Relative spread over the modes of a matrix, against steps.";
  for (size_t k = 0; k < data.runs.size(); ++k) {
    const SpreadRun& run = data.runs[k];
    double most_r = NAN, most_scale = NAN;
    for (const MatrixModes& m : run.matrices) {
      check_modes(m);
      const std::vector<double> r = mode_spread(m.r, m.steps.size()),
                                scale = mode_spread(m.scale, m.steps.size());
      for (size_t i = 0; i < m.steps.size(); ++i) {
        csv.row({run.name, m.name, m.steps[i], r[i], scale[i]});
        figure.holes += (std::isfinite(r[i]) ? 0 : 1) + (std::isfinite(scale[i]) ? 0 : 1);
        most_r = std::fmax(most_r, r[i]), most_scale = std::fmax(most_scale, scale[i]);
      }
      for (const auto& [panel, spread] : {std::pair{0, &r}, {1, &scale}}) {
        PlotSeries series;
        if (&m == &run.matrices.front()) series.name = run.name;
        series.x = m.steps, series.y = *spread;
        series.style = series_style(static_cast<int>(k));
        plot.panels[static_cast<size_t>(panel)].series.push_back(std::move(series));
      }
    }
    figure.alt +=
        str(" ", run.name, ": at most ", readable(most_r), " of r and ", readable(most_scale),
            " of the scale, in ", run.matrices.size(), " matrices.");
  }
  plot.notes = condition_lines(data.conditions, plot);
  figure.svg = line_plot_svg(plot);
  figure.csv = csv.text();
  return finish_figure(
      std::move(figure),
      "A line per matrix. Where both stay at rounding or at the eps of the rule, all modes of a "
      "matrix are treated alike; a spread of exactly 0 is not drawn.",
      data.conditions);
}

}  // namespace basin
