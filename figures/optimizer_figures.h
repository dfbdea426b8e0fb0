// Optimizers side by side over several runs each (seeds): training loss and metrics against steps
// and against seconds, mean with its t interval over the runs. On a logarithmic axis mean and
// interval are those of the logarithms (geometric); at each step they are over the runs that have a
// finite value there (a positive one on a logarithmic axis), and the CSV counts them. Against
// seconds a point stands at the mean of what its runs had taken by that step.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "basin/analysis/estimate.h"
#include "basin/figures/figure.h"

namespace basin {

struct RunCurve {
  std::vector<double> steps;    // ascending
  std::vector<double> seconds;  // since the start of the run, one per step
  std::vector<double> values;   // one per step; NaN: none
};
struct OptimizerRuns {
  std::string optimizer;
  std::vector<RunCurve> runs;
};
struct ComparedQuantity {
  std::string name;  // with its unit
  bool log_axis = false;
  std::vector<OptimizerRuns> optimizers;
};
struct OptimizerComparison {
  std::string title = "Optimizers over steps and seconds";
  std::vector<ComparedQuantity> quantities;  // a row of two panels each
  FigureConditions conditions = {};
};

// The mean of what is drawable among the values with its t interval (of one value: none); without
// any, NaN of no samples. geometric: of the logarithms, given back as exp.
Estimate mean_of_runs(std::span<const double> values, bool geometric, double level = 0.95);

// The figure "optimizers". CSV: quantity, optimizer, kind ("mean", "run 1"..), step, seconds,
// value, low, high, n. usage error without quantities, without a run, or for lengths that differ.
Figure optimizer_comparison_figure(const OptimizerComparison& data);

}  // namespace basin
