// Evaluation of a model on all batches of a source, in evaluation mode (running statistics, no
// dropout): the metrics of the task, summed in the order of the examples, so that the batch size
// enters only through the kernels.
#pragma once
#include <functional>
#include <optional>
#include <vector>

#include "basin/train/communicator.h"
#include "basin/train/task.h"

namespace basin {

struct Evaluation {
  std::vector<double> values;  // in the order of Task::metrics
  int64_t examples = 0;        // 0: not evaluated
};

// `stop`, if given, is asked between batches; once it says yes the result is empty.
// Batch i is the work of rank i modulo the number of processes; the meter of rank 0 sees all of
// them in order and tells the others what it found.
std::optional<Evaluation> evaluate(const Task& task, const ModelState& state, const Source& source,
                                   const std::function<bool()>& stop = {},
                                   const std::shared_ptr<Communicator>& shared = one_process());

// The predictions for one batch, in report units on the CPU; the state may be on a device.
Tensors predict(const Task& task, const ModelState& state, const Batch& batch);

}  // namespace basin
