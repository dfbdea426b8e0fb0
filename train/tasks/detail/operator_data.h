// Operators as a task, learned from pairs of functions or from an equation alone: shared by the
// tasks whose network is a DeepONet.
//   batch    functions [N, m], points [P, d], [further columns per function,] truth [N, P]; for the
//            training split of an equation the points are those of its first term, those of its
//            others [P_t, d] stand before the truth, which is [0, P]
//   loss     mean squared error; of a split without truth, the sum over the terms of
//            weight mean r^2
//   report   rel_l2: the mean over functions of |u - truth|_2 / |truth|_2; max_error
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "basin/analysis/pde/random_field.h"
#include "basin/train/task.h"

namespace basin {

struct OperatorExamples {
  Tensor functions;   // [N, m] f64
  Tensor truth;       // [N, P]; [0, P]: not known, the terms say what is descended
  Tensor extra = {};  // [N, ..], what residuals want to know of a function; undefined: nothing
};

// What an equation or a condition leaves over. Derivatives in the place pass through the trunk of a
// DeepONet alone, so a term makes the trunk's jet once for all functions.
struct OperatorTerm {
  std::string name;
  double weight = 1;
  JetOrders orders;  // of the derivatives that `residual` reads, per coordinate
  // Those of draw 0, 1, ..: [P, d] f64, always the same P >= 1. Absent: the points of the data.
  std::function<Tensor(uint64_t seed, int64_t draw)> points = {};
  // [N, ..] from the network's jet, [N, P] per part.
  std::function<Tensor(const Jet& n, const Tensor& functions, const Tensor& extra)> residual;
};

struct OperatorData {
  Tensor points = {};  // [P, d]
  OperatorExamples train = {}, test = {};
  std::string description = {};
  std::vector<OperatorTerm> terms = {};  // absent: all examples have a truth
  int64_t resample = 0;  // steps after which the points of the terms are drawn anew; 0: never
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
