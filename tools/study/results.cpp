// Statistics of a study.
#include "basin/tools/study/results.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <ranges>

#include "basin/analysis/statistics.h"

namespace basin::tools {
namespace {

PairValues values_of(const StudyMetric& metric, const StudyPair& pair, Ledger& ledger) {
  PairValues out{.pair = &pair, .metric = &metric};
  std::vector<double> plain;
  for (const StudyRun& run : pair.runs) {
    const double value = metric_of(metric, run, ledger);
    out.values.push_back(value);
    out.failed += run.failed;
    if (!std::isfinite(value) || (metric.logarithmic && value <= 0)) continue;
    plain.push_back(value);
    out.present.push_back(metric.logarithmic ? std::log(value) : value);
  }
  if (plain.empty()) {
    out.deviation = out.best = NAN;
    return out;
  }
  out.mean = mean_estimate(out.present);
  if (metric.logarithmic) {
    out.mean.value = std::exp(out.mean.value);
    out.mean.standard_error *= out.mean.value;
    out.mean.interval.low = std::exp(out.mean.interval.low);
    out.mean.interval.high = std::exp(out.mean.interval.high);
  }
  out.deviation = std::sqrt(variance(plain));
  out.best = metric.larger ? std::ranges::max(plain) : std::ranges::min(plain);
  return out;
}

const PairValues* found(const std::vector<PairValues>& all, const StudyMetric& metric,
                        const std::string& model, const std::string& optimizer) {
  for (const PairValues& v : all) {
    if (v.metric == &metric && v.pair->model->name == model &&
        v.pair->optimizer->name == optimizer) {
      return &v;
    }
  }
  return nullptr;
}

std::optional<double> published_of(const Study& study, const PairValues& of) {
  const auto at = study.published.find(
      str(of.pair->model->name, ".", of.pair->optimizer->name, ".", of.metric->name));
  return at == study.published.end() ? std::nullopt : std::optional(at->second);
}

void add_power(Contrast& c, bool logarithmic) {
  c.sought = c.published.value_or(c.difference);
  c.power = NAN;
  const PairValues &a = *c.with, &b = *c.baseline;
  if (a.present.size() < 2 || b.present.size() < 2) return;
  c.excluded = c.published && !(c.low <= *c.published && *c.published <= c.high);
  const double difference = logarithmic ? std::log(c.sought) : c.sought;
  const double da = std::sqrt(variance(a.present)), db = std::sqrt(variance(b.present));
  c.power = welch_power(difference, da, db,
                        std::ssize(a.present.size() < b.present.size() ? a.present : b.present));
  c.seeds_needed = welch_sample_size(difference, da, db);
}

Contrast contrast_of(const Study& study, const PairValues& with, const PairValues& baseline) {
  Contrast c{.with = &with, .baseline = &baseline};
  const bool logarithmic = with.metric->logarithmic;
  c.difference = c.low = c.high = c.welch_p = c.permutation_p = c.floor_p = NAN;
  if (!with.present.empty() && !baseline.present.empty()) {
    c.difference = mean(with.present) - mean(baseline.present);
  }
  if (with.present.size() >= 2 && baseline.present.size() >= 2) {
    const TestResult welch = welch_test(with.present, baseline.present);
    c.low = welch.lower, c.high = welch.upper, c.welch_p = welch.p;
    const PermutationResult permutation = permutation_test(with.present, baseline.present);
    c.permutation_p = permutation.p, c.floor_p = permutation.floor;
  }
  if (logarithmic) {
    c.difference = std::exp(c.difference), c.low = std::exp(c.low), c.high = std::exp(c.high);
  }
  const std::optional<double> a = published_of(study, with), b = published_of(study, baseline);
  if (a && b) c.published = logarithmic ? *a / *b : *a - *b;
  c.verdict = verdict_of(c.low, c.high, logarithmic ? 1 : 0, c.published);
  add_power(c, logarithmic);
  return c;
}

void adjust(std::vector<Contrast>& contrasts) {
  std::vector<double> p;
  for (const Contrast& c : contrasts) {
    if (std::isfinite(c.welch_p)) p.push_back(c.welch_p);
  }
  const std::vector<double> adjusted = holm(p);
  size_t at = 0;
  for (Contrast& c : contrasts) c.holm_p = std::isfinite(c.welch_p) ? adjusted[at++] : NAN;
}

}  // namespace

std::string verdict_of(double low, double high, double none, std::optional<double> published) {
  if (!(low > none) && !(high < none)) return "undecided";
  const bool above = low > none;
  if (!published) return above ? "larger" : "smaller";
  return above == (*published > none) ? "agrees" : "contradicts";
}

StudyResults results_of(const Study& study, const Schedule& schedule, Ledger& ledger) {
  StudyResults out;
  for (const StudyMetric& metric : study.metrics) {
    for (const StudyPair& pair : schedule.pairs()) {
      out.values.push_back(values_of(metric, pair, ledger));
    }
  }
  for (const StudyMetric& metric : study.metrics) {
    for (const StudySubject& model : study.models) {
      const PairValues* baseline = found(out.values, metric, model.name, study.baseline);
      for (const StudySubject& optimizer : study.optimizers) {
        if (optimizer.name == study.baseline) continue;
        out.contrasts.push_back(
            contrast_of(study, *found(out.values, metric, model.name, optimizer.name), *baseline));
      }
    }
  }
  adjust(out.contrasts);
  return out;
}

FigureConditions conditions_over(FigureConditions conditions,
                                 std::span<const PairValues* const> drawn) {
  if (drawn.empty()) return conditions;
  const auto count = [](const PairValues* v) { return std::ssize(v->present); };
  const auto [fewest, most] = std::ranges::minmax(drawn | std::views::transform(count));
  conditions.runs = most;
  conditions.fewest = fewest;
  const bool whole = std::ranges::all_of(
      drawn, [](const PairValues* v) { return v->present.size() == v->values.size(); });
  if (!whole) conditions.seeds.clear();
  return conditions;
}

std::vector<std::string> edge_warnings(const Study& study, const Schedule& schedule) {
  std::vector<std::string> out;
  for (const StudyPair& pair : schedule.pairs()) {
    if (!pair.chosen || !pair.optimizer->like.empty()) continue;  // warned of where it was searched
    for (const auto& [key, value] : *pair.chosen) {
      double chosen = 0, low = INFINITY, high = -INFINITY;
      if (!parse_double(value, chosen)) continue;
      for (const StudySettings& cell : study.grid.at(pair.optimizer->name)) {
        double other = 0;
        if (!parse_double(cell.at(key), other)) continue;
        low = std::min(low, other), high = std::max(high, other);
      }
      // Nothing lies below a decay of 0.
      const bool at_low = chosen == low && low != 0, at_high = chosen == high;
      if (low == high || (!at_low && !at_high)) continue;
      out.push_back(str(pair.model->name, " ", pair.optimizer->name, ": the chosen ", key, " = ",
                        value, " is the ", at_high ? "largest" : "smallest",
                        " value searched; a better one may lie beyond"));
    }
  }
  return out;
}

std::vector<std::string> tie_warnings(const Study& study, const Schedule& schedule,
                                      Ledger& ledger) {
  std::vector<std::string> out;
  for (const StudyPair& pair : schedule.pairs()) {
    if (!pair.chosen || pair.rounds.empty()) continue;
    std::vector<double> cells, seeds;
    for (const CellScore& s : scores_of(pair.rounds.back())) {
      if (std::isfinite(s.judged)) cells.push_back(s.judged);
    }
    for (const StudyRun& run : pair.runs) {
      const RecordFields* record = run.done ? ledger.record(run.job.hash) : nullptr;
      const bool judged = record && record->has(study.judge);
      const double value = judged ? record->number(study.judge) : NAN;
      if (std::isfinite(value)) seeds.push_back(value);
    }
    if (cells.size() < 2 || seeds.size() < 2) continue;
    const auto [low, high] = std::ranges::minmax(cells);
    const double best = study.judge_larger ? high : low;
    // Two cells of equal quality differ by less with probability 0.95.
    const auto runs = static_cast<double>(study.search_seeds.size());
    const double least = 1.96 * std::sqrt(2 * variance(seeds) / runs);
    const auto near =
        std::ranges::count_if(cells, [&](double v) { return std::abs(v - best) < least; });
    if (near < 2) continue;
    out.push_back(str(pair.model->name, " ", pair.optimizer->name, ": ", near, " of ", cells.size(),
                      " cells lie within ", readable(least), " of the best in ", study.judge,
                      ", as seeds of the chosen cell do; the search does not tell them apart"));
  }
  return out;
}

}  // namespace basin::tools
