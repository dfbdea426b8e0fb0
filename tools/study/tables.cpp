// Tables of a study.
#include "basin/tools/study/tables.h"

#include <algorithm>
#include <cmath>

#include "basin/core/folder.h"
#include "basin/core/text.h"
#include "basin/figures/table_text.h"
#include "basin/tools/shell/environment.h"
#include "basin/tools/study/sections.h"

namespace basin::tools {
namespace {

std::string p_text(double p) { return std::isfinite(p) ? short_text(p, 2) : "-"; }

std::string cell_text(const StudyPair& pair) {
  if (!pair.chosen) return "none: every cell failed, or the search has not ended";
  return pair.chosen->empty() ? "-" : settings_text(*pair.chosen);
}

// Whether the value leads its network and the difference to the baseline is significant after
// Holm: what may stand in bold.
bool leads(const StudyResults& results, const PairValues& v) {
  for (const PairValues& other : results.values) {
    if (other.metric != v.metric || other.pair->model != v.pair->model) continue;
    const bool better =
        v.metric->larger ? other.mean.value > v.mean.value : other.mean.value < v.mean.value;
    if (better) return false;
  }
  return std::isfinite(v.mean.value);
}

bool significant(const StudyResults& results, const PairValues& v) {
  for (const Contrast& c : results.contrasts) {
    const bool about = c.with == &v || (c.baseline == &v && leads(results, v));
    if (about && !(c.holm_p < 0.05)) return false;
    if (c.with == &v) return true;
  }
  return !results.contrasts.empty();
}

std::string published_text(const Contrast& c) {
  if (!c.published) return "-";
  return readable(*c.published) + (c.excluded ? " (outside)" : "");
}

bool measured(const PairValues& v) { return !v.present.empty() || v.failed > 0; }

// Of rows that a page goes without, while the CSV file has them.
std::string left_out_text(size_t all, const ReportTable& page) {
  const size_t rows = all - page.rows.size();
  return rows == 0
             ? ""
             : str(" Left out, since nothing of them is measured: ", rows,
                   rows == 1 ? " row, which the CSV file has." : " rows, which the CSV file has.");
}

}  // namespace

std::string metric_title(const StudyMetric& metric) {
  return metric.unit.empty() ? metric.name : str(metric.name, ", ", metric.unit);
}

std::string contrast_text(const Contrast& c) {
  if (!std::isfinite(c.difference)) return "no value";
  const StudyMetric& metric = *c.with->metric;
  const auto number = [&](double v) {
    return metric.logarithmic || v <= 0 ? readable(v) : "+" + readable(v);
  };
  std::string out = number(c.difference);
  if (std::isfinite(c.low)) out += str(" [", number(c.low), ", ", number(c.high), "]");
  if (metric.logarithmic) return out + " times";
  const std::string unit = metric.unit == "%" ? "points" : metric.unit;  // of a difference
  return unit.empty() ? out : out + " " + unit;
}

NamedTable results_table(const StudyResults& results) {
  NamedTable out{"results", {}, {}};
  out.page.caption =
      "Means over the seeds with 95 % t intervals; of logarithmic metrics geometric. Bold: the "
      "best "
      "of its network, where it differs from the baseline after Holm's adjustment. The best of n "
      "is no mean and is not comparable with one.";
  out.page.columns = {"network", "optimizer", "cell",      "metric", "n",
                      "mean",    "std",       "best of n", "failed"};
  out.page.numeric = {false, false, false, false, true, true, true, true, true};
  CsvTable csv({"network", "optimizer", "cell", "metric", "unit", "n", "mean", "standard_error",
                "low", "high", "level", "samples", "method", "std", "best_of_n", "failed"});
  for (const PairValues& v : results.values) {
    if (measured(v)) {
      const bool best = leads(results, v);
      out.page.rows.push_back({v.pair->model->name,
                               v.pair->optimizer->name,
                               cell_text(*v.pair),
                               metric_title(*v.metric),
                               str(v.present.size()),
                               {interval_text(v.mean)},
                               readable(v.deviation),
                               readable(v.best),
                               str(v.failed)});
      ReportCell& mean = out.page.rows.back()[5];
      mean.best = best, mean.significant = best && significant(results, v);
    }
    std::vector<CsvCell> cells{v.pair->model->name, v.pair->optimizer->name,
                               cell_text(*v.pair),  v.metric->name,
                               v.metric->unit,      static_cast<int64_t>(v.present.size())};
    add_estimate(cells, v.mean);
    cells.insert(cells.end(), {v.deviation, v.best, v.failed});
    csv.row(cells);
  }
  out.page.caption += left_out_text(results.values.size(), out.page);
  out.csv = csv.text();
  return out;
}

NamedTable contrasts_table(const Study& study, const StudyResults& results) {
  NamedTable out{"contrasts", {}, {}};
  out.page.caption = str(
      "Against ", study.baseline,
      ": difference of the means (ratio of the geometric means, where \"times\" stands) with 95 % "
      "interval after Welch. p: Welch's, after Holm over all rows, of the permutation test, and "
      "the "
      "smallest that the permutation test can reach at this n. Verdict: agrees, when the interval "
      "excludes no difference and lies on the published side; contradicts, when it excludes it on "
      "the other side; else undecided. \"Outside\": the published value is not in the interval, "
      "whatever its side.");
  out.page.columns = {"network", "optimizer",   "metric",    "difference", "Welch p",
                      "Holm p",  "permutation", "its floor", "published",  "verdict"};
  out.page.numeric = {false, false, false, true, true, true, true, true, true, false};
  CsvTable csv({"network", "optimizer", "baseline", "metric", "kind", "difference", "low", "high",
                "welch_p", "holm_p", "permutation_p", "permutation_floor", "published", "verdict",
                "published_outside"});
  for (const Contrast& c : results.contrasts) {
    const StudyPair& pair = *c.with->pair;
    const bool ratio = c.with->metric->logarithmic;
    if (measured(*c.with) || measured(*c.baseline)) {
      out.page.rows.push_back({pair.model->name, pair.optimizer->name,
                               metric_title(*c.with->metric), contrast_text(c), p_text(c.welch_p),
                               p_text(c.holm_p), p_text(c.permutation_p), p_text(c.floor_p),
                               published_text(c), c.verdict});
    }
    csv.row({pair.model->name, pair.optimizer->name, study.baseline, c.with->metric->name,
             ratio ? "ratio" : "difference", c.difference, c.low, c.high, c.welch_p, c.holm_p,
             c.permutation_p, c.floor_p, c.published ? CsvCell(*c.published) : CsvCell(""),
             c.verdict, c.excluded ? "yes" : "no"});
  }
  out.page.caption += left_out_text(results.contrasts.size(), out.page);
  out.csv = csv.text();
  return out;
}

NamedTable power_table(const StudyResults& results) {
  NamedTable out{"power", {}, {}};
  out.page.caption =
      "How many seeds each optimizer would need for Welch's test at 5 % to see a difference with a "
      "probability of 80 %, if the standard deviations over seeds are those measured here, which "
      "few seeds know to a factor of two or three: a plan, no result. Sought is the published "
      "difference (ratio, where \"times\" stands), or the one found here where none was published.";
  out.page.columns = {"network", "optimizer", "metric",       "sought",
                      "from",    "power now", "seeds needed", "verdict now"};
  out.page.numeric = {false, false, false, true, false, true, true, false};
  CsvTable csv({"network", "optimizer", "metric", "kind", "sought", "from", "n", "power",
                "seeds_needed", "verdict"});
  for (const Contrast& c : results.contrasts) {
    if (!std::isfinite(c.power)) continue;
    const StudyPair& pair = *c.with->pair;
    const bool ratio = c.with->metric->logarithmic;
    const std::string from = c.published ? "published" : "found here";
    const size_t n = std::min(c.with->present.size(), c.baseline->present.size());
    out.page.rows.push_back({pair.model->name, pair.optimizer->name, metric_title(*c.with->metric),
                             readable(c.sought) + (ratio ? " times" : ""), from,
                             str(fixed_text(c.power, 2), " at n = ", n),
                             c.seeds_needed > 0 ? str(c.seeds_needed) : "above 10^6", c.verdict});
    csv.row({pair.model->name, pair.optimizer->name, c.with->metric->name,
             ratio ? "ratio" : "difference", c.sought, from, static_cast<int64_t>(n), c.power,
             c.seeds_needed, c.verdict});
  }
  out.csv = csv.text();
  return out;
}

NamedTable cost_table(const Schedule& schedule, Ledger& ledger) {
  struct Cost {
    int64_t jobs = 0;
    double seconds = 0, steps = 0, cpu = 0;  // cpu: NaN where a job does not say all of it
  };
  NamedTable out{"cost", {}, {}};
  out.page.caption =
      "Wall time of the jobs, as they ran beside each other, and time of the processors, unknown "
      "of a training in several parts.";
  out.page.columns = {"network", "optimizer",  "stage",           "jobs",
                      "hours",   "core hours", "seconds per step"};
  out.page.numeric = {false, false, false, true, true, true, true};
  CsvTable csv({"network", "optimizer", "stage", "jobs", "seconds", "cpu_seconds", "steps"});
  const auto add = [&](Cost& cost, const std::string& hash) {
    const RecordFields* r = ledger.record(hash);
    if (r == nullptr) return;
    ++cost.jobs;
    // A training knows its time over all its parts.
    const double seconds = r->number(r->has("seconds") ? "seconds" : "job_seconds");
    cost.seconds += seconds;
    const bool known = r->has("job_cpu_seconds") && seconds <= r->number("job_seconds");
    cost.cpu += known ? r->number("job_cpu_seconds") : NAN;
    if (r->has("steps")) cost.steps += r->number("steps");
  };
  const auto row = [&](const std::string& model, const std::string& optimizer, Stage stage,
                       const Cost& c) {
    if (c.jobs == 0) return;
    const std::string name(name_of(stage));
    out.page.rows.push_back({model, optimizer, name, str(c.jobs), fixed_text(c.seconds / 3600, 3),
                             std::isfinite(c.cpu) ? fixed_text(c.cpu / 3600, 3) : "-",
                             c.steps > 0 ? readable(c.seconds / c.steps) : "-"});
    csv.row({model, optimizer, name, c.jobs, c.seconds, c.cpu, c.steps});
  };
  for (const StudyPair& pair : schedule.pairs()) {
    Cost costs[kStages];
    const auto of = [&costs](Stage stage) -> Cost& { return costs[static_cast<size_t>(stage)]; };
    for (const auto& round : pair.rounds) {
      for (const StudyTrial& t : round) {
        add(of(Stage::search), t.job.hash);
        for (const auto& [name, job] : t.measured) add(of(Stage::measure), job.hash);
      }
    }
    for (const StudyRun& run : pair.runs) {
      add(of(Stage::final), run.job.hash);
      for (const auto& [name, job] : run.measured) add(of(Stage::measure), job.hash);
    }
    for (const Stage stage : {Stage::search, Stage::final, Stage::measure}) {
      row(pair.model->name, pair.optimizer->name, stage, of(stage));
    }
  }
  std::map<std::string, Cost> between;  // by network
  for (const StudyBetween& b : schedule.between()) {
    if (b.job) add(between[b.model->name], b.job->hash);
  }
  for (const auto& [model, cost] : between) row(model, "all", Stage::between, cost);
  out.csv = csv.text();
  return out;
}

std::string search_csv(const Study& study, const Schedule& schedule) {
  CsvTable csv({"network", "optimizer", "round", "cell", "seed", "judged_by", "value", "chosen"});
  for (const StudyPair& pair : schedule.pairs()) {
    for (size_t r = 0; r < pair.rounds.size(); ++r) {
      for (const StudyTrial& t : pair.rounds[r]) {
        csv.row({pair.model->name, pair.optimizer->name, static_cast<int64_t>(r + 1),
                 settings_text(t.job.cell), str(t.job.seed), study.judge,
                 t.judged ? CsvCell(*t.judged) : CsvCell("not done"),
                 pair.chosen == t.job.cell ? "yes" : "no"});
      }
    }
  }
  return csv.text();
}

std::string runs_csv(const Study& study, const Schedule& schedule, Ledger& ledger) {
  CsvTable csv({"network", "optimizer", "cell", "seed", "job", "state", "metric", "value"});
  for (const StudyPair& pair : schedule.pairs()) {
    for (const StudyRun& run : pair.runs) {
      for (const StudyMetric& metric : study.metrics) {
        csv.row({pair.model->name, pair.optimizer->name, settings_text(run.job.cell),
                 str(run.job.seed), run.job.hash,
                 run.failed ? "failed"
                 : run.done ? "done"
                            : "not done",
                 metric.name, metric_of(metric, run, ledger)});
      }
    }
  }
  return csv.text();
}

void write_tables(const fs::path& dir, const Study& study, const Schedule& schedule,
                  const StudyResults& results, Ledger& ledger) {
  const fs::path folder = dir / "tables";
  make_folder(folder);
  for (const NamedTable& table :
       {results_table(results), contrasts_table(study, results), power_table(results),
        matched_table(study, schedule, ledger), grid_table(study, schedule, ledger),
        cost_table(schedule, ledger)}) {
    if (table.name == "grid" && table.page.rows.empty()) continue;  // nothing measures the search
    write_file_atomic(folder / (table.name + ".csv"), table.csv);
    write_file_atomic(folder / (table.name + ".md"), markdown_table(table.page));
    write_file_atomic(folder / (table.name + ".tex"), latex_table(table.page));
  }
  write_file_atomic(folder / "search.csv", search_csv(study, schedule));
  write_file_atomic(folder / "runs.csv", runs_csv(study, schedule, ledger));
}

}  // namespace basin::tools
