// An optimizer with interventions on the spectra of its matrices (optim/interventions.h) around it:
// the penalties' gradients join those of the step, which are clipped already; after the step the
// spectra are set. Everything is a function of weights and step number but for what the state
// carries: what the matrices began with and the targets, which a resumed run does not read anew.
// `schedule_free` has its average set, not the sequence behind it.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "basin/optim/interventions.h"
#include "basin/optim/optimizer.h"

namespace basin {

class Intervention : public Optimizer {
 public:
  // usage errors; data errors of a file of targets that is unreadable or lacks a matrix
  Intervention(const SpectrumRule& spectrum, const PenaltyRule& penalty, const ParamList& params,
               std::unique_ptr<Optimizer> inner);
  std::string_view name() const override { return inner_->name(); }
  LossUse loss_use() const override { return inner_->loss_use(); }
  std::optional<InCharge> in_charge(const StepInfo& info) const override {
    return inner_->in_charge(info);
  }
  void look_ahead(ParamList& params) override { inner_->look_ahead(params); }
  void look_back(ParamList& params) override { inner_->look_back(params); }
  // numerical error where a matrix is not finite.
  void step(ParamList& params, const Tensors& grads, const StepInfo& info) override;
  OptimizerState save() const override;
  void load(const OptimizerState& state) override;
  std::vector<RoutingRow> routing() const override;

 private:
  struct Watched {
    ChosenMatrix at;
    Tensor targets;  // [points, 2] f64: after how many steps, value
    Tensor start;    // [p] f64, NaN before the first step; frozen only
    Tensor last;     // [4] f64, UpdateRecord::spectrum of the last intervention, else NaN
  };
  void begin(const ParamList& params, int64_t step);
  Tensors penalised(const ParamList& params, const Tensors& grads) const;
  void set_spectra(ParamList& params, int64_t step);
  // The matrix as it is to be (undefined: as it is), and the numbers of it.
  Tensor set_spectrum(const Tensor& w, size_t index, int64_t step, Tensor& numbers) const;
  void report(UpdateRecord record, const Tensors& grads, const Tensors& before) const;

  SpectrumRule rule_;
  PenaltyRule penalty_;
  std::unique_ptr<Optimizer> inner_;
  std::vector<Watched> watched_;
  std::vector<ChosenMatrix> penalised_;
};

}  // namespace basin
