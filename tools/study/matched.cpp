// Curvature of the trainings of a study where their losses are equal.
#include <algorithm>
#include <cmath>

#include "basin/analysis/hypothesis_tests.h"
#include "basin/figures/scatter_figures.h"
#include "basin/figures/table_text.h"
#include "basin/tools/study/sections.h"

namespace basin::tools {
namespace {

constexpr size_t kQuantities = std::size(kProbedCurvatures);
constexpr const char* kNames[kQuantities] = {"λ max", "trace"};

struct Probe {
  double loss = 0;
  double curvature[kQuantities] = {};
};

struct ProbedRuns {
  std::string optimizer;
  std::vector<uint64_t> seeds = {};
  std::vector<std::vector<Probe>> runs = {};  // [seed], in the order of the steps
};

std::vector<Probe> probes_of(const std::vector<RecordFields>& lines) {
  std::vector<Probe> out;
  for (const RecordFields& f : lines) {
    if (f.text("event") != "probe" || !f.has("probe_loss")) continue;
    Probe probe{f.number("probe_loss")};
    for (size_t q = 0; q < kQuantities; ++q) {
      const std::string key(kProbedCurvatures[q]);
      probe.curvature[q] = f.has(key) ? f.number(key) : NAN;
    }
    if (probe.loss > 0 && std::isfinite(probe.loss)) out.push_back(probe);
  }
  return out;
}

std::vector<ProbedRuns> probed_runs(const Schedule& schedule, Ledger& ledger,
                                    const StudySubject& model) {
  std::vector<ProbedRuns> out;
  for (const StudyPair& pair : schedule.pairs()) {
    if (pair.model->name != model.name) continue;
    ProbedRuns runs{pair.optimizer->name};
    for (const StudyRun& run : pair.runs) {
      std::vector<Probe> probes = probes_of(lines_of(run, ledger));
      if (probes.empty()) continue;
      runs.seeds.push_back(run.job.seed);
      runs.runs.push_back(std::move(probes));
    }
    if (!runs.runs.empty()) out.push_back(std::move(runs));
  }
  return out;
}

// The logarithm of a quantity where the loss first passes `level` from above; NaN: it does not, or
// the quantity is not positive there.
double log_at(const std::vector<Probe>& run, double level, size_t quantity) {
  for (size_t i = 0; i < run.size(); ++i) {
    if (run[i].loss > level) continue;
    const double now = std::log(run[i].curvature[quantity]);
    if (i == 0) return run[i].loss == level ? now : NAN;
    const double before = std::log(run[i - 1].curvature[quantity]);
    const double share =
        std::log(run[i - 1].loss / level) / std::log(run[i - 1].loss / run[i].loss);
    return before + share * (now - before);
  }
  return NAN;
}

// Losses that every run of both passes: the lowest, and the middle of the logarithms up to the
// highest. Empty where there is none.
std::vector<double> shared_losses(const ProbedRuns& a, const ProbedRuns& b) {
  double low = 0, high = INFINITY;
  for (const ProbedRuns* of : {&a, &b}) {
    for (const std::vector<Probe>& run : of->runs) {
      double least = INFINITY;
      for (const Probe& p : run) least = std::min(least, p.loss);
      low = std::max(low, least);
      high = std::min(high, run.front().loss);
    }
  }
  if (!(low < high)) return {};
  return {low, std::sqrt(low * high)};
}

// Where two optimizers are compared: logarithms of a quantity, one of each run that has it.
struct Comparison {
  double loss = NAN;  // NaN: each run's last probe
  std::vector<double> with = {}, baseline = {};
};

std::vector<double> logs_of(const ProbedRuns& of, double loss, size_t quantity) {
  std::vector<double> out;
  for (const std::vector<Probe>& run : of.runs) {
    const double v = std::isfinite(loss) ? log_at(run, loss, quantity)
                                         : std::log(run.back().curvature[quantity]);
    if (std::isfinite(v)) out.push_back(v);
  }
  return out;
}

std::vector<Comparison> comparisons_of(const ProbedRuns& with, const ProbedRuns& baseline,
                                       size_t quantity) {
  std::vector<double> losses = shared_losses(with, baseline);
  losses.insert(losses.begin(), NAN);
  std::vector<Comparison> out;
  for (const double loss : losses) {
    out.push_back({loss, logs_of(with, loss, quantity), logs_of(baseline, loss, quantity)});
  }
  return out;
}

std::optional<double> published_ratio(const Study& study, const std::string& model,
                                      const std::string& optimizer, std::string_view metric) {
  const auto a = study.published.find(str(model, ".", optimizer, ".", metric));
  const auto b = study.published.find(str(model, ".", study.baseline, ".", metric));
  if (a == study.published.end() || b == study.published.end()) return std::nullopt;
  return a->second / b->second;
}

}  // namespace

NamedTable matched_table(const Study& study, const Schedule& schedule, Ledger& ledger) {
  NamedTable out{"matched", {}, {}};
  out.page.caption =
      str("Curvature over that of ", study.baseline,
          " at the last probe of each run, and where both have the same loss on the examples of "
          "the probes: ratio of the geometric means over the seeds, with Welch's 95 % interval, p "
          "not adjusted. An optimizer that fits faster passes a loss earlier, at a larger learning "
          "rate.");
  out.page.columns = {"network", "optimizer", "quantity",  "at loss", "seeds",
                      "ratio",   "Welch p",   "published", "verdict"};
  out.page.numeric = {false, false, false, true, true, true, true, true, false};
  CsvTable csv({"network", "optimizer", "baseline", "quantity", "loss", "n", "n_baseline", "ratio",
                "low", "high", "welch_p", "published", "verdict"});
  for (const StudySubject& model : study.models) {
    const std::vector<ProbedRuns> all = probed_runs(schedule, ledger, model);
    const auto baseline = std::ranges::find(all, study.baseline, &ProbedRuns::optimizer);
    if (baseline == all.end()) continue;
    for (const ProbedRuns& with : all) {
      if (&with == &*baseline) continue;
      for (size_t q = 0; q < kQuantities; ++q) {
        for (const Comparison& pair : comparisons_of(with, *baseline, q)) {
          const std::vector<double>&a = pair.with, &b = pair.baseline;
          if (a.size() < 2 || b.size() < 2) continue;
          const TestResult welch = welch_test(a, b);
          const double ratio = std::exp(welch.difference), low = std::exp(welch.lower),
                       high = std::exp(welch.upper);
          const auto published =
              published_ratio(study, model.name, with.optimizer, kProbedCurvatures[q]);
          const std::string verdict = verdict_of(low, high, 1, published);
          out.page.rows.push_back(
              {model.name, with.optimizer, kNames[q],
               std::isfinite(pair.loss) ? readable(pair.loss) : "each at its end",
               str(a.size(), " and ", b.size()),
               str(readable(ratio), " [", readable(low), ", ", readable(high), "]"),
               short_text(welch.p, 2), published ? readable(*published) : "-", verdict});
          csv.row({model.name, with.optimizer, study.baseline, std::string(kProbedCurvatures[q]),
                   std::isfinite(pair.loss) ? CsvCell(pair.loss) : CsvCell("end"),
                   static_cast<int64_t>(a.size()), static_cast<int64_t>(b.size()), ratio, low, high,
                   welch.p, published ? CsvCell(*published) : CsvCell(""), verdict});
        }
      }
    }
  }
  out.csv = csv.text();
  return out;
}

std::vector<PartSection> matched_sections(const Study& study, const Schedule& schedule,
                                          Ledger& ledger, const FigureConditions& conditions) {
  NamedTable table = matched_table(study, schedule, ledger);
  if (table.page.rows.empty()) return {};
  PartSection out{"Curvature at equal loss",
                  "Each marker is one probe of one training, on the way from high loss to low.",
                  {std::move(table)},
                  {}};
  for (const StudySubject& model : study.models) {
    const std::vector<ProbedRuns> all = probed_runs(schedule, ledger, model);
    Scatter drawn{.name = "matched-" + model.name,
                  .title = "Curvature over loss along the training: " + model.name,
                  .conditions = conditions};
    drawn.conditions.level = 0;  // no intervals here
    for (size_t q = 0; q < kQuantities; ++q) {
      ScatterPanel panel{
          .x = "loss on the probe's examples", .y = kNames[q], .log_x = true, .log_y = true};
      for (const ProbedRuns& of : all) {
        ScatterSeries series{.optimizer = of.optimizer};
        for (size_t i = 0; i < of.runs.size(); ++i) {
          for (const Probe& p : of.runs[i]) {
            if (!(p.curvature[q] > 0)) continue;
            series.x.push_back(p.loss);
            series.y.push_back(p.curvature[q]);
            series.runs.push_back(str("seed ", of.seeds[i]));
          }
        }
        if (!series.x.empty()) panel.series.push_back(std::move(series));
      }
      if (!panel.series.empty()) drawn.panels.push_back(std::move(panel));
    }
    if (!drawn.panels.empty()) out.figures.push_back(scatter_figure(drawn));
  }
  return {std::move(out)};
}

}  // namespace basin::tools
