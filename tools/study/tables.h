// The tables of a study as files:
//   tables/results.{csv,md,tex}    per network and optimizer: chosen cell, n, mean, interval,
//                                  deviation, best of n, failures, for every metric
//   tables/contrasts.{csv,md,tex}  every optimizer against the baseline: difference or ratio with
//                                  interval, Welch's p, Holm's, permutation's and its floor, what
//                                  was published, the verdict
//   tables/power.{csv,md,tex}      per contrast the power of Welch's test with the seeds that are
//                                  there, and the seeds that would decide it
//   tables/matched.{csv,md,tex}    curvature along the trainings at equal loss (sections.h)
//   tables/search.csv              every cell of every round with its judgement
//   tables/runs.csv                every training at a chosen cell with its metrics
//   tables/cost.{csv,md,tex}       time of the jobs; the only table that differs between two runs
#pragma once
#include "basin/tools/landscape_probe/tables.h"
#include "basin/tools/study/results.h"

namespace basin::tools {

NamedTable results_table(const StudyResults& results);
NamedTable contrasts_table(const Study& study, const StudyResults& results);
NamedTable power_table(const StudyResults& results);
NamedTable cost_table(const Schedule& schedule, Ledger& ledger);
std::string search_csv(const Study& study, const Schedule& schedule);
std::string runs_csv(const Study& study, const Schedule& schedule, Ledger& ledger);

// Markdown, LaTeX and CSV of each, into DIR/tables.
void write_tables(const fs::path& dir, const Study& study, const Schedule& schedule,
                  const StudyResults& results, Ledger& ledger);

std::string metric_title(const StudyMetric& metric);  // "accuracy, %"
// "3.2 % [1.1, 5.3]" or "21.8x [4.1, 110]"; "no value" without one.
std::string contrast_text(const Contrast& contrast);

}  // namespace basin::tools
