// A training step with AdamW on the CPU, plain and recorded once and replayed (train/step.h), in
// turn: time, and how many kernels, fills and copies of loss and gradient run per second.
#pragma once
#include "basin/nn/state.h"
#include "basin/tools/bench/bench.h"
#include "basin/train/task.h"

namespace basin::tools {

struct ReplayProblem {
  const Task& task;
  ModelState& state;
  const Batch& batch;
};
// Rows under KEY.plain and KEY.recorded; a step that cannot be recorded is timed plain, and the
// reason noted.
void measure_replay(const BenchOptions& options, const ReplayProblem& problem,
                    const std::string& key, BenchReport& report);

}  // namespace basin::tools
