// Sections of a study's report on what is seen only over several numbers of its records: all
// networks in one picture of ratios, and the matrix of corruptions.
#include <algorithm>
#include <cmath>

#include "basin/analysis/csv_table.h"
#include "basin/analysis/hypothesis_tests.h"
#include "basin/datasets/corruptions.h"
#include "basin/figures/forest_plot.h"
#include "basin/figures/heat_map.h"
#include "basin/figures/optimizer_figures.h"
#include "basin/tools/study/sections.h"
#include "basin/tools/study/tables.h"

namespace basin::tools {
namespace {

// "muon is better on 11 of 12 networks (sign test p = 0.0063)"; ties are left out.
std::string wins_words(const std::string& optimizer, const StudyResults& results,
                       const StudyMetric& metric) {
  int64_t wins = 0, n = 0;
  for (const Contrast& c : results.contrasts) {
    if (c.with->metric != &metric || c.with->pair->optimizer->name != optimizer) continue;
    const double same = metric.logarithmic ? 1 : 0;
    if (!std::isfinite(c.difference) || c.difference == same) continue;
    wins += (c.difference > same) == metric.larger;
    ++n;
  }
  if (n == 0) return {};
  return str(" ", optimizer, " is better in ", metric.name, " on ", wins, " of ", n,
             " networks (sign test p = ", short_text(sign_test(wins, n), 2), ").");
}

std::optional<Figure> ratios_figure(const Study& study, const StudyResults& results,
                                    const StudyMetric& metric, const FigureConditions& conditions) {
  ForestPlot plot;
  plot.title = str(metric.name, " over that of ", study.baseline);
  plot.caption = str("Ratio of the geometric means of ", metric_title(metric), " over the seeds.");
  plot.axis = str("optimizer / ", study.baseline, ", logarithmic axis");
  plot.below = str("smaller than with ", study.baseline);
  plot.above = str("larger than with ", study.baseline);
  std::vector<const PairValues*> drawn;
  for (const Contrast& c : results.contrasts) {
    if (c.with->metric != &metric || !std::isfinite(c.difference)) continue;
    drawn.insert(drawn.end(), {c.with, c.baseline});
    plot.rows.push_back({c.with->pair->model->name, c.with->pair->optimizer->name, c.difference,
                         c.low, c.high,
                         c.published ? "published: " + readable(*c.published) : std::string()});
  }
  if (plot.rows.empty()) return std::nullopt;
  plot.conditions = conditions_over(conditions, drawn);
  std::ranges::stable_sort(plot.rows, {}, &ForestRow::group);
  Figure out = forest_figure(plot);
  out.name = "networks-" + metric.name;
  return out;
}

// The mean over the seeds of one error rate, %; NaN where no record has it.
double mean_error(const StudyPair& pair, const std::string& measurement, const std::string& key,
                  Ledger& ledger) {
  std::vector<double> values;
  for (const StudyRun& run : pair.runs) {
    const auto found = run.measured.find(measurement);
    if (found == run.measured.end()) continue;
    const RecordFields* record = ledger.record(found->second.hash);
    if (record != nullptr && record->has(key)) values.push_back(100 * record->number(key));
  }
  return mean_of_runs(values, false).value;
}

std::optional<Figure> corruption_matrix(const StudyPair& with, const StudyPair& baseline,
                                        const std::string& measurement, Ledger& ledger,
                                        const FigureConditions& conditions) {
  HeatMap map;
  map.title = str("Error rate of ", with.optimizer->name, " minus ", baseline.optimizer->name, ": ",
                  with.model->name);
  map.column_axis = "severity";
  map.row_axis = "corruption";
  map.value_axis = "difference of the error rates, %";
  map.separated_columns = 1;
  map.columns = {"1", "2", "3", "4", "5", "mean"};
  CsvTable csv({"corruption", "group", "severity", "with", "baseline", "difference"});
  double largest = 0;
  int64_t smaller = 0, all = 0;
  for (const CorruptionInfo& corruption : corruptions()) {
    HeatMapRow row{corruption.name, std::string(name_of(corruption.group)), {}, ""};
    for (const std::string& column : map.columns) {
      const std::string key =
          str("error_rate_", corruption.name, column == "mean" ? "" : "_severity_" + column);
      const double a = mean_error(with, measurement, key, ledger);
      const double b = mean_error(baseline, measurement, key, ledger);
      row.values.push_back(a - b);
      csv.row({corruption.name, row.group, column, a, b, a - b});
      if (!std::isfinite(a - b)) continue;
      largest = std::max(largest, std::abs(a - b));
      if (column != "mean") smaller += a < b, ++all;
    }
    map.rows.push_back(std::move(row));
  }
  if (all == 0) return std::nullopt;
  std::ranges::stable_sort(map.rows, {}, &HeatMapRow::group);
  map.diverging = true;
  map.high = largest > 0 ? largest : 1;
  map.low = -map.high;
  Figure figure{.name = str("corruptions-", with.model->name, "-", with.optimizer->name),
                .title = map.title};
  map.notes = {str("smaller in ", smaller, " of ", all, " cells; means over the seeds")};
  figure.svg = heat_map_svg(map);
  figure.csv = csv.text();
  figure.alt =
      str("Heat map of 15 corruptions by severity: the error rate of ", with.optimizer->name,
          " is smaller than that of ", baseline.optimizer->name, " in ", smaller, " of ", all,
          " cells; differences to ", readable(largest), " %.");
  return finish_figure(std::move(figure),
                       "Below zero: fewer errors than the baseline. Means over the seeds.",
                       conditions);
}

// Per family of corruptions the difference of the means over the seeds, with Welch's interval.
NamedTable family_table(const StudyPair& with, const StudyPair& baseline,
                        const std::string& measurement, Ledger& ledger) {
  NamedTable out{str("corruptions-", with.model->name, "-", with.optimizer->name), {}, {}};
  out.page.caption = str(with.model->name, ": error rate of ", with.optimizer->name, " minus ",
                         baseline.optimizer->name, " by family, with Welch's 95 % interval");
  out.page.columns = {"family", "difference, %"};
  CsvTable csv({"family", "difference", "low", "high", "p"});
  const auto rates = [&](const StudyPair& pair, const std::string& key) {
    std::vector<double> values;
    for (const StudyRun& run : pair.runs) {
      const auto found = run.measured.find(measurement);
      const RecordFields* r =
          found == run.measured.end() ? nullptr : ledger.record(found->second.hash);
      if (r != nullptr && r->has(key)) values.push_back(100 * r->number(key));
    }
    return values;
  };
  for (const CorruptionGroup group :
       {CorruptionGroup::density, CorruptionGroup::noise, CorruptionGroup::transformation}) {
    const std::string key = str("group_error_rate_", name_of(group));
    const std::vector<double> a = rates(with, key), b = rates(baseline, key);
    if (a.size() < 2 || b.size() < 2) continue;
    const TestResult welch = welch_test(a, b);
    out.page.rows.push_back(
        {std::string(name_of(group)), str(readable(welch.difference), " [", readable(welch.lower),
                                          ", ", readable(welch.upper), "]")});
    csv.row({std::string(name_of(group)), welch.difference, welch.lower, welch.upper, welch.p});
  }
  out.csv = csv.text();
  return out;
}

bool has_corruptions(const StudyPair& pair, const std::string& measurement, Ledger& ledger) {
  return std::ranges::any_of(pair.runs, [&](const StudyRun& run) {
    const auto found = run.measured.find(measurement);
    const RecordFields* r =
        found == run.measured.end() ? nullptr : ledger.record(found->second.hash);
    return r != nullptr && r->has("mean_error_rate");
  });
}

}  // namespace

std::vector<PartSection> network_sections(const Study& study, const StudyResults& results,
                                          const FigureConditions& conditions) {
  PartSection section{"All networks", "", {}, {}};
  if (study.models.size() < 2) return {};
  for (const StudyMetric& metric : study.metrics) {
    for (const StudySubject& optimizer : study.optimizers) {
      section.text += wins_words(optimizer.name, results, metric);
    }
    if (!metric.logarithmic) continue;
    if (auto figure = ratios_figure(study, results, metric, conditions)) {
      section.figures.push_back(std::move(*figure));
    }
  }
  if (section.figures.empty()) return {};
  return {std::move(section)};
}

std::vector<PartSection> corruption_sections(const Study& study, const Schedule& schedule,
                                             Ledger& ledger, FigureConditions conditions,
                                             std::vector<std::string>& absent) {
  conditions.level = 0;
  std::vector<PartSection> out;
  for (const StudyMeasurement& m : study.measurements) {
    PartSection section{"Corruptions, " + m.name, "Against the baseline, by corruption.", {}, {}};
    for (const StudyPair& pair : schedule.pairs()) {
      const auto base = std::ranges::find_if(schedule.pairs(), [&](const StudyPair& p) {
        return p.model == pair.model && p.optimizer->name == study.baseline;
      });
      if (pair.optimizer->name == study.baseline || !has_corruptions(pair, m.name, ledger) ||
          !has_corruptions(*base, m.name, ledger)) {
        continue;
      }
      section.tables.push_back(family_table(pair, *base, m.name, ledger));
      if (auto figure = corruption_matrix(pair, *base, m.name, ledger, conditions)) {
        section.figures.push_back(std::move(*figure));
      } else {
        absent.push_back(str(pair.model->name, ", ", pair.optimizer->name,
                             ": no corruption matrix (the records of ", m.name,
                             " hold no error rates by severity; they are of an earlier version)"));
      }
    }
    if (!section.figures.empty() || !section.tables.empty()) out.push_back(std::move(section));
  }
  return out;
}

}  // namespace basin::tools
