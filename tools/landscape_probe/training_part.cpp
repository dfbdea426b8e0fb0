// Figures from what runs recorded: curvature, rank and accuracy along the training, and how the
// estimators converged.
#include <algorithm>
#include <cmath>

#include "basin/analysis/statistics.h"
#include "basin/figures/curvature_figures.h"
#include "basin/figures/training_figures.h"
#include "basin/tools/landscape_probe/figures.h"

namespace basin::tools {
namespace {

std::vector<RecordFields> metrics_of(const LoadedProbe& p, const std::string& event) {
  std::vector<RecordFields> out;
  const fs::path file = p.run / "metrics.jsonl";
  if (p.run.empty() || !fs::exists(file)) return out;
  TextReader in(read_text_file(file));
  for (std::string line; std::getline(in, line);) {
    RecordFields fields = parse_record(line, file.string());
    if (fields.text("event") == event) out.push_back(std::move(fields));
  }
  return out;
}

TrainingSeries series_of(const LoadedProbe& p, const std::string& event, const std::string& key,
                         double scale = 1) {
  TrainingSeries out;
  out.optimizer = p.optimizer;
  for (const RecordFields& f : metrics_of(p, event)) {
    if (!f.has(key)) continue;
    out.steps.push_back(f.number("step"));
    out.values.push_back(scale * f.number(key));
  }
  return out;
}

TrainingPanel panel_of(const std::vector<LoadedProbe>& probes, const std::string& network,
                       const std::string& quantity, const std::string& event,
                       const std::string& key, bool log_axis, double scale = 1) {
  TrainingPanel out;
  out.quantity = quantity;
  out.log_axis = log_axis;
  for (const LoadedProbe& p : probes) {
    if (p.network != network) continue;
    TrainingSeries series = series_of(p, event, key, scale);
    if (event == "probe" && key == "trace") {
      const TrainingSeries low = series_of(p, event, "trace_low");
      const TrainingSeries high = series_of(p, event, "trace_high");
      series.low = low.values;
      series.high = high.values;
    }
    if (!series.steps.empty()) out.series.push_back(std::move(series));
  }
  return out;
}

}  // namespace

std::vector<Figure> training_figures(const std::vector<LoadedProbe>& probes,
                                     const std::string& command) {
  std::vector<Figure> out;
  for (const std::string& network : networks_of(probes)) {
    TrainingCurves curves;
    curves.title = "Along the training: " + network;
    const std::vector<TrainingPanel> panels{
        panel_of(probes, network, "test accuracy, %", "epoch", "test_overall_accuracy", false, 100),
        panel_of(probes, network, "training loss", "epoch", "train_loss", true),
        panel_of(probes, network, "λ max", "probe", "lambda_max", true),
        panel_of(probes, network, "trace", "probe", "trace", true),
        panel_of(probes, network, "stable rank / maximal", "probe", "stable_rank_share", false),
        panel_of(probes, network, "effective rank / maximal", "probe", "effective_rank_share",
                 false),
    };
    for (const TrainingPanel& p : panels) {
      if (!p.series.empty()) curves.panels.push_back(p);
    }
    if (curves.panels.empty()) continue;
    curves.conditions.runs = 1;
    curves.conditions.command = command;
    Figure figure = training_figure(curves);
    figure.name += "-" + network;
    out.push_back(std::move(figure));
  }
  return out;
}

std::vector<Figure> diagnostic_figures(const std::vector<LoadedProbe>& probes,
                                       const std::string& command) {
  std::vector<Figure> out;
  for (const std::string& network : networks_of(probes)) {
    Diagnostics data;
    data.title = "Running trace estimate: " + network;
    for (const LoadedProbe& p : probes) {
      const CurvatureRecord* c = p.hessian();
      if (p.network != network || c == nullptr || c->trace_samples.size() < 3) continue;
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
