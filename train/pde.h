// Physics-informed problems as tasks: a network u(x) of coordinates x = (x_1 .. x_d) is trained on
// the squares of what an equation and its conditions leave over at points (Raissi, Perdikaris,
// Karniadakis 2019):
//   loss = sum over the terms of weight mean_p r(u(x_p), x_p)^2
// A problem is a value; pde_task() makes the task, with which training, resume, probes, slices and
// reports come.
//   PdeProblem poisson;                       // u'' = f on [0, 1]
//   poisson.coordinates = {"x"};
//   poisson.terms = {{.name = "residual", .orders = {2}, .points = ...,
//                     .residual = [](const Jet& u, const Tensor& x) { return u.dd(0) - f(x); }}};
// A step takes all points, so that a step is an epoch and optimizers that want one fixed loss
// (L-BFGS) are at home. Points depend on (seed, how often they were drawn), never on the
// parameters.
//   Batches  of the training split: one slot per term, its points [P_t, d + extra], and "truth"
//            [0, C]; of the test split: "points" [Q, d], the other terms' slots empty, and truth
//            [Q, C]
//   Metrics  rel_l2 = |u - truth|_2 / |truth|_2 over the whole test set, and max_error
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "basin/nn/jet.h"
#include "basin/train/task.h"

namespace basin {

struct PdeTerm {
  std::string name;  // of the loss term: "residual", "boundary", "initial"
  double weight = 1;
  JetOrders orders;  // of the derivatives that `residual` reads, per coordinate
  // The points of draw 0, 1, ..: [P, d + extra] f64, always the same P >= 1. The network sees the
  // first d columns; the others are data, e.g. measured values.
  std::function<Tensor(uint64_t seed, int64_t draw)> points;
  // The points belong together, as nodes of a grid do that a matrix acts on: a limited request
  // takes them all.
  bool whole = false;
  // What is left over, [P, ..], in public ops; x [P, d + extra] in the dtype of u.
  std::function<Tensor(const Jet& u, const Tensor& x)> residual;
};

struct PdeProblem {
  std::vector<std::string> coordinates;  // their names; of two, the report draws the first to the
                                         // right
  int64_t outputs = 1;
  std::vector<PdeTerm> terms;  // at least one; probes look at the points of draw 0
  // u from the network's output n and the coordinates as jets, such that conditions hold exactly;
  // absent: u = n.
  std::function<Jet(const Jet& x, const Jet& n)> ansatz = {};
  int64_t resample = 0;  // steps after which all points are drawn anew; 0: never
  Tensor test_points;    // [Q, d] f64
  Tensor truth;          // [Q, outputs] f64
  // Where the test points are a grid of two coordinates, the first one fastest: its values, for
  // maps of solution, network, error and, unless its points are `whole`, the first term's residual.
  std::vector<double> grid_first = {}, grid_second = {};
  std::string source = "computed";  // of the truth: a file, or how it was found
  std::string description = {};     // one line for reports
};

// The network's option "inputs" is set to d where it has one. usage errors of the problem.
Task pde_task(PdeProblem problem, const TaskConfig& config);

// Objective::terms of residuals, one tensor each: weight_t times the mean square of the t-th.
Fn mean_squares(std::vector<double> weights);

// What programs set for such a task before any recipe: f64, an evaluation every 500 steps, 10,000
// steps.
std::vector<RecipeRow> pde_defaults();

}  // namespace basin
