// Case hvp: what a Hessian-vector product costs, for the three networks at one size: as one shot
// (value and tangent in one sweep) and for each further probe of one recording, alone and of four
// that are given at once (in one sweep where an op shares work between them), beside a gradient, in
// time and in peak memory. Keys start with "hvp.".
#include "basin/tools/bench/network.h"

namespace basin::tools {

void run_hvp(const BenchOptions& options, BenchReport& report) {
  BenchOptions mine = options;
  if (mine.hvp_batch > 0) mine.batch = mine.hvp_batch;
  mine.hvp_batch = mine.batch;
  mine.parts = {"hvp"};
  mine.prefix = "hvp.";
  for (const auto run : {run_pointnet, run_dgcnn, run_egnn}) run(mine, report);
}

}  // namespace basin::tools
