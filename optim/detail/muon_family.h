// Two optimizers that share Muon's polar step.
//   NorMuon (arXiv 2510.05491): with O of Muon,  v = b2 v + (1-b2) mean over the row of O^2,
//     Oh = O / (sqrt(v) + eps) row by row, scaled to |Oh|_F = 0.2 sqrt(rows cols) (match_rms; the
//     paper) or to |O|_F (preserve_norm). Rows are scaled on the CPU.
//   PolarAdamW (arXiv 2605.07067): O = orthogonalise(D) of AdamW's direction
//     D = mh / (sqrt(vh) + eps). It keeps Muon's control of the spectrum, but since D is taken
//     element by element, not its equivariance under orthogonal changes of basis. The paper's
//     rate is unknown; 0.2 sqrt(max(rows, cols)) makes it AdamW's.
#pragma once
#include <vector>

#include "basin/optim/detail/muon.h"

namespace basin {

struct RowScaling {
  double beta2 = 0.95;
  double eps = 1e-10;
  bool match_rms = true;  // false: preserve_norm
};

class NorMuon : public Muon {
 public:
  NorMuon(const MuonConfig& config, const RowScaling& rows, const ParamList& params,
          const std::vector<GroupRule>& groups = {});
  bool recordable() const override { return false; }

 protected:
  Tensors updates(const Tensors& directions) override;

 private:
  RowScaling rows_;
  std::vector<std::vector<Tensor>> v_;  // [rows] f64 on the CPU, by matrix parameter and block
};

struct MomentDecay {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
};

class PolarAdamW : public PolarOptimizer {
 public:
  PolarAdamW(const MuonConfig& config, const MomentDecay& moments, const ParamList& params,
             const std::vector<GroupRule>& groups = {});

 protected:
  Tensors directions(const ParamList& params, const Tensors& grads) override;

 private:
  MomentDecay moments_;
  std::vector<Tensor> m_, v_;  // of every matrix parameter
};

}  // namespace basin
