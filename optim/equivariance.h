// Does a step respect the geometry of a weight matrix? A change of basis of a layer's outputs and
// inputs, W -> P W Q with orthogonal P and Q, changes the loss to f'(W) = f(P^T W Q^T) and its
// gradient to P G Q. An optimizer is equivariant when its steps are then P dW Q too: what it learns
// does not depend on the basis, as in networks whose channels are defined up to a rotation. Muon's
// is, Adam's, which divides element by element, is not.
//   error = |dW' - P dW Q|_F / |dW|_F  after a few steps on f(W) = |A W B - C|^2 / 2 + 1, f64
// W is square and its gradients have full rank: of rank-deficient G G^T an eigenbasis is partly
// arbitrary, and SOAP, whose Adam feels the choice, then follows no change of basis.
#pragma once
#include <string>
#include <vector>

#include "basin/optim/registry.h"

namespace basin {

struct StepEquivariance {
  std::string optimizer;
  double left = 0;         // P random orthogonal, Q = I: basis of the outputs
  double right = 0;        // of the inputs
  double permutation = 0;  // both sides permuted, with signs
  double scale = 0;        // loss times 10: dW' against dW; 0 for a step that is scale invariant
  static bool holds(double error) {
    return error < 1e-6;
  }  // rounding is orders below, failure above
};

// The configuration as for any program: the optimizer's own defaults where nothing is said.
StepEquivariance step_equivariance(const OptimizerConfig& config, int64_t steps = 3,
                                   uint64_t seed = 0);
// Every registered optimizer with its defaults.
std::vector<StepEquivariance> step_equivariance_of_all();
// Aligned columns: optimizer, then yes or no with the error per change.
std::string format_equivariance_table(const std::vector<StepEquivariance>& rows);

}  // namespace basin
