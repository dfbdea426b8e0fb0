// Adam (Kingma, Ba 2015), AdamW (Loshchilov, Hutter 2019) and AMSGrad (Reddi et al. 2018):
//   m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;  w -= lr * mh / (sqrt(vh) + eps),
//   mh = m / (1-b1^t), vh = v / (1-b2^t); AMSGrad puts max over time of v in place of v.
// Decay: decoupled w *= 1 - lr wd before the step (AdamW), or L2, g += wd w (Adam).
// As in the reference codes biases and gains are decayed too; decay_vectors = false exempts them.
// Moments have the parameter's dtype and device, bias corrections are computed in f64.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "basin/kernels/update.h"
#include "basin/optim/groups.h"
#include "basin/optim/optimizer.h"
#include "basin/optim/state.h"

namespace basin {

struct AdamConfig {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  bool decoupled = false;  // true: AdamW
  bool amsgrad = false;
  bool decay_vectors = true;
};

// The update on a chosen subset of the parameters: all of Adam, and the auxiliary part of Muon.
class AdamRule {
 public:
  AdamRule(AdamConfig config, const ParamList& params, std::vector<ParamSettings> subset);
  void step(ParamList& params, const Tensors& grads, const StepInfo& info,
            const UpdateObserver& observer);
  // The halves of a step on a device (Optimizer::prepare and apply).
  void prepare(const ParamList& params, const StepInfo& info);
  void apply(ParamList& params, const Tensors& grads);
  void save(OptimizerState& state) const;
  void load(StateReader& reader);  // takes effect at commit()
  void commit();
  const std::vector<ParamSettings>& settings() const { return subset_; }
  int64_t steps() const { return steps_; }  // made so far
  std::string_view rule() const { return config_.decoupled ? "adamw" : "adam"; }

 private:
  struct Moments {
    std::string name;
    Tensor m, v, vmax;  // vmax only with amsgrad
  };
  AdamNumbers numbers() const;  // of step steps_
  AdamItem item(size_t i, const ParamList& params, const Tensors& grads, double lr_scale) const;

  AdamConfig config_;
  std::vector<ParamSettings> subset_;
  std::vector<Moments> moments_, loaded_;
  std::vector<AdamItem> items_;  // of one launch
  Tensor live_;                  // what prepare() left for apply(): update.h
  int64_t steps_ = 0, loaded_steps_ = 0;
};

class Adam : public Optimizer {
 public:
  Adam(const AdamConfig& config, const ParamList& params,
       const std::vector<GroupRule>& groups = {});
  std::string_view name() const override { return rule_.rule(); }
  void step(ParamList& params, const Tensors& grads, const StepInfo& info) override;
  bool recordable() const override;
  void prepare(const ParamList& params, const StepInfo& info) override;
  void apply(ParamList& params, const Tensors& grads) override;
  OptimizerState save() const override;
  void load(const OptimizerState& state) override;
  std::vector<RoutingRow> routing() const override { return rows_; }

 private:
  ParamSignature signature_;
  AdamRule rule_;
  std::vector<RoutingRow> rows_;
};

}  // namespace basin
