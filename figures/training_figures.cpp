// The figure of curves over training, as a line plot whose panels share the axis of steps.
#include "basin/figures/training_figures.h"

#include <algorithm>
#include <cmath>

#include "basin/analysis/csv_table.h"
#include "basin/core/error.h"
#include "basin/figures/detail/figure_drawing.h"

namespace basin {
namespace {

void check_training(const TrainingCurves& data) {
  check(!data.panels.empty(), "training curves: expects at least one panel, given none");
  for (const TrainingPanel& p : data.panels) {
    check(!p.series.empty(), "training curves: panel ", p.quantity, " has no series");
    for (const TrainingSeries& s : p.series) {
      const size_t n = s.steps.size();
      check(n > 0 && s.values.size() == n, "training curves: ", p.quantity, ", ", s.optimizer,
            " has ", s.values.size(), " values for ", n, " steps");
      check((s.low.empty() || s.low.size() == n) && s.high.size() == s.low.size(),
            "training curves: the interval of ", p.quantity, ", ", s.optimizer, " has ",
            s.low.size(), " and ", s.high.size(), " ends for ", n, " steps");
      for (const auto& run : s.runs) {
        check(run.size() == n, "training curves: a run of ", p.quantity, ", ", s.optimizer, " has ",
              run.size(), " values for ", n, " steps");
      }
    }
  }
}

std::vector<std::string> optimizers_of(const TrainingCurves& data) {
  std::vector<std::string> names;
  for (const TrainingPanel& p : data.panels) {
    for (const TrainingSeries& s : p.series) {
      if (std::find(names.begin(), names.end(), s.optimizer) == names.end()) {
        names.push_back(s.optimizer);
      }
    }
  }
  return names;
}

PlotPanel training_panel(const TrainingPanel& data, const std::vector<std::string>& names,
                         bool last) {
  PlotPanel panel;
  panel.title = data.quantity;
  panel.x.label = last ? "step" : "";
  panel.y.scale = data.log_axis ? AxisScale::log : AxisScale::linear;
  for (const TrainingSeries& s : data.series) {
    const SeriesStyle style = style_among(names, s.optimizer);
    for (const auto& run : s.runs) {
      PlotSeries faint{.x = s.steps, .y = run, .style = style};
      faint.faint = true;
      panel.series.push_back(faint);
    }
    panel.series.push_back({.name = s.optimizer,
                            .x = s.steps,
                            .y = s.values,
                            .low = s.low,
                            .high = s.high,
                            .style = style});
  }
  return panel;
}

std::string training_csv(const TrainingCurves& data) {
  CsvTable csv({"quantity", "optimizer", "kind", "step", "value", "low", "high"});
  for (const TrainingPanel& p : data.panels) {
    for (const TrainingSeries& s : p.series) {
      for (size_t i = 0; i < s.steps.size(); ++i) {
        const bool band = !s.low.empty();
        csv.row({p.quantity, s.optimizer, "value", s.steps[i], s.values[i],
                 band ? CsvCell(s.low[i]) : CsvCell(""), band ? CsvCell(s.high[i]) : CsvCell("")});
      }
      for (size_t r = 0; r < s.runs.size(); ++r) {
        for (size_t i = 0; i < s.steps.size(); ++i) {
          csv.row({p.quantity, s.optimizer, str("run ", r + 1), s.steps[i], s.runs[r][i], "", ""});
        }
      }
    }
  }
  return csv.text();
}

std::string training_alt(const TrainingCurves& data) {
  std::string out = "Curves over training.";
  for (const TrainingPanel& p : data.panels) {
    out += str(" ", p.quantity, ": ");
    for (size_t i = 0; i < p.series.size(); ++i) {
      const TrainingSeries& s = p.series[i];
      out += str(i == 0 ? "" : "; ", s.optimizer, " from ", readable(s.values.front()), " at step ",
                 readable(s.steps.front()), " to ", readable(s.values.back()), " at step ",
                 readable(s.steps.back()));
    }
    out += ".";
  }
  return out;
}

}  // namespace

Figure training_figure(const TrainingCurves& data) {
  check_training(data);
  const std::vector<std::string> names = optimizers_of(data);
  LinePlot plot{.title = data.title, .columns = 1, .share_x = true};
  plot.panel_width = 620, plot.panel_height = 225;
  Figure figure{.name = "training", .title = data.title};
  bool band = false, runs = false;
  for (const TrainingPanel& p : data.panels) {
    plot.panels.push_back(training_panel(p, names, &p == &data.panels.back()));
    for (const TrainingSeries& s : p.series) {
      figure.holes += std::count_if(s.values.begin(), s.values.end(),
                                    [](double v) { return !std::isfinite(v); });
      band = band || !s.low.empty(), runs = runs || !s.runs.empty();
    }
  }
  plot.notes = condition_lines(data.conditions, plot);
  figure.svg = line_plot_svg(plot);
  figure.csv = training_csv(data);
  figure.alt = training_alt(data);
  std::string what = "Quantities over training";
  if (band && runs) what += "; band: interval over the runs";
  if (band && !runs) what += "; band: interval of the estimate in one run";
  if (runs) what += "; faint: single runs";
  return finish_figure(std::move(figure), what + ".", data.conditions);
}

}  // namespace basin
