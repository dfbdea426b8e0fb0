// Scatter plots as line plots without lines.
#include "basin/figures/scatter_figures.h"

#include <algorithm>
#include <cmath>

#include "basin/analysis/csv_table.h"
#include "basin/core/error.h"
#include "basin/figures/detail/figure_drawing.h"

namespace basin {
namespace {

void check_scatter(const Scatter& data) {
  check(!data.panels.empty(), "scatter: expects at least one panel, given none");
  for (const ScatterPanel& p : data.panels) {
    check(!p.series.empty(), "scatter: panel ", p.y, " has no series");
    for (const ScatterSeries& s : p.series) {
      check(s.x.size() == s.y.size() && (s.runs.empty() || s.runs.size() == s.x.size()),
            "scatter: ", p.y, ", ", s.optimizer, " has ", s.x.size(), " x, ", s.y.size(), " y and ",
            s.runs.size(), " names of runs");
    }
  }
}

std::vector<std::string> scatter_names(const Scatter& data) {
  std::vector<std::string> out;
  for (const ScatterPanel& p : data.panels) {
    for (const ScatterSeries& s : p.series) {
      if (std::ranges::find(out, s.optimizer) == out.end()) out.push_back(s.optimizer);
    }
  }
  return out;
}

std::string scatter_csv(const Scatter& data) {
  CsvTable csv({"x_quantity", "y_quantity", "optimizer", "run", "x", "y"});
  for (const ScatterPanel& p : data.panels) {
    for (const ScatterSeries& s : p.series) {
      for (size_t i = 0; i < s.x.size(); ++i) {
        csv.row({p.x, p.y, s.optimizer, s.runs.empty() ? str("run ", i + 1) : s.runs[i], s.x[i],
                 s.y[i]});
      }
    }
  }
  return csv.text();
}

std::string scatter_alt(const Scatter& data) {
  std::string out = "One marker per run.";
  for (const ScatterPanel& p : data.panels) {
    out += str(" ", p.y, " against ", p.x);
    for (const ScatterSeries& s : p.series) {
      double x = 0, y = 0;
      int64_t n = 0;
      for (size_t i = 0; i < s.x.size(); ++i) {
        if (!std::isfinite(s.x[i]) || !std::isfinite(s.y[i])) continue;
        x += s.x[i], y += s.y[i], ++n;
      }
      const auto runs = static_cast<double>(n);
      out += n == 0 ? str("; ", s.optimizer, " has none")
                    : str("; ", s.optimizer, " about ", readable(x / runs), " and ",
                          readable(y / runs));
    }
    out += p.note.empty() ? "." : str("; ", p.note, ".");
  }
  return out;
}

}  // namespace

Figure scatter_figure(const Scatter& data) {
  check_scatter(data);
  const std::vector<std::string> names = scatter_names(data);
  LinePlot plot{.title = data.title};
  plot.columns = static_cast<int>(std::min<size_t>(2, data.panels.size()));
  plot.panel_width = 300;
  Figure figure{.name = data.name, .title = data.title};
  for (const ScatterPanel& p : data.panels) {
    PlotPanel panel{.x = {.label = p.x}, .y = {.label = p.y}, .note = p.note};
    panel.x.scale = p.log_x ? AxisScale::log : AxisScale::linear;
    panel.y.scale = p.log_y ? AxisScale::log : AxisScale::linear;
    for (const ScatterSeries& s : p.series) {
      panel.series.push_back({.name = s.optimizer,
                              .x = s.x,
                              .y = s.y,
                              .style = style_among(names, s.optimizer),
                              .line = false,
                              .marker_every = 1});
      for (size_t i = 0; i < s.x.size(); ++i) {
        figure.holes += !std::isfinite(s.x[i]) || !std::isfinite(s.y[i]);
      }
    }
    plot.panels.push_back(std::move(panel));
  }
  plot.notes = condition_lines(data.conditions, plot);
  figure.svg = line_plot_svg(plot);
  figure.csv = scatter_csv(data);
  figure.alt = scatter_alt(data);
  return finish_figure(std::move(figure), "One marker per run.", data.conditions);
}

}  // namespace basin
