// SGD with momentum: b = mu b + (1 - dampening) g (first step b = g); w -= lr b, or with Nesterov
// w -= lr (g + mu b). Weight decay is L2: wd w is added to g. Biases and gains are decayed as well
// unless decay_vectors = false.
#pragma once
#include <string>
#include <vector>

#include "basin/kernels/update.h"
#include "basin/optim/groups.h"
#include "basin/optim/optimizer.h"
#include "basin/optim/state.h"

namespace basin {

struct SgdConfig {
  double lr = 1e-2;
  double momentum = 0;
  double dampening = 0;
  bool nesterov = false;
  double weight_decay = 0;
  bool decay_vectors = true;
};

class Sgd : public Optimizer {
 public:
  Sgd(const SgdConfig& config, const ParamList& params, const std::vector<GroupRule>& groups = {});
  std::string_view name() const override { return "sgd"; }
  void step(ParamList& params, const Tensors& grads, const StepInfo& info) override;
  OptimizerState save() const override;
  void load(const OptimizerState& state) override;
  std::vector<RoutingRow> routing() const override { return rows_; }

 private:
  SgdConfig config_;
  ParamSignature signature_;
  std::vector<ParamSettings> settings_;
  std::vector<Tensor> buffers_;  // one per parameter; empty without momentum
  std::vector<SgdItem> items_;   // of one launch
  std::vector<RoutingRow> rows_;
  int64_t steps_ = 0;
};

}  // namespace basin
