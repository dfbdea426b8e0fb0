// SpecMuon (Lu, Zhang, Lin, arXiv 2602.16167): Muon whose leading singular modes carry an energy
// variable each. The paper was not at hand; the rule follows public transcriptions of its Algorithm
// 1 ("norm") and of its method section ("squared"), which differ. Per matrix, E = sqrt(L + kappa):
//   Gh = G / (|G|_F + eps) = U diag(s) V^T
//   j <= k:  h_j = eta / (s_j + eps)^beta,  g_j = s_j / (E + eps)
//            rn_j = r_j / (1 + h_j g_j / 2) (norm),  r_j / (1 + h_j g_j^2 / 2) (squared)
//            O = sum_j rn_j / (E + eps) u_j v_j^T
//   j >  k:  O += s_j u_j v_j^T (tail: gradient), u_j v_j^T (muon) or nothing (zero)
//   B = mu B + O;  W -= eta B                      (momentum of O; or M = mu M + G in place of G)
// then r_j <- relaxation of rn_j (sav.h):
//   printed        the paper's clamp, with the loss before the step
//   lazy           exact, at the beginning of the next step, with its loss
//   extra_forward  exact, with the loss of the same batch after the step: one more forward pass
//   none           r_j <- rn_j
// What to know of it: with beta = 1 the norm form has h_j g_j = eta / E, s_j cancels, and all r_j
// fall alike, so nothing there is mode by mode. r never grows, and with a small xi it collapses and
// the leading modes freeze; `reset` puts r_j = E where r_j / E falls below it, against the energy
// law. Gh has norm 1 at a minimum too, so that the rate must decay. Modes whose s_j is rounding
// noise have no direction and are left out; r_j stays, but for what lazy relaxation moves.
// Presets: paper (norm, printed, xi .2) and robust (squared, lazy, xi .95); both k 6, mu .9.
// Decompositions run on the CPU in f64, the k leading triples alone where that is cheaper and the
// tail allows it. Everything else goes to an auxiliary AdamW. SVD back-ends differ where s_k and
// s_k+1 nearly agree.
#pragma once
#include <vector>

#include "basin/optim/detail/matrix_optimizer.h"

namespace basin {

enum class SavForm : uint8_t { norm, squared };
enum class Relaxation : uint8_t { printed, lazy, extra_forward, none };
enum class Tail : uint8_t { gradient, muon, zero };
enum class MomentumPlace : uint8_t { post, pre };  // of O, or of G
enum class SvdChoice : uint8_t { automatic, full, top };

struct SpecMuonConfig : MatrixRules {
  double momentum = 0.9;
  bool nesterov = false;
  MomentumPlace place = MomentumPlace::post;
  SavForm form = SavForm::squared;
  Relaxation relaxation = Relaxation::lazy;
  double smoothing = 0.95;  // xi
  int64_t modes = 6;        // k; fewer where the matrix has fewer; 0: no energy variables
  // 0: off. Else only the first modes are taken whose s_j^2 sum to this share; r_j of others stays.
  double energy_share = 0;
  double sigma_power = 1;  // beta
  double eps = 1e-8;
  double kappa = 0;  // added to the loss, whose root is taken
  double reset = 0;
  Tail tail = Tail::gradient;
  SvdChoice svd = SvdChoice::automatic;
};

class SpecMuon : public MatrixOptimizer {
 public:
  SpecMuon(const SpecMuonConfig& config, const ParamList& params,
           const std::vector<GroupRule>& groups = {});
  void step(ParamList& params, const Tensors& grads, const StepInfo& info) override;
  LossUse loss_use() const override {
    return config_.relaxation == Relaxation::extra_forward ? LossUse::again : LossUse::given;
  }

 protected:
  Tensors directions(const ParamList& params, const Tensors& grads) override;
  Tensors updates(const Tensors& directions) override;
  // [blocks, k] each: s, r (of this step), rn, r_over_e, scale, dissipation, and slack = r^2 -
  // r_0^2 + (1-xi) D_0 against the step before (r_0, D_0), at most 0 where the energy law holds.
  void describe(size_t i, UpdateRecord& record) const override;

 private:
  struct Modes {
    Tensor r, next, dissipation;      // [k'] f64: r_j of the last step, its rn_j and D_j
    Tensor s, current, scale, slack;  // of this step, for the observer
  };
  void relax(Modes& modes, double energy) const;
  Tensor spectral_step(Modes& modes, const Tensor& gradient, double rate) const;
  double energy(double loss) const;

  SpecMuonConfig config_;
  std::vector<std::vector<Modes>> modes_;  // by matrix parameter and block
  std::vector<Tensor> buffers_;
};

}  // namespace basin
