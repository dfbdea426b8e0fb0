// Fully connected network of coordinates, u(x): what physics-informed losses train (Raissi,
// Perdikaris, Karniadakis 2019).
//   plain      h_0 = x,  h_l = phi(W_l h_(l-1) + b_l),  u = W h + b
//   modified   gates U = phi(W_U x + b_U), V alike: h <- h U + (1 - h) V after every hidden layer
//              (Wang, Teng, Perdikaris 2021)
//   fourier    x -> [cos(2 pi B x), sin(2 pi B x)] first, B [m, d] ~ N(0, sigma^2), fixed (Tancik
//              et al. 2020)
//   Input: points [B, d]. Output [B, outputs].
//   Names follow DeepXDE's PyTorch backend: linears.L.weight, linears.L.bias; the gates are
// gates.0 and gates.1. Weights start as Glorot normal (or uniform), biases at 0.
#pragma once
#include <string>

#include "basin/models/model.h"

namespace basin {

struct MlpConfig {
  int64_t inputs = 2;  // coordinates; a task sets it
  int64_t outputs = 1;
  int64_t width = 20;
  int64_t depth = 3;  // hidden layers
  Nonlinearity phi = Nonlinearity::tanh;
  bool modified = false;
  int64_t fourier = 0;  // m; 0: none
  double fourier_sigma = 1;
  uint64_t fourier_seed = 0;
  bool uniform = false;  // Glorot uniform
  // Jets of plain layers of tanh, sin or silu by the op mlp_jet; false: by the rules of nn/jet.h,
  // the same but for rounding.
  bool fused = true;
};

Model make_mlp(const MlpConfig& config);
ModelInfo mlp_info();

// The layers of such a network, for networks made of several.
class MlpPart {
 public:
  // Declares them in `layout` under `prefix`; `phi_last`: also the last layer is activated.
  MlpPart(Layout& layout, const std::string& prefix, const MlpConfig& config,
          bool phi_last = false);
  Tensor forward(const Pass& pass, const Tensor& x) const;  // [B, d] -> [B, outputs]
  Jet jet(const Pass& pass, const Tensor& x, const JetOrders& orders) const;  // in x [B, d]
  Jet jet(const Pass& pass, const Jet& x) const;  // of features x of other coordinates
  const MlpConfig& config() const { return config_; }
  // With gates all layers are mixed unit by unit, which makes one group of them.
  std::vector<HiddenUnits> hidden() const;

 private:
  template <class Value>
  Value run(const Pass& pass, Value x) const;
  Jet fused_jet(const Pass& pass, const Tensor& x, const JetOrders& orders) const;
  Tensor frequencies(const Tensor& like) const;

  MlpConfig config_;
  bool phi_last_ = false;
  std::vector<Linear> layers_;
  std::vector<Linear> gates_;  // two, or none
  Tensor frequencies_;         // 2 pi B, [m, d] f64
};

}  // namespace basin
