// Muon (K. Jordan, 2024) with the switches of its descendants (torch.optim.Muon; Moonlight, arXiv
// 2502.16982; Scion). Per matrix, with one momentum buffer B:
//   B = mu B + (1-mu) G (ema) or mu B + G (sum)
//   M = B, or with Nesterov (1-mu) G + mu B (ema), G + mu B (sum)
//   O = orthogonalise(M);  W *= 1 - lr wd (unadjusted lr);  W -= lr scale(rows, cols) O
// With a power p above 0 the update is O = U S^p V^T of M = U S V^T instead (1: SGD with momentum;
// between: the family of HTMuon, arXiv 2603.10067), by SVD on the CPU. Its size depends on p and on
// the gradient; magnitude `polar` scales it to sqrt(rank), that of p = 0, so that only the shape of
// the spectrum differs.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "basin/optim/detail/matrix_optimizer.h"
#include "basin/optim/newton_schulz.h"

namespace basin {

// original: sqrt(max(1, rows/cols));  match_rms_adamw: 0.2 sqrt(max(rows, cols));
// spectral: sqrt(rows/cols);  sqrt_max: sqrt(max(rows, cols));  none: 1.
enum class MuonScale : uint8_t { original, match_rms_adamw, spectral, sqrt_max, none };
enum class MomentumForm : uint8_t { ema, sum };
enum class Magnitude : uint8_t { keep, polar };

struct MuonConfig {
  double lr = 0.02;
  double weight_decay = 0;
  double momentum = 0.95;
  MomentumForm form = MomentumForm::ema;
  bool nesterov = true;
  OrthogonaliseConfig orthogonalise;
  double power = 0;
  Magnitude magnitude = Magnitude::keep;
  MuonScale scale = MuonScale::original;
  double scale_factor = 1;  // multiplies every scale mode
  // true: rows and cols of the scale are the last two axes of reference_shape, as in the reference
  // code (square kernels get 1). Unset: true under the reference view, false otherwise.
  std::optional<bool> legacy_conv_scale;
  RoutingConfig routing;
  AdamConfig auxiliary{3e-4, 0.9, 0.95, 1e-10, 0, true, false, true};
};

double muon_scale(MuonScale mode, int64_t rows, int64_t cols);

// The polar step of a direction: what Muon and its descendants share.
class PolarOptimizer : public MatrixOptimizer {
 protected:
  PolarOptimizer(std::string_view name, const MuonConfig& config, const ParamList& params,
                 const std::vector<GroupRule>& groups);
  Tensors updates(const Tensors& directions) override;
  const MuonConfig& config() const { return config_; }

 private:
  MuonConfig config_;
};

class Muon : public PolarOptimizer {
 public:
  Muon(const MuonConfig& config, const ParamList& params, const std::vector<GroupRule>& groups = {})
      : Muon("muon", config, params, groups) {}
  bool recordable() const override;

 protected:
  Muon(std::string_view name, const MuonConfig& config, const ParamList& params,
       const std::vector<GroupRule>& groups);
  Tensors directions(const ParamList& params, const Tensors& grads) override;

 private:
  std::vector<Tensor> buffers_;  // B of every matrix parameter
};

}  // namespace basin
