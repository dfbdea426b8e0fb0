// Which measures of flatness are measures of the function, and which of its parameterisation: known
// symmetries of a network are applied to its parameters, and every measure is taken before and
// after. The loss does not move, by definition; a measure that does says something about the
// coordinates (Dinh et al. 2017).
//   rescaling across a ReLU    W_1, b_1 <- a W_1, a b_1, W_2 <- W_2 / a  (a > 0, per layer or unit)
//   permutation of units       rows of W_1, b_1 and columns of W_2
//   rotation of a linear pair  W_2, b_2 <- R W_2, R b_2,  W_3 <- W_3 R^T
// Batch normalisation behind W_1 makes its rescaling a symmetry of its own (W_1 <- a W_1 alone).
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "basin/analysis/curvature.h"
#include "basin/analysis/estimate.h"

namespace basin {

struct Symmetry {
  std::string name;
  ParamList before;
  ParamList after;  // the same function of the inputs
};

struct Measure {
  std::string name;
  std::function<Estimate(const ParamList&)> value;
};

// An exact number as a Measure's value.
Estimate exact_estimate(double value);

struct SymmetryCell {
  Estimate before;
  Estimate after;
  double change = 0;  // (after - before) / max(|before|, |after|); 0 when both are 0
  // |change| beyond the tolerance, and |after - before| beyond 4 standard errors where the values
  // come with errors
  bool moved = false;
};

struct SymmetryTable {
  std::vector<std::string> measures;
  std::vector<std::string> symmetries;
  std::vector<SymmetryCell> cells;  // [measures, symmetries]
  const SymmetryCell& at(size_t measure, size_t symmetry) const {
    return cells[measure * symmetries.size() + symmetry];
  }
  // Aligned columns: "same" or the relative change, one line per measure.
  std::string text() const;
};

struct SymmetryTestOptions {
  double tolerance = 1e-6;       // of a measure's relative change
  double loss_tolerance = 1e-9;  // of the loss's: beyond it the symmetry is none
};

// usage error naming the symmetry when `loss` differs before and after, or when a symmetry changes
// names or shapes; numerical error naming measure and symmetry when a value is not finite.
SymmetryTable symmetry_self_test(const std::vector<Symmetry>& symmetries,
                                 const std::vector<Measure>& measures,
                                 const std::function<double(const ParamList&)>& loss,
                                 const SymmetryTestOptions& options = {});

// A small problem with all three symmetries, f64, trained for some steps so that it lies near a
// minimum:  logits = W_3 (W_2 relu(W_1 x + b_1) + b_2) + b_3,  cross entropy on 64 examples.
struct SymmetryProblem {
  ParamList params;
  std::vector<LossBatch> batches;
  // rescaling by 3; rescaling unit by unit; permutation; rotation
  std::vector<Symmetry> symmetries;
};
SymmetryProblem relu_mlp_problem(uint64_t seed = 0);

// The measures of analysis/ on such a problem: lambda_max and trace of the Hessian, plain and
// adaptive sharpness, Fisher-Rao norm, relative flatness, PAC-Bayes scales, curvature in the norms
// of Muon and Adam. Exact or Monte Carlo by the size of the problem: n of a few hundred at most.
std::vector<Measure> landscape_measures(const std::vector<LossBatch>& batches);

}  // namespace basin
