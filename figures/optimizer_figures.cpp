// The comparison of optimizers, as a line plot of two columns: steps and seconds.
#include "basin/figures/optimizer_figures.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "basin/analysis/csv_table.h"
#include "basin/analysis/statistics.h"
#include "basin/core/error.h"
#include "basin/figures/detail/figure_drawing.h"

namespace basin {
namespace {

void check_comparison(const OptimizerComparison& data) {
  check(!data.quantities.empty(), "optimizer comparison: expects at least one quantity");
  for (const ComparedQuantity& q : data.quantities) {
    check(!q.optimizers.empty(), "optimizer comparison: ", q.name, " has no optimizer");
    for (const OptimizerRuns& o : q.optimizers) {
      check(!o.runs.empty(), "optimizer comparison: ", q.name, ", ", o.optimizer, " has no run");
      for (const RunCurve& run : o.runs) {
        const size_t n = run.steps.size();
        check(run.seconds.size() == n && run.values.size() == n, "optimizer comparison: a run of ",
              q.name, ", ", o.optimizer, " has ", run.values.size(), " values and ",
              run.seconds.size(), " times for ", n, " steps");
      }
    }
  }
}

struct MeanPoint {
  double step, seconds;
  Estimate mean;
};

// At every step that any run has.
std::vector<MeanPoint> mean_curve(const OptimizerRuns& runs, bool geometric, double level) {
  std::map<double, std::pair<std::vector<double>, std::vector<double>>> at;  // seconds, values
  for (const RunCurve& run : runs.runs) {
    for (size_t i = 0; i < run.steps.size(); ++i) {
      auto& [seconds, values] = at[run.steps[i]];
      const double value = run.values[i];
      if (!std::isfinite(value) || (geometric && value <= 0)) continue;
      seconds.push_back(run.seconds[i]);
      values.push_back(value);
    }
  }
  std::vector<MeanPoint> out;
  for (const auto& [step, numbers] : at) {
    out.push_back({step, mean_of_runs(numbers.first, false, level).value,
                   mean_of_runs(numbers.second, geometric, level)});
  }
  return out;
}

std::vector<std::string> optimizer_names(const OptimizerComparison& data) {
  std::vector<std::string> names;
  for (const ComparedQuantity& q : data.quantities) {
    for (const OptimizerRuns& o : q.optimizers) {
      if (std::find(names.begin(), names.end(), o.optimizer) == names.end()) {
        names.push_back(o.optimizer);
      }
    }
  }
  return names;
}

PlotPanel comparison_panel(const ComparedQuantity& q, const std::vector<std::string>& names,
                           bool seconds, bool last, double level) {
  PlotPanel panel;
  panel.title = q.name;
  if (last) panel.x.label = seconds ? "seconds" : "step";
  panel.y.scale = q.log_axis ? AxisScale::log : AxisScale::linear;
  for (const OptimizerRuns& o : q.optimizers) {
    const SeriesStyle style = style_among(names, o.optimizer);
    for (const RunCurve& run : o.runs) {
      if (o.runs.size() == 1) break;  // it is the mean
      PlotSeries faint{.x = seconds ? run.seconds : run.steps, .y = run.values, .style = style};
      faint.faint = true;
      panel.series.push_back(std::move(faint));
    }
    PlotSeries mean;
    mean.name = o.optimizer, mean.style = style;
    for (const MeanPoint& p : mean_curve(o, q.log_axis, level)) {
      mean.x.push_back(seconds ? p.seconds : p.step);
      mean.y.push_back(p.mean.value);
      mean.low.push_back(p.mean.interval.low);
      mean.high.push_back(p.mean.interval.high);
    }
    panel.series.push_back(std::move(mean));
  }
  return panel;
}

std::string comparison_csv(const OptimizerComparison& data) {
  CsvTable csv({"quantity", "optimizer", "kind", "step", "seconds", "value", "low", "high", "n"});
  for (const ComparedQuantity& q : data.quantities) {
    for (const OptimizerRuns& o : q.optimizers) {
      for (const MeanPoint& p : mean_curve(o, q.log_axis, data.conditions.level)) {
        csv.row({q.name, o.optimizer, q.log_axis ? "geometric mean" : "mean", p.step, p.seconds,
                 p.mean.value, p.mean.interval.low, p.mean.interval.high, p.mean.samples});
      }
      for (size_t r = 0; r < o.runs.size(); ++r) {
        const RunCurve& run = o.runs[r];
        for (size_t i = 0; i < run.steps.size(); ++i) {
          csv.row({q.name, o.optimizer, str("run ", r + 1), run.steps[i], run.seconds[i],
                   run.values[i], "", "", ""});
        }
      }
    }
  }
  return csv.text();
}

std::string comparison_alt(const OptimizerComparison& data) {
  std::string out = "Curves against steps and against seconds.";
  for (const ComparedQuantity& q : data.quantities) {
    out += str(" ", q.name, ": ");
    for (const OptimizerRuns& o : q.optimizers) {
      const std::vector<MeanPoint> mean = mean_curve(o, q.log_axis, data.conditions.level);
      if (&o != &q.optimizers.front()) out += "; ";
      out += o.optimizer;
      if (mean.empty()) {
        out += " recorded nothing";
        continue;
      }
      out += str(" ends at ", readable(mean.back().mean), " after ", readable(mean.back().step),
                 " steps and ", readable(mean.back().seconds), " s (n = ", mean.back().mean.samples,
                 ")");
    }
    out += ".";
  }
  return out;
}

}  // namespace

Estimate mean_of_runs(std::span<const double> values, bool geometric, double level) {
  std::vector<double> kept;
  for (const double v : values) {
    if (std::isfinite(v) && (!geometric || v > 0)) kept.push_back(geometric ? std::log(v) : v);
  }
  if (kept.empty()) return {};
  Estimate out = mean_estimate(kept, level, geometric ? "geometric mean" : "mean");
  if (!geometric) return out;
  const auto [low, high] = std::minmax_element(kept.begin(), kept.end());
  if (*low == *high) {  // no rounding by exp and log
    out.value = *std::find_if(values.begin(), values.end(),
                              [](double v) { return v > 0 && std::isfinite(v); });
    if (kept.size() > 1) out.interval.low = out.interval.high = out.value;
    return out;
  }
  out.value = std::exp(out.value);
  out.standard_error *= out.value;  // to first order
  out.interval.low = std::exp(out.interval.low);
  out.interval.high = std::exp(out.interval.high);
  return out;
}

Figure optimizer_comparison_figure(const OptimizerComparison& data) {
  check_comparison(data);
  const std::vector<std::string> names = optimizer_names(data);
  LinePlot plot{.title = data.title, .columns = 2};
  Figure figure{.name = "optimizers", .title = data.title};
  bool several = false, geometric = false;
  for (const ComparedQuantity& q : data.quantities) {
    const bool last = &q == &data.quantities.back();
    for (const bool seconds : {false, true}) {
      plot.panels.push_back(comparison_panel(q, names, seconds, last, data.conditions.level));
    }
    geometric = geometric || q.log_axis;
    for (const OptimizerRuns& o : q.optimizers) {
      several = several || o.runs.size() > 1;
      for (const RunCurve& run : o.runs) {
        figure.holes += std::count_if(run.values.begin(), run.values.end(),
                                      [](double v) { return !std::isfinite(v); });
      }
    }
  }
  FigureConditions conditions = data.conditions;
  if (!several) conditions.level = 0;
  plot.notes = condition_lines(conditions, plot);
  figure.svg = line_plot_svg(plot);
  figure.csv = comparison_csv(data);
  figure.alt = comparison_alt(data);
  std::string what = "Against steps (left) and seconds of training and evaluation (right)";
  if (several) {
    what += "; line: mean over the runs that have a value there";
    if (geometric) what += ", geometric on logarithmic axes";
    what += "; band: its t interval; faint: single runs";
  }
  return finish_figure(std::move(figure), what + ".", conditions);
}

}  // namespace basin
