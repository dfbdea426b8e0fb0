// Muon (K. Jordan, 2024) with the switches of its descendants (torch.optim.Muon; Moonlight, arXiv
// 2502.16982; Scion). Per matrix, with one momentum buffer B:
//   B = mu B + (1-mu) G (ema) or mu B + G (sum)
//   M = B, or with Nesterov (1-mu) G + mu B (ema), G + mu B (sum)
//   O = orthogonalise(M);  W *= 1 - lr wd (unadjusted lr);  W -= lr scale(rows, cols) O
// Everything that routing.h does not send to Muon goes to an auxiliary AdamW with its own lr and
// decay, driven by the same schedule. As in the reference code vectors are decayed by
// aux_weight_decay too; decay_vectors = false exempts them.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "basin/optim/detail/adam.h"
#include "basin/optim/newton_schulz.h"
#include "basin/optim/routing.h"

namespace basin {

// original: sqrt(max(1, rows/cols));  match_rms_adamw: 0.2 sqrt(max(rows, cols));
// spectral: sqrt(rows/cols);  sqrt_max: sqrt(max(rows, cols));  none: 1.
enum class MuonScale : uint8_t { original, match_rms_adamw, spectral, sqrt_max, none };
enum class MomentumForm : uint8_t { ema, sum };

struct MuonConfig {
  double lr = 0.02;
  double weight_decay = 0;
  double momentum = 0.95;
  MomentumForm form = MomentumForm::ema;
  bool nesterov = true;
  OrthogonaliseConfig orthogonalise;
  MuonScale scale = MuonScale::original;
  double scale_factor = 1;  // multiplies every scale mode
  // true: rows and cols of the scale are the last two axes of reference_shape, as in the reference
  // code (square kernels get 1). Unset: true under the reference view, false otherwise.
  std::optional<bool> legacy_conv_scale;
  RoutingConfig routing;
  AdamConfig auxiliary{3e-4, 0.9, 0.95, 1e-10, 0, true, false, true};
};

double muon_scale(MuonScale mode, int64_t rows, int64_t cols);

class Muon : public Optimizer {
 public:
  Muon(const MuonConfig& config, const ParamList& params,
       const std::vector<GroupRule>& groups = {});
  std::string_view name() const override { return "muon"; }
  void step(ParamList& params, const Tensors& grads, const StepInfo& info) override;
  bool recordable() const override;
  void prepare(const ParamList& params, const StepInfo& info) override;
  void apply(ParamList& params, const Tensors& grads) override;
  OptimizerState save() const override;
  void load(const OptimizerState& state) override;
  std::vector<RoutingRow> routing() const override { return rows_; }

 private:
  struct Matrix {
    ParamSettings settings;
    std::vector<MatrixBlock> blocks;
    std::vector<double> scales;  // one per block
    std::string name;
    Tensor buffer;  // B
  };
  // One item per logical matrix; without updates for their numbers alone.
  void add_items(size_t i, const ParamList& params, const Tensor& update, double lr_scale,
                 std::vector<StepItem>& items) const;
  Tensors momentum_step(const ParamList& params, const Tensors& grads);  // M, one per matrix param
  Tensors orthogonalised(const Tensors& directions) const;               // O of each M

  MuonConfig config_;
  ParamSignature signature_;
  Device device_ = Device::cpu;
  std::vector<Matrix> matrices_;
  std::vector<RoutingRow> rows_;
  Tensor live_;                        // what prepare() left for apply(): kernels/update.h
  std::optional<AdamRule> auxiliary_;  // set in the constructor
};

}  // namespace basin
