// Schedule-free AdamW (Defazio et al., arXiv 2405.15682): no decay of the rate, an average instead.
//   y = (1-b1) z + b1 x           where the gradient g is taken (look_ahead)
//   v = b2 v + (1-b2) g^2;  z -= lr (g / (sqrt(v / (1-b2^t)) + eps) + wd y)
//   x = (1-c) x + c z,  c = w_t / sum of w up to t,  w_t = t^r (largest lr so far)^p
// Between steps the parameters are x, the weights to evaluate, save and probe; y exists from
// look_ahead() to step(). Wants the schedule `constant`, with warm-up. Running statistics of batch
// norm belong to y.
#pragma once
#include <string>
#include <vector>

#include "basin/kernels/update.h"
#include "basin/optim/groups.h"
#include "basin/optim/optimizer.h"
#include "basin/optim/state.h"

namespace basin {

struct ScheduleFreeConfig {
  double lr = 2.5e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  double weight_power = 0;     // r
  double weight_lr_power = 2;  // p
  bool decay_vectors = true;
};

class ScheduleFree : public Optimizer {
 public:
  ScheduleFree(const ScheduleFreeConfig& config, const ParamList& params,
               const std::vector<GroupRule>& groups = {});
  std::string_view name() const override { return "schedule_free"; }
  void look_ahead(ParamList& params) override;
  void look_back(ParamList& params) override;
  // usage error without look_ahead(): the gradient would belong elsewhere.
  void step(ParamList& params, const Tensors& grads, const StepInfo& info) override;
  OptimizerState save() const override;
  void load(const OptimizerState& state) override;
  std::vector<RoutingRow> routing() const override { return rows_; }

 private:
  ScheduleFreeConfig config_;
  ParamSignature signature_;
  std::vector<ParamSettings> settings_;
  std::vector<RoutingRow> rows_;
  std::vector<Tensor> z_, v_;
  Tensors x_;       // between look_ahead() and step(), else empty
  Tensor weights_;  // [2] f64 on the CPU: sum of w, largest lr_scale so far
  int64_t steps_ = 0;
};

}  // namespace basin
