// What was measured of the search of a study, over its grid.
#include <algorithm>
#include <cmath>

#include "basin/core/lines.h"
#include "basin/figures/scatter_figures.h"
#include "basin/figures/table_text.h"
#include "basin/tools/study/sections.h"
#include "basin/tools/study/tables.h"

namespace basin::tools {
namespace {

struct GridValue {
  const StudyPair* pair = nullptr;
  const StudyTrial* trial = nullptr;
  int64_t round = 0;
  double value = NAN;
};

// Those of one metric that are finite.
std::vector<GridValue> values_of(const StudyMetric& metric, const Schedule& schedule,
                                 Ledger& ledger) {
  std::vector<GridValue> out;
  for (const StudyPair& pair : schedule.pairs()) {
    for (size_t r = 0; r < pair.rounds.size(); ++r) {
      for (const StudyTrial& trial : pair.rounds[r]) {
        const double value = metric_of(metric, trial, ledger);
        if (std::isfinite(value)) out.push_back({&pair, &trial, static_cast<int64_t>(r), value});
      }
    }
  }
  return out;
}

// The first setting of the grid that is a positive number wherever it is searched, and is searched
// for every optimizer that is; empty: there is none.
std::string axis_of(const Study& study) {
  for (const std::string& key : study.grid_keys) {
    const auto usable = [&](const auto& of) {
      return of.second.size() == 1 || std::ranges::all_of(of.second, [&](const auto& cell) {
               double value = 0;
               const auto found = cell.find(key);
               return found != cell.end() && parse_double(found->second, value) && value > 0;
             });
    };
    if (std::ranges::all_of(study.grid, usable)) return key;
  }
  return {};
}

// How far the cells of the first round lie apart, within an optimizer and between two.
std::string span_words(const StudyMetric& metric, const std::string& model, const Study& study,
                       const std::vector<GridValue>& values) {
  std::string out;
  const auto range = [&](const std::string& optimizer) {
    std::pair<double, double> span{INFINITY, -INFINITY};
    for (const GridValue& v : values) {
      if (v.round > 0 || v.pair->model->name != model || v.pair->optimizer->name != optimizer) {
        continue;
      }
      span = {std::min(span.first, v.value), std::max(span.second, v.value)};
    }
    return span;
  };
  const auto base = range(study.baseline);
  if (!(base.first <= base.second)) return out;
  for (const StudySubject& optimizer : study.optimizers) {
    const auto with = range(optimizer.name);
    if (optimizer.name == study.baseline || !(with.first <= with.second)) continue;
    const bool ratio = metric.logarithmic && base.first > 0 && with.first > 0;
    const double low = ratio ? with.first / base.second : with.first - base.second;
    const double high = ratio ? with.second / base.first : with.second - base.first;
    const auto span = [ratio](const std::pair<double, double>& of) {
      return ratio ? str("a factor of ", readable(of.second / of.first))
                   : readable(of.second - of.first);
    };
    out += str(" ", model, ", ", metric_title(metric), ": the cells of ", study.baseline, " span ",
               span(base), ", those of ", optimizer.name, " ", span(with), "; ", optimizer.name,
               ratio ? " over " : " minus ", study.baseline, " is anything from ", readable(low),
               " to ", readable(high), ratio ? " times" : "", " by the choice of a cell of each.");
  }
  return out;
}

}  // namespace

NamedTable grid_table(const Study& study, const Schedule& schedule, Ledger& ledger) {
  NamedTable out{"grid", {}, {}};
  out.page.caption =
      str("Of every cell of the search, ", search_seeds_text(study), ", one training each.");
  out.page.columns = {"network", "optimizer", "round", "cell", "metric", "value", study.judge};
  out.page.numeric = {false, false, true, false, false, true, true};
  CsvTable csv({"network", "optimizer", "round", "cell", "metric", "value", "judged"});
  for (const StudyMetric& metric : study.grid_metrics) {
    for (const GridValue& v : values_of(metric, schedule, ledger)) {
      std::string cell = settings_text(v.trial->job.cell);
      if (study.search_seeds.size() > 1) cell += str(" seed ", v.trial->job.seed);
      const double judged = v.trial->judged.value_or(NAN);
      out.page.rows.push_back({v.pair->model->name, v.pair->optimizer->name, str(v.round + 1), cell,
                               metric_title(metric), readable(v.value), readable(judged)});
      csv.row({v.pair->model->name, v.pair->optimizer->name, v.round + 1, cell, metric.name,
               v.value, judged});
    }
  }
  out.csv = csv.text();
  return out;
}

std::vector<PartSection> grid_sections(const Study& study, const Schedule& schedule, Ledger& ledger,
                                       FigureConditions conditions) {
  NamedTable table = grid_table(study, schedule, ledger);
  if (table.page.rows.empty()) return {};
  conditions.runs = std::ssize(study.search_seeds);
  conditions.seeds = study.search_seeds;
  conditions.level = 0;
  PartSection out{"Over the grid",
                  "How far a quantity depends on the cell, beside how far it depends on the "
                  "optimizer: one training per cell and seed of the search, of its length.",
                  {std::move(table)},
                  {}};
  const std::string axis = axis_of(study);
  for (const StudyMetric& metric : study.grid_metrics) {
    const std::vector<GridValue> values = values_of(metric, schedule, ledger);
    Scatter drawn{.name = "grid-" + metric.name,
                  .title = str("Every cell of the search: ", metric.name),
                  .conditions = conditions};
    for (const StudySubject& model : study.models) {
      out.text += span_words(metric, model.name, study, values);
      ScatterPanel panel{.x = axis,
                         .y = str(model.name, ": ", metric_title(metric)),
                         .log_x = true,
                         .log_y = metric.logarithmic};
      for (const StudySubject& optimizer : study.optimizers) {
        ScatterSeries series{.optimizer = optimizer.name};
        for (const GridValue& v : values) {
          double x = 0;
          if (v.round > 0 || v.pair->model->name != model.name ||
              v.pair->optimizer->name != optimizer.name || axis.empty() ||
              !parse_double(v.trial->job.cell.at(axis), x)) {
            continue;
          }
          series.x.push_back(x);
          series.y.push_back(v.value);
          series.runs.push_back(settings_text(v.trial->job.cell));
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
