// The measures and symmetries of landscape_probe selftest.
#include "basin/tools/landscape_probe/detail/selftest.h"

#include "basin/analysis/loss_surface.h"
#include "basin/analysis/symmetry_check.h"

namespace basin::tools {

std::string selftest_table() {
  const SymmetryProblem problem = relu_mlp_problem();
  const SymmetryTable table = symmetry_self_test(
      problem.symmetries, landscape_measures(problem.batches),
      [&](const ParamList& params) { return LossSurface(problem.batches, params).loss(); });
  return "A small ReLU network rewritten by symmetries that leave its function as it is: relative "
         "change of each measure\n\n" +
         table.text();
}

}  // namespace basin::tools
