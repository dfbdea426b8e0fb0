// The figure of the estimators' convergence, as a line plot: running traces and Lanczos residuals.
#include <algorithm>
#include <cmath>

#include "basin/analysis/csv_table.h"
#include "basin/core/error.h"
#include "basin/figures/curvature_figures.h"
#include "basin/figures/detail/figure_drawing.h"

namespace basin {
namespace {

void check_diagnostics(const Diagnostics& data) {
  check(!data.running.empty() || !data.residuals.empty(),
        "diagnostics: expects a running estimate or a residual curve, given none");
  for (const RunningEstimate& r : data.running) {
    check(!r.probes.empty() && r.value.size() == r.probes.size() &&
              r.low.size() == r.probes.size() && r.high.size() == r.probes.size(),
          "diagnostics: ", r.optimizer, ", ", r.method, " has ", r.value.size(), " values, ",
          r.low.size(), " and ", r.high.size(), " ends for ", r.probes.size(), " probe counts");
  }
  for (const ResidualCurve& r : data.residuals) {
    check(!r.steps.empty() && r.residual.size() == r.steps.size(), "diagnostics: ", r.optimizer,
          ", pair ", r.pair, " has ", r.residual.size(), " residuals for ", r.steps.size(),
          " steps");
  }
}

template <class T>
void add_once(std::vector<T>& list, const T& item) {
  if (std::find(list.begin(), list.end(), item) == list.end()) list.push_back(item);
}

class Styles {
 public:
  explicit Styles(const Diagnostics& data) {
    for (const RunningEstimate& r : data.running) add_once(names_, r.optimizer);
    for (const ResidualCurve& r : data.residuals) add_once(names_, r.optimizer);
    styles_ = series_styles(names_);
  }
  SeriesStyle of(const std::string& name) const {
    const auto at = std::find(names_.begin(), names_.end(), name) - names_.begin();
    return styles_[static_cast<size_t>(at)];
  }

 private:
  std::vector<std::string> names_;
  std::vector<SeriesStyle> styles_;
};

std::string diagnostics_csv(const Diagnostics& data) {
  CsvTable csv({"kind", "optimizer", "method_or_pair", "x", "value", "low", "high"});
  for (const RunningEstimate& r : data.running) {
    for (size_t i = 0; i < r.probes.size(); ++i) {
      csv.row({"trace", r.optimizer, r.method, r.probes[i], r.value[i], r.low[i], r.high[i]});
    }
  }
  for (const ResidualCurve& r : data.residuals) {
    for (size_t i = 0; i < r.steps.size(); ++i) {
      csv.row({"residual", r.optimizer, r.pair, r.steps[i], r.residual[i], "", ""});
    }
  }
  if (std::isfinite(data.exact)) csv.row({"exact", "", "", "", data.exact, "", ""});
  if (std::isfinite(data.tolerance)) csv.row({"tolerance", "", "", "", data.tolerance, "", ""});
  return csv.text();
}

std::string diagnostics_alt(const Diagnostics& data) {
  std::string out = "Convergence of the estimators.";
  for (const RunningEstimate& r : data.running) {
    out += str(" Trace of ", r.optimizer, " by ", r.method, " after ", readable(r.probes.back()),
               " probes: ", readable(r.value.back()), " [", readable(r.low.back()), ", ",
               readable(r.high.back()), "].");
  }
  if (std::isfinite(data.exact)) out += str(" The exact trace is ", readable(data.exact), ".");
  for (const ResidualCurve& r : data.residuals) {
    out += str(" Residual of eigenpair ", r.pair, " of ", r.optimizer, " after ",
               readable(r.steps.back()), " steps: ", readable(r.residual.back()), ".");
  }
  return out;
}

int64_t count_holes(const Diagnostics& data) {
  int64_t holes = 0;
  const auto add = [&holes](const std::vector<double>& values) {
    holes +=
        std::count_if(values.begin(), values.end(), [](double v) { return !std::isfinite(v); });
  };
  for (const RunningEstimate& r : data.running) add(r.value);
  for (const ResidualCurve& r : data.residuals) add(r.residual);
  return holes;
}

PlotPanel running_panel(const Diagnostics& data, const std::string& method, const Styles& styles) {
  PlotPanel panel{
      .title = "trace: " + method, .x = {.label = "probes"}, .y = {.label = "running estimate"}};
  for (const RunningEstimate& r : data.running) {
    if (r.method != method) continue;
    panel.series.push_back({.name = r.optimizer,
                            .x = r.probes,
                            .y = r.value,
                            .low = r.low,
                            .high = r.high,
                            .style = styles.of(r.optimizer)});
  }
  if (std::isfinite(data.exact)) panel.references.push_back({data.exact, false, "exact"});
  return panel;
}

PlotPanel residual_panel(const Diagnostics& data, const Styles& styles) {
  PlotPanel panel{.title = "Lanczos",
                  .x = {.label = "step"},
                  .y = {.label = "relative residual", .scale = AxisScale::log}};
  std::vector<std::string> seen;
  for (const ResidualCurve& r : data.residuals) {
    PlotSeries line{.x = r.steps, .y = r.residual, .style = styles.of(r.optimizer)};
    line.faint = std::find(seen.begin(), seen.end(), r.optimizer) != seen.end();
    if (!line.faint) line.name = r.optimizer, seen.push_back(r.optimizer);
    panel.series.push_back(line);
  }
  if (data.tolerance > 0 && std::isfinite(data.tolerance)) {
    panel.references.push_back({data.tolerance, false, "tolerance"});
  }
  return panel;
}

}  // namespace

Figure diagnostics_figure(const Diagnostics& data) {
  check_diagnostics(data);
  const Styles styles(data);
  LinePlot plot{.title = data.title};
  std::vector<std::string> methods;
  for (const RunningEstimate& r : data.running) add_once(methods, r.method);
  for (const std::string& m : methods) plot.panels.push_back(running_panel(data, m, styles));
  if (!data.residuals.empty()) plot.panels.push_back(residual_panel(data, styles));
  plot.columns = static_cast<int>(std::min<size_t>(3, plot.panels.size()));
  plot.notes = condition_lines(data.conditions, plot);
  Figure figure{.name = "estimators", .title = data.title, .svg = line_plot_svg(plot)};
  figure.csv = diagnostics_csv(data);
  figure.alt = diagnostics_alt(data);
  figure.holes = count_holes(data);
  std::string what;
  if (!data.running.empty()) what = "Running trace estimate with its interval as a band.";
  if (!data.residuals.empty()) {
    what += what.empty() ? "" : " ";
    what += "Residual of each eigenpair by Lanczos step: the first as a full line, others faint.";
  }
  return finish_figure(std::move(figure), what, data.conditions);
}

}  // namespace basin
