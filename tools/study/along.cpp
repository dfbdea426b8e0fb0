// Sections of a study's report on what the trainings recorded on the way, for all seeds: ranks,
// curvature and the metric over shared steps, from when on the optimizers differ, the values at the
// end against each other, and the spectral density at several steps.
#include <algorithm>
#include <cmath>
#include <set>

#include "basin/analysis/hypothesis_tests.h"
#include "basin/analysis/rank_correlation.h"
#include "basin/analysis/spectral_density.h"
#include "basin/core/lines.h"
#include "basin/figures/curvature_figures.h"
#include "basin/figures/optimizer_figures.h"
#include "basin/figures/scatter_figures.h"
#include "basin/figures/training_figures.h"
#include "basin/tools/study/sections.h"

namespace basin::tools {
namespace {

struct Quantity {
  std::string name;
  std::string event, key;
  bool log_axis = false;
  double scale = 1;
};

// One quantity of all runs of an optimizer, at the steps that any of them has.
struct RunsAlong {
  std::string optimizer;
  std::vector<double> steps = {};
  std::vector<std::vector<double>> runs = {};  // [seed][step]; NaN: none there
  std::vector<uint64_t> seeds = {};
};

using Lines = std::vector<RecordFields>;

// Evaluations within an epoch count as those at its end.
bool is_of(const RecordFields& f, const Quantity& q) {
  const std::string& event = f.text("event");
  return (event == q.event || (q.event == "epoch" && event == "evaluation")) && f.has(q.key);
}

RunsAlong along_of(const Quantity& q, const std::string& optimizer,
                   const std::vector<std::pair<uint64_t, Lines>>& runs) {
  RunsAlong out{optimizer};
  std::set<double> steps;
  for (const auto& [seed, lines] : runs) {
    for (const RecordFields& f : lines) {
      if (is_of(f, q)) steps.insert(f.number("step"));
    }
  }
  out.steps.assign(steps.begin(), steps.end());
  for (const auto& [seed, lines] : runs) {
    std::vector<double> values(out.steps.size(), NAN);
    for (const RecordFields& f : lines) {
      if (!is_of(f, q)) continue;
      const auto at = std::ranges::lower_bound(out.steps, f.number("step"));
      values[static_cast<size_t>(at - out.steps.begin())] = q.scale * f.number(q.key);
    }
    out.runs.push_back(std::move(values));
    out.seeds.push_back(seed);
  }
  return out;
}

TrainingSeries series_of(const RunsAlong& along, bool geometric) {
  TrainingSeries out{.optimizer = along.optimizer, .steps = along.steps, .values = {}};
  for (size_t i = 0; i < along.steps.size(); ++i) {
    std::vector<double> values;
    for (const auto& run : along.runs) values.push_back(run[i]);
    const Estimate mean = mean_of_runs(values, geometric);
    out.values.push_back(mean.value);
    if (along.runs.size() < 2) continue;
    out.low.push_back(mean.interval.low);
    out.high.push_back(mean.interval.high);
  }
  if (along.runs.size() > 1) out.runs = along.runs;
  return out;
}

// Values of all runs at a step, logarithms where the axis is logarithmic; empty unless it is there.
std::vector<double> values_at(const RunsAlong& along, double step, bool geometric) {
  const auto at = std::ranges::lower_bound(along.steps, step);
  std::vector<double> out;
  if (at == along.steps.end() || *at != step) return out;
  for (const auto& run : along.runs) {
    const double v = run[static_cast<size_t>(at - along.steps.begin())];
    if (std::isfinite(v) && (!geometric || v > 0)) out.push_back(geometric ? std::log(v) : v);
  }
  return out;
}

// The first shared step from which on Welch's 95 % interval excludes no difference at every later
// one, with the sign of the difference; NaN: at the last step it does not.
std::pair<double, double> parting(const RunsAlong& with, const RunsAlong& baseline,
                                  bool geometric) {
  double from = NAN, sign = 0;
  for (const double step : with.steps) {
    const std::vector<double> a = values_at(with, step, geometric);
    const std::vector<double> b = values_at(baseline, step, geometric);
    if (a.size() < 2 || b.size() < 2) continue;
    const TestResult welch = welch_test(a, b);
    const double now = welch.lower > 0 ? 1 : welch.upper < 0 ? -1 : 0;
    if (now != sign || now == 0) from = now == 0 ? NAN : step;
    sign = now;
  }
  return {from, sign};
}

// "muon is above adamw in stable rank from step 79 on; in λ max at no time to the end".
std::string parting_words(const Quantity& q, const std::vector<RunsAlong>& all,
                          const std::string& baseline) {
  const auto base = std::ranges::find(all, baseline, &RunsAlong::optimizer);
  if (base == all.end()) return {};
  std::string out;
  for (const RunsAlong& with : all) {
    if (with.optimizer == baseline || with.runs.size() < 2 || base->runs.size() < 2) continue;
    const auto [step, sign] = parting(with, *base, q.log_axis);
    out += str(" ", q.name, ": ", with.optimizer,
               std::isfinite(step)
                   ? str(sign > 0 ? " above " : " below ", baseline, " from step ", readable(step),
                         " to the end (step ", readable(with.steps.back()), ").")
                   : str(" and ", baseline, " are not told apart at the end."));
  }
  return out;
}

// The last value of each run that has one.
ScatterSeries ends_of(const RunsAlong& x, const RunsAlong& y) {
  const auto last = [](const std::vector<double>& run) {
    const auto found =
        std::find_if(run.rbegin(), run.rend(), [](double v) { return std::isfinite(v); });
    return found == run.rend() ? NAN : *found;
  };
  ScatterSeries out{.optimizer = x.optimizer};
  for (size_t i = 0; i < x.seeds.size(); ++i) {
    const auto same = std::ranges::find(y.seeds, x.seeds[i]);
    if (same == y.seeds.end()) continue;
    out.x.push_back(last(x.runs[i]));
    out.y.push_back(last(y.runs[static_cast<size_t>(same - y.seeds.begin())]));
    out.runs.push_back(str("seed ", x.seeds[i]));
  }
  return out;
}

ScatterPanel ends_panel(const Quantity& x, const std::vector<RunsAlong>& of_x, const Quantity& y,
                        const std::vector<RunsAlong>& of_y) {
  ScatterPanel out{.x = x.name, .y = y.name, .log_x = x.log_axis, .log_y = y.log_axis};
  std::vector<double> all_x, all_y;
  for (const RunsAlong& a : of_x) {
    const auto b = std::ranges::find(of_y, a.optimizer, &RunsAlong::optimizer);
    if (b == of_y.end()) continue;
    out.series.push_back(ends_of(a, *b));
    all_x.insert(all_x.end(), out.series.back().x.begin(), out.series.back().x.end());
    all_y.insert(all_y.end(), out.series.back().y.begin(), out.series.back().y.end());
  }
  const Estimate r = rank_correlation(all_x, all_y);
  if (std::isfinite(r.value)) {
    out.note = str("rank correlation ", interval_text(r), ", n = ", r.samples);
  }
  return out;
}

// The rules of the spectral density by step, a quadrature per seed.
using Densities = std::map<double, std::vector<SpectralQuadrature>>;

Densities densities_of(const std::vector<std::pair<uint64_t, Lines>>& runs) {
  Densities out;
  const auto numbers = [](const RecordFields& f, const char* key) {
    std::vector<double> values;
    TextReader in(f.text(key));
    for (std::string part; std::getline(in, part, ' ');) {
      if (!parse_double(part, values.emplace_back())) {
        fail(ErrorKind::data, "probe_density: ", key, " expects numbers, found '", part, "'");
      }
    }
    return values;
  };
  for (const auto& [seed, lines] : runs) {
    std::map<double, SpectralQuadrature> own;
    for (const RecordFields& f : lines) {
      if (f.text("event") != "probe_density") continue;
      SpectralQuadrature& q = own[f.number("step")];
      q.n = f.integer("size");
      q.rules.push_back({numbers(f, "nodes"), numbers(f, "weights")});
    }
    for (auto& [step, q] : own) out[step].push_back(std::move(q));
  }
  return out;
}

// The first, a middle and the last of the steps.
std::vector<double> shown_steps(const Densities& all) {
  std::vector<double> steps;
  for (const auto& [step, runs] : all) steps.push_back(step);
  if (steps.size() <= 3) return steps;
  return {steps.front(), steps[steps.size() / 2], steps.back()};
}

// One panel per optimizer and step, at one bandwidth and on one axis, so that they compare.
std::optional<Figure> density_along(
    const std::string& model, const std::vector<std::string>& order,
    const std::map<std::string, std::vector<std::pair<uint64_t, Lines>>>& runs,
    const FigureConditions& conditions) {
  struct Shown {
    std::string optimizer;
    double step;
    std::vector<SpectralQuadrature> seeds;
  };
  std::vector<Shown> shown;
  double width = 0, low = 0, high = 0;
  for (const std::string& optimizer : order) {
    const auto found = runs.find(optimizer);
    if (found == runs.end()) continue;
    const Densities all = densities_of(found->second);
    for (const double step : shown_steps(all)) {
      shown.push_back({optimizer, step, all.at(step)});
      for (const SpectralQuadrature& q : shown.back().seeds) {
        width = std::max(width, default_bandwidths(q).relative);
        low = std::min(low, q.smallest());
        high = std::max(high, q.largest());
      }
    }
  }
  if (shown.empty()) return std::nullopt;
  SpectralDensity out{.title = "Spectral density along the training: " + model, .over = "seeds"};
  out.conditions = conditions;
  for (const Shown& s : shown) {
    out.series.push_back(density_series(s.optimizer, s.seeds, width, low, high));
    out.series.back().label = str(s.optimizer, ", step ", readable(s.step));
  }
  Figure figure = density_figure(out);
  figure.name = "density-along-" + model;
  return figure;
}

struct Panel {
  Quantity quantity;
  std::vector<RunsAlong> optimizers;
};

std::optional<Figure> ends_figure(const std::string& model, const std::vector<Panel>& panels,
                                  const FigureConditions& conditions) {
  Scatter ends{.name = "ends-" + model,
               .title = str("At the end of training: ", model),
               .conditions = conditions};
  ends.conditions.level = 0.95;
  const Panel& metric = panels.back();
  if (metric.quantity.event != "epoch") return std::nullopt;
  for (const Panel& p : panels) {
    if (&p == &metric) break;
    ScatterPanel panel = ends_panel(p.quantity, p.optimizers, metric.quantity, metric.optimizers);
    if (!panel.series.empty()) ends.panels.push_back(std::move(panel));
  }
  if (ends.panels.empty()) return std::nullopt;
  return scatter_figure(ends);
}

std::vector<Quantity> quantities_along(const std::string& metric, const std::string& unit) {
  std::vector<Quantity> out{{"stable rank / maximal", "probe", "stable_rank_share"},
                            {"effective rank / maximal", "probe", "effective_rank_share"},
                            {"λ max", "probe", "lambda_max", true},
                            {"trace", "probe", "trace", true}};
  const double scale = unit == "%" ? 100 : 1;
  out.push_back({"test " + metric_title({metric, unit}), "epoch", "test_" + metric, false, scale});
  return out;
}

}  // namespace

std::vector<RecordFields> lines_of(const StudyRun& run, Ledger& ledger) {
  std::vector<RecordFields> out;
  const fs::path file = ledger.curve(run.job);
  if (run.failed || !fs::exists(file)) return out;
  const std::string text = read_text_file(file);
  LineReader reader(text);
  for (std::string_view line; reader.next(line);) {
    if (!line.empty() && !line.starts_with("{\"event\": \"probe_matrix\"")) {
      out.push_back(parse_record(line, str(file.string(), ":", reader.number())));
    }
  }
  return out;
}

std::vector<PartSection> along_sections(const Study& study, const Schedule& schedule,
                                        Ledger& ledger, const FigureConditions& conditions,
                                        std::vector<std::string>& absent) {
  std::vector<PartSection> out;
  for (const StudySubject& model : study.models) {
    std::map<std::string, std::vector<std::pair<uint64_t, Lines>>> runs;
    std::vector<std::string> order;
    std::string metric, unit;
    bool probed = false;
    for (const StudyPair& pair : schedule.pairs()) {
      if (pair.model->name != model.name) continue;
      order.push_back(pair.optimizer->name);
      for (const StudyRun& run : pair.runs) {
        Lines lines = lines_of(run, ledger);
        if (lines.empty()) continue;
        const RecordFields* record = ledger.record(run.job.hash);
        if (metric.empty() && record->has("metrics")) {
          // "overall_accuracy:%:larger,..", of which the first leads.
          const std::string first = record->text("metrics");
          metric = first.substr(0, first.find(':'));
          const size_t at = std::min(metric.size() + 1, first.size());
          unit = first.substr(at, first.find_first_of(":,", at) - at);
        }
        probed = probed || std::ranges::any_of(lines, [](const RecordFields& f) {
                   return f.text("event") == "probe";
                 });
        runs[pair.optimizer->name].emplace_back(run.job.seed, std::move(lines));
      }
    }
    if (!probed) {
      absent.push_back(str(model.name,
                           ": no ranks and curvature along the training (trained "
                           "without the setting probe)"));
      continue;
    }
    std::vector<Panel> panels;
    TrainingCurves curves{.title = str("When do they part: ", model.name), .panels = {}};
    std::string words;
    for (const Quantity& q : quantities_along(metric, unit)) {
      Panel panel{q, {}};
      TrainingPanel drawn{q.name, q.log_axis, {}};
      for (const std::string& optimizer : order) {
        RunsAlong along = along_of(q, optimizer, runs[optimizer]);
        if (along.steps.empty()) continue;
        drawn.series.push_back(series_of(along, q.log_axis));
        panel.optimizers.push_back(std::move(along));
      }
      if (drawn.series.empty()) continue;
      words += parting_words(q, panel.optimizers, study.baseline);
      curves.panels.push_back(std::move(drawn));
      panels.push_back(std::move(panel));
    }
    curves.conditions = conditions;
    Figure figure = training_figure(curves);
    figure.name = "along-" + model.name;
    PartSection section{"Ranks, curvature and metric along the training: " + model.name,
                        str("By Welch's 95 % interval at every step for itself, from probes along "
                            "the training.",
                            words),
                        {},
                        {std::move(figure)}};
    if (auto ends = ends_figure(model.name, panels, conditions)) {
      section.figures.push_back(std::move(*ends));
    }
    if (auto density = density_along(model.name, order, runs, conditions)) {
      section.figures.push_back(std::move(*density));
    } else {
      absent.push_back(
          str(model.name, ": no spectral density along the training (probes without density=M)"));
    }
    out.push_back(std::move(section));
  }
  return out;
}

}  // namespace basin::tools
