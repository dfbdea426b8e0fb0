// L-BFGS (Nocedal 1980; Liu, Nocedal 1989) with a line search for the strong Wolfe conditions. All
// parameters are one vector x; with pairs s = x' - x, y = g' - g of the last `history` iterations
//   d = -H g,  H by the two-loop recursion from H0 = (s.y / y.y) I of the newest pair.
// One step() makes up to `iterations` of them on the batch of the step, so that the evaluation that
// it is given is one among many; pairs are of one batch by construction. It ends earlier where no
// |g| is above `tolerance` or no lower loss is found, and spends at most `evaluations`. Weight
// decay is L2: wd / 2 |x|^2 belongs to the function. Vectors are f64 on the CPU, losses and
// gradients come from where the parameters are. Not for noisy minibatches: LossUse::line_search.
#pragma once
#include <deque>
#include <vector>

#include "basin/optim/groups.h"
#include "basin/optim/optimizer.h"
#include "basin/optim/state.h"

namespace basin {

struct LbfgsConfig {
  double lr = 1;  // first trial step of a line search
  double weight_decay = 0;
  int64_t history = 20;
  int64_t iterations = 20;
  int64_t evaluations = 25;
  double tolerance = 1e-9;
  double c1 = 1e-3, c2 = 0.9;
};

class Lbfgs : public Optimizer {
 public:
  Lbfgs(const LbfgsConfig& config, const ParamList& params,
        const std::vector<GroupRule>& groups = {});  // usage error where there are groups
  std::string_view name() const override { return "lbfgs"; }
  LossUse loss_use() const override { return LossUse::line_search; }
  void step(ParamList& params, const Tensors& grads, const StepInfo& info) override;
  OptimizerState save() const override;
  void load(const OptimizerState& state) override;
  std::vector<RoutingRow> routing() const override { return rows_; }

 private:
  using Vector = std::vector<double>;
  struct Pair {
    Vector s, y;
  };
  struct Point {
    Vector x, g;
    double loss = 0;
  };
  Vector flat(const Tensors& tensors) const;
  Tensors unflat(const Vector& x, const ParamList& like) const;
  void add_decay(Point& point) const;
  Vector direction(const Vector& g) const;
  bool iterate(Point& at, const std::function<Point(const Vector&)>& evaluate, double first,
               int64_t& left);

  LbfgsConfig config_;
  ParamSignature signature_;
  std::vector<RoutingRow> rows_;
  std::vector<double> decay_;  // of each parameter
  int64_t elements_ = 0;
  std::deque<Pair> pairs_;  // oldest first
};

}  // namespace basin
