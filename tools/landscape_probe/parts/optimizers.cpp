// Part "optimizers": the optimizers of the compared runs over their seeds, from metrics.jsonl. Runs
// whose settings agree in all but the seed (and what changes no number) are one group. It measures
// nothing.
//   final value   of the last evaluation; means and t intervals over the runs that did not fail,
//                 geometric but for a metric that is drawn on a linear axis
//   steps to L    first evaluation with a training loss <= L; L is the largest of the groups' mean
//                 final losses, so that every group has runs that reach it
//   failed        a step failed, or the last training loss is not finite, or nothing was recorded
#include <algorithm>
#include <cmath>
#include <set>

#include "basin/figures/optimizer_figures.h"
#include "basin/tools/landscape_probe/detail/builtin_parts.h"
#include "basin/tools/landscape_probe/detail/run_metrics.h"

namespace basin::tools {
namespace {

struct RecordedRun {
  RunCurve loss, metric;
  bool failed = true;

  double final_loss() const { return failed ? NAN : loss.values.back(); }
  double final_metric() const { return failed ? NAN : metric.values.back(); }
  double first_below(double tolerance, const std::vector<double>& at) const {
    for (size_t i = 0; i < loss.values.size(); ++i) {
      if (loss.values[i] <= tolerance * (1 + 1e-12)) return at[i];  // a mean of its own, rounded
    }
    return NAN;
  }
};

struct RunGroup {
  std::string name, optimizer;
  std::map<std::string, std::string> settings;
  std::vector<RecordedRun> runs;
  std::set<uint64_t> seeds;

  int64_t failures() const {
    return std::count_if(runs.begin(), runs.end(), [](const RecordedRun& r) { return r.failed; });
  }
  template <class F>
  Estimate mean(bool geometric, F&& of_run) const {
    std::vector<double> values;
    for (const RecordedRun& r : runs) values.push_back(of_run(r));
    return mean_of_runs(values, geometric);
  }
  Estimate mean_loss() const {
    return mean(true, [](const RecordedRun& r) { return r.final_loss(); });
  }
};

double metric_scale(const Metric& metric) { return metric.unit == "%" ? 100.0 : 1.0; }

RecordedRun recorded_run(const LoadedProbe& p) {
  RecordedRun out;
  const std::string key = "test_" + p.metric.name;
  double seconds = 0;
  for (const RecordFields& f : metrics_of(p, "epoch")) {
    const double step = f.number("step");
    seconds += f.number("seconds");  // since the evaluation before
    const double metric = f.has(key) ? metric_scale(p.metric) * f.number(key) : NAN;
    for (const auto& [curve, value] :
         {std::pair{&out.loss, f.number("train_loss")}, {&out.metric, metric}}) {
      curve->steps.push_back(step);
      curve->seconds.push_back(seconds);
      curve->values.push_back(value);
    }
  }
  out.failed = out.loss.values.empty() || !std::isfinite(out.loss.values.back()) ||
               !metrics_of(p, "failed_step").empty();
  return out;
}

// Settings that tell groups apart.
std::map<std::string, std::string> telling_settings(const LoadedProbe& p) {
  std::map<std::string, std::string> out = recorded_settings(p);
  for (const char* key : {"seed", "threads", "keep", "checkpoint_every", "log_every", "probe",
                          "graph", "optimizer.name"}) {
    out.erase(key);
  }
  return out;
}

// "specmuon, preset=paper": with the settings in which groups of one optimizer differ.
void name_groups(std::vector<RunGroup>& groups) {
  for (RunGroup& g : groups) {
    g.name = g.optimizer;
    for (const auto& [key, value] : g.settings) {
      const bool differs = std::any_of(groups.begin(), groups.end(), [&](const RunGroup& other) {
        const auto at = other.settings.find(key);
        return other.optimizer == g.optimizer &&
               (at == other.settings.end() || at->second != value);
      });
      const size_t dot = key.find('.');
      if (differs) g.name += str(", ", dot == key.npos ? key : key.substr(dot + 1), "=", value);
    }
  }
}

// A run that is compared more than once counts once.
std::vector<RunGroup> groups_of(const std::vector<LoadedProbe>& probes) {
  std::vector<RunGroup> out;
  std::set<fs::path> seen;
  for (const LoadedProbe& p : probes) {
    if (p.run.empty() || !seen.insert(fs::weakly_canonical(p.run)).second) continue;
    const std::string optimizer = p.facts.text("optimizer");
    const auto settings = telling_settings(p);
    const auto same = [&](const RunGroup& g) {
      return g.optimizer == optimizer && g.settings == settings;
    };
    auto at = std::find_if(out.begin(), out.end(), same);
    if (at == out.end()) at = out.insert(out.end(), {{}, optimizer, settings, {}, {}});
    at->runs.push_back(recorded_run(p));
    if (p.facts.has("train_seed")) {
      at->seeds.insert(static_cast<uint64_t>(p.facts.number("train_seed")));
    }
  }
  name_groups(out);
  return out;
}

ComparedQuantity quantity_of(const std::vector<RunGroup>& groups, const std::string& name,
                             bool log_axis, RunCurve RecordedRun::*curve) {
  ComparedQuantity out{name, log_axis, {}};
  for (const RunGroup& g : groups) {
    OptimizerRuns runs{g.name, {}};
    for (const RecordedRun& r : g.runs) {
      if (!(r.*curve).steps.empty()) runs.runs.push_back(r.*curve);
    }
    if (!runs.runs.empty()) out.optimizers.push_back(std::move(runs));
  }
  return out;
}

// Positive numbers that span more than a decade; shares stay on a linear axis.
bool metric_on_log_axis(const std::vector<RunGroup>& groups, const Metric& metric) {
  double low = INFINITY, high = 0;
  for (const RunGroup& g : groups) {
    for (const RecordedRun& r : g.runs) {
      for (const double v : r.metric.values) {
        if (!std::isfinite(v)) continue;
        low = std::min(low, v), high = std::max(high, v);
      }
    }
  }
  return metric.unit != "%" && low > 0 && high > 10 * low;
}

NamedTable optimizers_table(const std::vector<RunGroup>& groups, const std::string& network,
                            const Metric& metric) {
  const bool geometric = metric_on_log_axis(groups, metric);
  double tolerance = 0;
  for (const RunGroup& g : groups) {
    const double loss = g.mean_loss().value;
    if (loss > tolerance) tolerance = loss;
  }
  NamedTable out{"optimizers-" + network, {}, {}};
  out.page.caption =
      str("Optimizers over seeds, ", network, ": mean [95 % t interval] over runs, geometric",
          geometric ? "" : " but for the metric",
          "; steps and seconds of the runs that reached L = ", readable(tolerance));
  out.page.columns = {"optimizer",
                      "runs",
                      "failed",
                      "final training loss",
                      "final test " + metric_title(metric),
                      "steps to L",
                      "seconds to L",
                      "reached L"};
  out.page.numeric = columns_of(8, {1, 2, 3, 4, 5, 6, 7});
  CsvTable csv({"network", "optimizer", "quantity", "value", "low", "high", "level", "samples",
                "runs", "failed", "tolerance"});
  for (const RunGroup& g : groups) {
    const auto reached = [&](const std::vector<double> RunCurve::*at) {
      return g.mean(true, [&](const RecordedRun& r) {
        return r.failed ? NAN : r.first_below(tolerance, r.loss.*at);
      });
    };
    const Estimate loss = g.mean_loss(), steps = reached(&RunCurve::steps),
                   seconds = reached(&RunCurve::seconds);
    const Estimate judged =
        g.mean(geometric, [](const RecordedRun& r) { return r.final_metric(); });
    const auto runs = std::ssize(g.runs);
    out.page.rows.push_back({g.name, str(runs), str(g.failures()), interval_text(loss),
                             interval_text(judged), interval_text(steps), interval_text(seconds),
                             str(steps.samples, " of ", runs)});
    for (const auto& [name, e] : {std::pair<std::string, Estimate>{"final training loss", loss},
                                  {"final test " + metric_title(metric), judged},
                                  {"steps to tolerance", steps},
                                  {"seconds to tolerance", seconds}}) {
      csv.row({network, g.name, name, e.value, e.interval.low, e.interval.high, e.interval.level,
               e.samples, static_cast<int64_t>(runs), g.failures(), tolerance});
    }
  }
  out.csv = csv.text();
  return out;
}

PartReport optimizers_report(const std::vector<LoadedProbe>& probes, const std::string& command) {
  PartSection section{"Optimizers over seeds",
                      "Runs whose settings agree in all but the seed stand together.",
                      {},
                      {}};
  for (const std::string& network : networks_of(probes)) {
    const std::vector<LoadedProbe> part = of_network(probes, network);
    const Metric& metric = part.front().metric;
    const std::vector<RunGroup> groups = groups_of(part);
    OptimizerComparison data;
    data.title = "Optimizers over steps and seconds: " + network;
    for (ComparedQuantity q :
         {quantity_of(groups, "training loss", true, &RecordedRun::loss),
          quantity_of(groups, "test " + metric_title(metric), metric_on_log_axis(groups, metric),
                      &RecordedRun::metric)}) {
      if (!q.optimizers.empty()) data.quantities.push_back(std::move(q));
    }
    size_t runs = 0;
    for (const RunGroup& g : groups) runs += g.runs.size();
    if (runs < 2 || data.quantities.empty()) continue;
    const bool alike = std::all_of(groups.begin(), groups.end(), [&](const RunGroup& g) {
      return g.seeds == groups.front().seeds && g.runs.size() == groups.front().runs.size();
    });
    if (alike) {
      data.conditions.runs = std::ssize(groups.front().runs);
      data.conditions.seeds.assign(groups.front().seeds.begin(), groups.front().seeds.end());
    }
    data.conditions.command = command;
    Figure figure = optimizer_comparison_figure(data);
    figure.name += "-" + network;
    section.figures.push_back(std::move(figure));
    section.tables.push_back(optimizers_table(groups, network, metric));
  }
  return {{std::move(section)}};
}

}  // namespace

PartInfo optimizers_part() {
  PartInfo info{.name = "optimizers",
                .summary = "optimizers over seeds, against steps and seconds"};
  info.report = optimizers_report;
  return info;
}

}  // namespace basin::tools
