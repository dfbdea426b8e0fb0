// Sharpness-aware minimisation (Foret et al., arXiv 2010.01412) around any optimizer: a step takes
// the gradient at w + e instead of that at w,
//   e = rho g / |g|                         (SAM)
//   e = rho T^2 g / |T g|, T = |w| + eta    (ASAM, Kwon et al., arXiv 2102.11600)
// with norms over all parameters. One more evaluation per step, on the same batch; no state.
#pragma once
#include <memory>
#include <string>

#include "basin/optim/optimizer.h"

namespace basin {

struct SamConfig {
  double rho = 0.05;
  bool adaptive = false;
  double eta = 0.01;
};

class Sam : public Optimizer {
 public:
  Sam(const SamConfig& config, std::unique_ptr<Optimizer> inner);  // usage errors
  std::string_view name() const override { return inner_->name(); }
  LossUse loss_use() const override { return LossUse::again; }
  std::optional<InCharge> in_charge(const StepInfo& info) const override {
    return inner_->in_charge(info);
  }
  void look_ahead(ParamList& params) override { inner_->look_ahead(params); }
  void look_back(ParamList& params) override { inner_->look_back(params); }
  // numerical error, with nothing changed, where loss or gradient at w + e are not finite.
  void step(ParamList& params, const Tensors& grads, const StepInfo& info) override;
  OptimizerState save() const override { return inner_->save(); }
  void load(const OptimizerState& state) override { inner_->load(state); }
  std::vector<RoutingRow> routing() const override { return inner_->routing(); }

 private:
  Tensors shifted(const ParamList& params, const Tensors& grads) const;

  SamConfig config_;
  std::unique_ptr<Optimizer> inner_;
};

}  // namespace basin
