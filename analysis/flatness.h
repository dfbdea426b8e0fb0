// Two measures of flatness that weigh curvature by the parameters themselves and so survive the
// rescaling of layers.
//   Fisher-Rao norm    w^T F w = (1/N) sum over examples of z^T M z, z = J w the derivative of the
//                      outputs along w itself (Liang et al. 2019): one forward sweep per batch.
//                      M is the Fisher matrix of the outputs: diag(p) - p p^T for logits, the
//                      identity for means of unit Gaussians.
//   relative flatness  of a layer W [out, in] with neurons w_s (rows):
//                      kappa = sum over s, s' of <w_s, w_s'> tr(H_ss'), H_ss' [in, in] the block of
//                      the Hessian between two neurons (Petzka et al. 2021).
// With Q = W R, R [in, in] of independent signs, E <Q, H Q> = kappa: Hutchinson's idea with probes
// that carry W on the left. A scaling W <- a W, next layer / a, leaves every single probe as it is.
#pragma once
#include <string>
#include <vector>

#include "basin/analysis/estimate.h"
#include "basin/analysis/loss_surface.h"

namespace basin {

enum class OutputModel : uint8_t { softmax, gaussian };

// The mean over the examples with the standard error over them. Every batch of the surface needs
// `outputs`, [B, classes] (softmax) or [B, ..] (gaussian). Only the parameters of the surface's
// space make up w. numerical error when an output is not finite.
Estimate fisher_rao_norm(const LossSurface& surface, OutputModel model = OutputModel::softmax,
                         double level = 0.95);

struct RelativeFlatnessOptions {
  int64_t probes = 100;
  // One product per probe for all layers together: unbiased as well, with the coupling between
  // layers as additional noise. false: a product per probe and layer.
  bool joint = true;
  double level = 0.95;
  uint64_t seed = 0;
  int64_t lanes = 8;  // vectors per apply()
};

struct LayerFlatness {
  std::string name;  // of the parameter, with "[b]" behind it when it holds several matrices
  int64_t rows = 0;
  int64_t cols = 0;
  Estimate estimate;
};
struct RelativeFlatness {
  std::vector<LayerFlatness> layers;  // every matrix of the space, by its logical view
  Estimate total;                     // their sum
  int64_t products = 0;
};

// `hessian` acts on `space`, the space of `params` at the same parameter values. usage error
// without a matrix in the space; numerical error naming the probe when a product is not finite.
RelativeFlatness relative_flatness(const SymmetricOperator& hessian, const ParameterSpace& space,
                                   const ParamList& params,
                                   const RelativeFlatnessOptions& options = {});

}  // namespace basin
