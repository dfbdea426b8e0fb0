// Lion (Chen et al., arXiv 2302.06675):
//   c = b1 m + (1-b1) g;  w -= lr (sign c + wd w);  m = b2 m + (1-b2) g
// for every parameter, matrices and vectors alike. Its rate is 3 to 10 times below AdamW's.
#pragma once
#include <string>
#include <vector>

#include "basin/kernels/update.h"
#include "basin/optim/groups.h"
#include "basin/optim/optimizer.h"
#include "basin/optim/state.h"

namespace basin {

struct LionConfig {
  double lr = 1e-4;
  double beta1 = 0.9;
  double beta2 = 0.99;
  double weight_decay = 0;
  bool decay_vectors = true;
};

class Lion : public Optimizer {
 public:
  Lion(const LionConfig& config, const ParamList& params,
       const std::vector<GroupRule>& groups = {});
  std::string_view name() const override { return "lion"; }
  void step(ParamList& params, const Tensors& grads, const StepInfo& info) override;
  bool recordable() const override { return signature_.device() != Device::cpu && !observer(); }
  void prepare(const ParamList& params, const StepInfo& info) override;
  void apply(ParamList& params, const Tensors& grads) override;
  OptimizerState save() const override;
  void load(const OptimizerState& state) override;
  std::vector<RoutingRow> routing() const override { return rows_; }

 private:
  Tensors signs(const Tensors& grads);  // of c; m has moved on
  StepItem item(size_t i, const ParamList& params, const Tensor& sign, double lr_scale) const;

  LionConfig config_;
  ParamSignature signature_;
  std::vector<ParamSettings> settings_;
  std::vector<Tensor> m_;
  std::vector<RoutingRow> rows_;
  Tensor live_;  // what prepare() left for apply(): update.h
};

}  // namespace basin
