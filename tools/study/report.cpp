// The report of a study.
#include "basin/tools/study/report.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "basin/analysis/statistics.h"
#include "basin/core/lines.h"
#include "basin/core/text.h"
#include "basin/figures/curvature_figures.h"
#include "basin/figures/heat_map.h"
#include "basin/figures/optimizer_figures.h"
#include "basin/figures/seed_dots.h"
#include "basin/tools/shell/environment.h"
#include "basin/tools/study/sections.h"
#include "basin/tools/study/tables.h"

namespace basin::tools {
namespace {

// What stands behind a figure of trainings, or of a measurement of them.
FigureConditions conditions_of(const Study& study, const Schedule& schedule, Ledger& ledger,
                               const std::string& command) {
  FigureConditions out{.runs = std::ssize(study.seeds), .seeds = study.seeds, .command = command};
  for (const StudyPair& pair : schedule.pairs()) {
    for (const StudyRun& run : pair.runs) {
      const RecordFields* r = ledger.record(run.job.hash);
      if (r == nullptr || !r->has("data")) continue;
      out.data = r->text("data");
      out.dtype = r->text("dtype");
      return out;
    }
  }
  return out;
}

// A sentence per network on one metric.
std::string sentence_of(const Contrast& c, const Study& study) {
  const StudyMetric& metric = *c.with->metric;
  const std::string& with = c.with->pair->optimizer->name;
  if (!std::isfinite(c.difference)) {
    return str("On ", c.with->pair->model->name, " ", metric.name, " of ", with, " and ",
               study.baseline, " cannot be compared: not enough runs.");
  }
  // The interval is that of this comparison alone; Holm's p is of all of the study.
  const char* words = c.verdict == "undecided" ? " is not shown to differ from "
                      : c.holm_p < 0.05        ? " differs from "
                                        : " by its own interval, but not after Holm, differs from ";
  std::string out = str("On ", c.with->pair->model->name, " ", with, words, study.baseline, " in ",
                        metric.name, ": ", contrast_text(c));
  if (std::isfinite(c.welch_p)) {
    out += str(" (n = ", c.with->present.size(), " and ", c.baseline->present.size(),
               ", Welch p = ", short_text(c.welch_p, 2), ", after Holm ", short_text(c.holm_p, 2),
               ")");
  }
  if (c.published) out += str("; published ", readable(*c.published), ": ", c.verdict);
  return out + ".";
}

std::string answer_of(const Study& study, const StudyResults& results) {
  std::string out;
  for (const Contrast& c : results.contrasts) {
    if (c.with->metric != &study.metrics.front()) continue;
    out += str(out.empty() ? "" : " ", sentence_of(c, study));
  }
  return out.empty() ? "One optimizer alone: nothing is compared." : out;
}

Figure dots_of(const StudyMetric& metric, const Study& study, const StudyResults& results,
               FigureConditions conditions) {
  SeedDots dots{.name = "seeds-" + metric.name,
                .title = str("Every run: ", metric.name),
                .quantity = metric_title(metric),
                .log_axis = metric.logarithmic};
  std::vector<const PairValues*> drawn;
  std::vector<SeedPanel> without;
  for (const StudySubject& model : study.models) {
    SeedPanel panel{.network = model.name};
    const size_t before = drawn.size();
    for (const PairValues& v : results.values) {
      if (v.metric->name != metric.name || v.pair->model->name != model.name) continue;
      if (!v.present.empty()) drawn.push_back(&v);
      SeedColumn column{.optimizer = v.pair->optimizer->name, .values = v.values, .mean = v.mean};
      for (const StudyRun& run : v.pair->runs) column.runs.push_back(str("seed ", run.job.seed));
      panel.columns.push_back(std::move(column));
    }
    for (const Contrast& c : results.contrasts) {
      const bool here =
          c.with->metric->name == metric.name && c.with->pair->model->name == model.name;
      if (here && study.optimizers.size() == 2 && std::isfinite(c.holm_p)) {
        panel.note = str("p = ", short_text(c.holm_p, 2), " (Holm)");
      }
    }
    // A network that has none of this metric gets no empty panel, unless that is all there is.
    (drawn.size() > before ? dots.panels : without).push_back(std::move(panel));
  }
  if (dots.panels.empty()) dots.panels = std::move(without);
  dots.conditions = conditions_over(std::move(conditions), drawn);
  return seed_dots_figure(dots);
}

// The last round of a pair's search over two settings.
std::optional<Figure> search_figure(const Study& study, const StudyPair& pair) {
  if (pair.rounds.empty()) return std::nullopt;
  const StudySettings& first = study.grid.at(pair.optimizer->name).front();
  if (first.size() != 2) return std::nullopt;
  const std::string rows = first.begin()->first, columns = std::next(first.begin())->first;
  std::vector<std::string> row_values, column_values;
  const auto note = [](std::vector<std::string>& list, const std::string& value) {
    if (std::ranges::find(list, value) == list.end()) list.push_back(value);
  };
  for (const StudySettings& cell : study.grid.at(pair.optimizer->name)) {
    note(row_values, cell.at(rows));
    note(column_values, cell.at(columns));
  }
  HeatMap map;
  map.title = str("Search: ", pair.model->name, ", ", pair.optimizer->name);
  map.notes = {str("judged by ", study.judge, ", ", search_seeds_text(study), ", round 1 of ",
                   pair.rounds.size()),
               pair.chosen ? "chosen: " + settings_text(*pair.chosen) : "nothing chosen"};
  map.column_axis = columns;
  map.row_axis = rows;
  map.value_axis = study.judge;
  map.columns = column_values;
  map.decimals = 3;
  double low = INFINITY, high = -INFINITY;
  for (const std::string& value : row_values) {
    HeatMapRow row{value, "", std::vector<double>(column_values.size(), NAN)};
    for (const CellScore& s : scores_of(pair.rounds.front())) {
      if (s.cell.at(rows) != value || !std::isfinite(s.judged)) continue;
      const auto at = std::ranges::find(column_values, s.cell.at(columns));
      row.values[static_cast<size_t>(at - column_values.begin())] = s.judged;
      low = std::min(low, s.judged), high = std::max(high, s.judged);
    }
    map.rows.push_back(std::move(row));
  }
  if (!(low <= high)) return std::nullopt;
  map.low = low, map.high = high > low ? high : low + 1;
  Figure figure{.name = str("search-", pair.model->name, "-", pair.optimizer->name),
                .title = map.title};
  figure.svg = heat_map_svg(map);
  figure.csv = "see tables/search.csv\n";
  figure.alt = str("Heat map of ", study.judge, " over ", rows, " and ", columns, ", from ",
                   readable(low), " to ", readable(high), "; ", map.notes.back(), ".");
  return finish_figure(std::move(figure),
                       str("Every cell of the first round. ", map.notes.back(), "."), {.level = 0});
}

// Evaluations and probes of one training, from its record's lines.
struct Course {
  RunCurve loss, metric;
  RunCurve rank;  // stable rank of the weights, geometric mean over the matrices
  // Of interventions on the spectrum, over matrices and probes: geometric means of what was
  // asked for and of reached / asked, and the mean size of the change, |dW|_F / |W|_F.
  std::vector<double> asked, fulfilled, change;
};

void add_matrix(Course& course, const RecordFields& f, double seconds) {
  const double step = f.number("step");
  RunCurve& rank = course.rank;
  if (rank.steps.empty() || rank.steps.back() != step) {
    rank.steps.push_back(step);
    rank.seconds.push_back(seconds);
    rank.values.push_back(0);  // of logarithms, until all matrices are there
  }
  rank.values.back() += std::log(f.number("stable_rank"));
  if (!f.has("spectrum_asked")) return;
  course.asked.push_back(f.number("spectrum_asked"));
  course.fulfilled.push_back(f.number("spectrum_reached") / f.number("spectrum_asked"));
  course.change.push_back(f.number("spectrum_change"));
}

std::optional<Course> course_of(const StudyRun& run, const std::string& metric, Ledger& ledger) {
  const fs::path file = ledger.curve(run.job);
  if (!fs::exists(file)) return std::nullopt;
  Course out;
  const std::string text = read_text_file(file);
  LineReader lines(text);
  double seconds = 0;
  std::map<double, int64_t> matrices;  // by step
  for (std::string_view line; lines.next(line);) {
    if (line.empty()) continue;
    const RecordFields f = parse_record(line, str(file.string(), ":", lines.number()));
    if (f.text("event") == "probe_matrix") {
      add_matrix(out, f, seconds);
      ++matrices[f.number("step")];
    }
    if (f.text("event").starts_with("probe")) continue;
    seconds += f.number("seconds");
    for (const auto& [curve, key] : {std::pair{&out.loss, std::string("train_loss")},
                                     std::pair{&out.metric, "test_" + metric}}) {
      curve->steps.push_back(f.number("step"));
      curve->seconds.push_back(seconds);
      curve->values.push_back(f.has(key) ? f.number(key) : NAN);
    }
  }
  for (size_t i = 0; i < out.rank.steps.size(); ++i) {
    const auto n = static_cast<double>(matrices.at(out.rank.steps[i]));
    out.rank.values[i] = std::exp(out.rank.values[i] / n);
  }
  return out;
}

// The first metric of the trainings, as their lines name it.
std::string leading_metric(const RecordFields& record) {
  const std::string metrics = record.has("metrics") ? record.text("metrics") : "";
  return metrics.substr(0, metrics.find(':'));
}

std::optional<Figure> course_figure(const Schedule& schedule, const StudySubject& model,
                                    Ledger& ledger, FigureConditions conditions) {
  ComparedQuantity loss{"training loss", true, {}}, metric{"", false, {}};
  ComparedQuantity rank{"stable rank of the weights", true, {}};
  for (const StudyPair& pair : schedule.pairs()) {
    if (pair.model->name != model.name) continue;
    OptimizerRuns of_loss{pair.optimizer->name, {}}, of_metric = of_loss, of_rank = of_loss;
    for (const StudyRun& run : pair.runs) {
      const RecordFields* record = ledger.record(run.job.hash);
      if (record == nullptr || run.failed) continue;
      metric.name = "test " + leading_metric(*record);
      if (const auto course = course_of(run, leading_metric(*record), ledger)) {
        of_loss.runs.push_back(course->loss);
        of_metric.runs.push_back(course->metric);
        if (!course->rank.steps.empty()) of_rank.runs.push_back(course->rank);
      }
    }
    if (of_loss.runs.empty()) continue;
    loss.optimizers.push_back(std::move(of_loss));
    metric.optimizers.push_back(std::move(of_metric));
    if (!of_rank.runs.empty()) rank.optimizers.push_back(std::move(of_rank));
  }
  if (loss.optimizers.empty()) return std::nullopt;
  std::vector<ComparedQuantity> quantities{loss, metric};
  if (!rank.optimizers.empty()) quantities.push_back(std::move(rank));
  Figure figure = optimizer_comparison_figure({.title = str("Training of ", model.name),
                                               .quantities = std::move(quantities),
                                               .conditions = std::move(conditions)});
  figure.name = "training-" + model.name;
  return figure;
}

// What interventions on the spectrum asked for and what they reached.
std::optional<ReportTable> interventions_table(const Schedule& schedule, Ledger& ledger) {
  ReportTable out{
      .caption =
          "Interventions on the spectrum, over matrices, probes and runs: asked for "
          "(geometric mean), reached / asked (the same), |dW|_F / |W|_F of one intervention",
      .columns = {"network", "optimizer", "runs", "asked", "reached / asked", "change"}};
  for (const StudyPair& pair : schedule.pairs()) {
    Course all;
    int64_t runs = 0;
    for (const StudyRun& run : pair.runs) {
      const auto course = course_of(run, "", ledger);
      if (run.failed || !course || course->asked.empty()) continue;
      ++runs;
      for (const auto& [to, from] :
           {std::pair{&all.asked, &course->asked}, std::pair{&all.fulfilled, &course->fulfilled},
            std::pair{&all.change, &course->change}}) {
        to->insert(to->end(), from->begin(), from->end());
      }
    }
    if (runs == 0) continue;
    out.rows.push_back({pair.model->name, pair.optimizer->name, str(runs),
                        short_text(mean_of_runs(all.asked, true).value, 4),
                        short_text(mean_of_runs(all.fulfilled, true).value, 4),
                        short_text(mean(all.change), 3)});
  }
  if (out.rows.empty()) return std::nullopt;
  return out;
}

// Logarithmic metrics of measurements: curvature and its like.
std::optional<Figure> bars_figure(const Study& study, const StudyResults& results,
                                  FigureConditions conditions) {
  CurvatureBars bars;
  bars.title = "Measured at the end of training";
  std::vector<const PairValues*> drawn;
  for (const PairValues& v : results.values) {
    if (v.metric->from.empty() || !v.metric->logarithmic || v.present.empty()) continue;
    drawn.push_back(&v);
    bars.bars.push_back(
        {v.pair->model->name, v.metric->name, v.pair->optimizer->name, v.mean, v.values});
  }
  if (bars.bars.empty()) return std::nullopt;
  for (const Contrast& c : results.contrasts) {
    const StudyMetric& metric = *c.with->metric;
    if (metric.from.empty() || !metric.logarithmic || !std::isfinite(c.difference)) continue;
    Estimate ratio;
    ratio.value = c.difference;
    ratio.interval = {c.low, c.high};
    bars.ratios.push_back({c.with->pair->model->name, metric.name,
                           c.with->pair->optimizer->name + " / " + study.baseline, ratio});
  }
  bars.conditions = conditions_over(std::move(conditions), drawn);
  Figure figure = curvature_bars_figure(bars);
  figure.name = "measured";
  return figure;
}

std::vector<std::string> failures_of(const Schedule& schedule, Ledger& ledger) {
  std::vector<std::string> out;
  const auto note = [&](const Job& job) {
    const RecordFields* r = ledger.record(job.hash);
    if (r == nullptr || completed(*r)) return;
    out.push_back(str(job.label(), ": ", r->has("failure") ? r->text("failure") : "did not end"));
  };
  for (const StudyPair& pair : schedule.pairs()) {
    for (const auto& round : pair.rounds) {
      for (const StudyTrial& t : round) {
        note(t.job);
        for (const auto& [name, job] : t.measured) note(job);
      }
    }
    for (const StudyRun& run : pair.runs) {
      note(run.job);
      for (const auto& [name, job] : run.measured) note(job);
    }
  }
  for (const StudyBetween& b : schedule.between()) {
    if (b.job) note(*b.job);
    if (std::string missing = b.warning(); !missing.empty()) out.push_back(std::move(missing));
  }
  return out;
}

ReportSection numbers_section(const NamedTable& results, const NamedTable& contrasts) {
  ReportSection out{"Numbers", {}};
  out.blocks.emplace_back(contrasts.page);
  out.blocks.emplace_back(results.page);
  return out;
}

ReportSection protocol_section(const Study& study) {
  ReportSection out{"Protocol", {}};
  std::string cells;
  for (const StudySubject& optimizer : study.optimizers) {
    cells += str(cells.empty() ? "" : ", ", study.grid.at(optimizer.name).size(), " for ",
                 optimizer.name);
  }
  out.blocks.emplace_back(ReportList{
      {str("Trainings by ", study.program, " with ", settings_text(study.settings)),
       str("Search: cells of ", study.grid_keys.empty() ? "no setting" : joined(study.grid_keys),
           " (", cells, "), ", search_seeds_text(study), ", judged by ", study.judge,
           study.judge_larger ? ", the larger the better" : ", the smaller the better"),
       str("Then ", study.seeds.size(), " trainings of the chosen cell, one per seed"),
       str("Differences are taken against ", study.baseline)}});
  return out;
}

}  // namespace

std::string write_study_report(const fs::path& dir, const Study& study, const Schedule& schedule,
                               Ledger& ledger, const std::string& command) {
  const StudyResults results = results_of(study, schedule, ledger);
  write_tables(dir, study, schedule, results, ledger);
  const FigureConditions conditions = conditions_of(study, schedule, ledger, command);
  Report report{.title = study.title, .summary = answer_of(study, results)};
  report.overview = dots_of(study.metrics.front(), study, results, conditions);
  report.warnings = edge_warnings(study, schedule);
  for (auto more : {tie_warnings(study, schedule, ledger), failures_of(schedule, ledger)}) {
    report.warnings.insert(report.warnings.end(), more.begin(), more.end());
  }
  if (schedule.finished() < schedule.expected()) {
    report.warnings.insert(report.warnings.begin(),
                           str("The study has not ended: ", schedule.finished(), " of ",
                               schedule.expected(), " jobs are done"));
  }
  report.sections.push_back(
      numbers_section(results_table(results), contrasts_table(study, results)));
  ReportSection measured{"Every run", {}};
  if (auto bars = bars_figure(study, results, conditions)) measured.blocks.emplace_back(*bars);
  for (const StudyMetric& metric : study.metrics) {
    const bool known = std::ranges::any_of(results.values, [&metric](const PairValues& v) {
      return v.metric == &metric && !v.present.empty();
    });
    if (&metric == &study.metrics.front() || !known) continue;
    measured.blocks.emplace_back(dots_of(metric, study, results, conditions));
  }
  if (!measured.blocks.empty()) report.sections.push_back(std::move(measured));
  ReportSection course{"Course of the training", {}};
  for (const StudySubject& model : study.models) {
    if (auto figure = course_figure(schedule, model, ledger, conditions)) {
      course.blocks.emplace_back(*figure);
    }
  }
  if (auto table = interventions_table(schedule, ledger)) course.blocks.emplace_back(*table);
  if (!course.blocks.empty()) report.sections.push_back(std::move(course));
  std::vector<std::string> absent;
  add_sections(report, network_sections(study, results, conditions), dir);
  add_sections(report, corruption_sections(study, schedule, ledger, conditions, absent), dir);
  add_sections(report, along_sections(study, schedule, ledger, conditions, absent), dir);
  add_sections(report, matched_sections(study, schedule, ledger, conditions), dir);
  add_sections(report, grid_sections(study, schedule, ledger, conditions), dir);
  add_sections(report, measured_sections(study, schedule, ledger, conditions, absent), dir);
  add_sections(report, between_sections(schedule, ledger, command), dir);
  ReportSection search{"Search", {}};
  for (const StudyPair& pair : schedule.pairs()) {
    if (auto figure = search_figure(study, pair)) search.blocks.emplace_back(*figure);
  }
  if (!search.blocks.empty()) report.sections.push_back(std::move(search));
  if (!absent.empty()) {
    report.sections.push_back({"Not drawn, for want of numbers", {ReportList{absent}}});
  }
  report.sections.push_back(protocol_section(study));
  if (NamedTable power = power_table(results); !power.page.rows.empty()) {
    report.sections.push_back({"What would decide it", {power.page}});
  }
  ReportSection cost{"Cost", {}};
  cost.blocks.emplace_back(cost_table(schedule, ledger).page);
  report.sections.push_back(std::move(cost));
  const Record environment = environment_record();
  const RecordFields facts = parse_record(environment.line(), "environment");
  Provenance& made = report.provenance;
  made.version = facts.text("basin_version");
  made.commit = facts.text("git_hash");
  made.compiler = facts.text("compiler");
  made.cpu = facts.text("cpu");
  made.threads = str(study.threads, " per job");
  made.command = command;
  made.finished = utc_now();
  write_report(dir, report);
  return report.summary;
}

}  // namespace basin::tools
