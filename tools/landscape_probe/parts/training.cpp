// Part "training": curves of what the runs recorded on the way. It measures nothing.
#include <algorithm>

#include "basin/figures/training_figures.h"
#include "basin/tools/landscape_probe/detail/builtin_parts.h"
#include "basin/tools/landscape_probe/detail/run_metrics.h"

namespace basin::tools {
namespace {

struct Curve {
  std::string quantity, event, key;
  bool log_axis = false;
  double scale = 1;
};

TrainingSeries curve_of(const LoadedProbe& p, const Curve& c) {
  TrainingSeries out;
  out.optimizer = p.optimizer;
  bool interval = true;
  for (const RecordFields& f : metrics_of(p, c.event)) {
    if (!f.has(c.key)) continue;
    out.steps.push_back(f.number("step"));
    out.values.push_back(c.scale * f.number(c.key));
    interval = interval && f.has(c.key + "_low") && f.has(c.key + "_high");
    if (!interval) continue;
    out.low.push_back(f.number(c.key + "_low"));
    out.high.push_back(f.number(c.key + "_high"));
  }
  if (!interval) out.low.clear(), out.high.clear();
  return out;
}

// Fields of one event whose names begin alike, as panels.
struct CurveFamily {
  std::string title, event, prefix;
  bool log_axis = false;
};

// A panel for each field of the family in any run's first line, with a line per run.
void add_family(TrainingCurves& out, const std::vector<LoadedProbe>& part, const CurveFamily& c) {
  for (const LoadedProbe& p : part) {
    const std::vector<RecordFields> lines = metrics_of(p, c.event);
    if (lines.empty()) continue;
    for (const auto& [key, first] : lines.front().values()) {
      if (!key.starts_with(c.prefix)) continue;
      const std::string name = c.title + key.substr(c.prefix.size());
      auto panel = std::find_if(out.panels.begin(), out.panels.end(),
                                [&](const TrainingPanel& q) { return q.quantity == name; });
      if (panel == out.panels.end()) panel = out.panels.insert(panel, {name, c.log_axis, {}});
      panel->series.push_back(curve_of(p, {name, c.event, key}));
    }
  }
}

// Of a loss of several terms: each term, the length of its gradient, the angles between them.
// Nothing of a loss of one term.
using NamedCurves = std::pair<std::string, TrainingCurves>;
std::vector<NamedCurves> term_curves(const std::vector<LoadedProbe>& part) {
  TrainingCurves losses{.title = "Terms of the training loss", .panels = {}},
      gradients{.title = "Gradients of the terms of the loss", .panels = {}};
  add_family(losses, part, {"loss: ", "step", "loss_", true});
  add_family(gradients, part, {"cosine of the gradients: ", "probe", "gradient_cosine_"});
  add_family(gradients, part, {"alignment of the gradients", "probe", "gradient_alignment"});
  add_family(gradients, part, {"gradient norm: ", "probe", "gradient_norm_", true});
  return {{"loss-terms", std::move(losses)}, {"term-gradients", std::move(gradients)}};
}

PartReport training_report(const std::vector<LoadedProbe>& probes, const std::string& command) {
  PartSection section{"Along training", "What the runs recorded on the way.", {}, {}};
  for (const std::string& network : networks_of(probes)) {
    const std::vector<LoadedProbe> part = of_network(probes, network);
    const Metric& metric = part.front().metric;
    const std::vector<Curve> curves{
        {"test " + metric_title(metric), "epoch", "test_" + metric.name, false,
         metric.unit == "%" ? 100.0 : 1.0},
        {"training loss", "epoch", "train_loss", true},
        {"λ max", "probe", "lambda_max", true},
        {"trace", "probe", "trace", true},
        {"stable rank / maximal", "probe", "stable_rank_share"},
        {"effective rank / maximal", "probe", "effective_rank_share"},
        {"gradient nuclear rank / input stable rank, median", "probe", "nuclear_over_input_rank",
         true},
        {"share of matrices where it exceeds 1", "probe", "nuclear_above_input_share"}};
    TrainingCurves out;
    out.title = "Along the training: " + network;
    for (const Curve& c : curves) {
      TrainingPanel panel{c.quantity, c.log_axis, {}};
      for (const LoadedProbe& p : part) {
        TrainingSeries series = curve_of(p, c);
        if (!series.steps.empty()) panel.series.push_back(std::move(series));
      }
      if (!panel.series.empty()) out.panels.push_back(std::move(panel));
    }
    if (out.panels.empty()) continue;
    out.conditions.runs = 1;
    out.conditions.command = command;
    Figure figure = training_figure(out);
    figure.name += "-" + network;
    section.figures.push_back(std::move(figure));
    for (auto& [name, terms] : term_curves(part)) {
      if (terms.panels.empty()) continue;
      terms.title += ": " + network;
      terms.conditions = out.conditions;
      figure = training_figure(terms);
      figure.name = name + "-" + network;
      section.figures.push_back(std::move(figure));
    }
  }
  return {{std::move(section)}};
}

}  // namespace

PartInfo training_part() {
  PartInfo info{.name = "training", .summary = "curves of what the runs recorded"};
  info.report = training_report;
  return info;
}

}  // namespace basin::tools
