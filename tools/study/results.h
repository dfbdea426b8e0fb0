// The numbers of a study, from its records alone: per pair and metric the mean over the seeds with
// its interval, and against the baseline the difference with Welch's and the permutation test, the
// smallest p that so few seeds can reach, and Holm's adjustment over all comparisons of the study.
// Nothing here depends on which machine ran what or how long it took, so the tables of two runs of
// one study are the same bytes; the costs stand apart.
#pragma once
#include "basin/analysis/estimate.h"
#include "basin/analysis/hypothesis_tests.h"
#include "basin/figures/figure.h"
#include "basin/tools/study/schedule.h"

namespace basin::tools {

struct PairValues {  // one metric of one pair
  const StudyPair* pair = nullptr;
  const StudyMetric* metric = nullptr;
  std::vector<double> values = {};  // by seed, in the metric's unit; NaN: missing
  std::vector<double> present =
      {};              // those that are finite; of a logarithmic metric their logarithms
  int64_t failed = 0;  // trainings that failed
  // Mean and t interval; of a logarithmic metric geometric.
  Estimate mean = {};
  double deviation = 0;  // standard deviation over the seeds, of the values themselves
  double best = 0;       // best of n; never to be mistaken for the mean
};

struct Contrast {  // one metric of one network, optimizer against the baseline
  const PairValues* with = nullptr;
  const PairValues* baseline = nullptr;
  // Of a logarithmic metric all three are ratios.
  double difference = 0, low = 0, high = 0;
  double welch_p = 0, holm_p = 0, permutation_p = 0, floor_p = 0;
  std::optional<double> published = {};  // the same difference or ratio
  // agrees: the interval excludes "no difference" and lies on the published side; contradicts: it
  // excludes it on the other side; else undecided. Without published numbers: larger, smaller,
  // undecided.
  std::string verdict = {};
  bool excluded = false;  // the published value lies outside of the interval
  // Of Welch's test at 5 % and the deviations measured here, to see `sought`: the published
  // difference, or this one where none is. NaN and 0 where fewer than two seeds are there.
  double sought = 0;         // of a logarithmic metric a ratio
  double power = 0;          // with the seeds that are there
  int64_t seeds_needed = 0;  // of each optimizer for a power of 0.8; 0: unknown or above 10^6
};

struct StudyResults {
  std::vector<PairValues> values;  // by metric, network, optimizer
  std::vector<Contrast> contrasts;
};

// Where an interval lies against `none`, no difference, in the words of Contrast::verdict.
std::string verdict_of(double low, double high, double none, std::optional<double> published);

StudyResults results_of(const Study& study, const Schedule& schedule, Ledger& ledger);

// `conditions` with the numbers of runs that a figure of these values really has; the seeds are
// named only where none of them is missing.
FigureConditions conditions_over(FigureConditions conditions,
                                 std::span<const PairValues* const> drawn);

// Where a chosen cell lies at the end of a searched axis with a better neighbour not to be ruled
// out: "pointnet adamw: lr = 0.003 is the largest value searched".
std::vector<std::string> edge_warnings(const Study& study, const Schedule& schedule);

// Where several cells of the search's last round lie closer to the best than two seeds of the
// chosen cell lie to each other (1.96 sqrt(2 / n) standard deviations of its finished trainings,
// which are as long as a round of the search or longer; n: seeds of the search), so that another
// seed might choose another cell.
std::vector<std::string> tie_warnings(const Study& study, const Schedule& schedule, Ledger& ledger);

}  // namespace basin::tools
