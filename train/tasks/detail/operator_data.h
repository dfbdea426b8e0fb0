// Pairs of functions that operators are learned from, as a task: shared by the tasks whose network
// is a DeepONet.
//   batch    functions [N, m], points [P, d], [further columns per function,] truth [N, P]
//   loss     mean squared error, or the physics of a split without truth
//   report   rel_l2: the mean over functions of |u - truth|_2 / |truth|_2; max_error
#pragma once
#include <functional>
#include <string>

#include "basin/analysis/pde/random_field.h"
#include "basin/train/task.h"

namespace basin {

struct OperatorExamples {
  Tensor functions;   // [N, m] f64
  Tensor truth;       // [N, P]; [0, P]: not known, `physics` says what is descended
  Tensor extra = {};  // [N, ..], what physics wants to know of a function; undefined: nothing
};

struct OperatorData {
  Tensor points;  // [P, d]
  OperatorExamples train, test;
  std::string description;
  // What is left over of an equation at the points, [N, ..], from the network's jet: [N, P] per
  // part. Absent: all examples have a truth.
  JetOrders orders = {};
  std::function<Tensor(const Jet& n, const Tensor& extra)> physics = {};
  // The solution from the network's values n [N, P]; absent: n.
  std::function<Tensor(const Tensor& n, const Tensor& extra)> solution = {};
};

// The network's options "sensors" and "coordinates" are set.
Task operator_task(const TaskConfig& config, OperatorData data);

// The options train, test and data_seed of such a task, and the functions they name: the training
// functions are the first ones of the seed, those of the test follow.
std::vector<OptionInfo> operator_options(int64_t train, int64_t test);
struct OperatorSpans {
  FieldSpan train, test;
};
OperatorSpans operator_spans(const OptionReader& options);

// Places (x_i, t_j), x fastest: [n m, 2].
Tensor places(const Tensor& x, const Tensor& t);

}  // namespace basin
