// Sharpness by PAC-Bayes: the largest noise on the parameters that the loss tolerates,
//   scale = max { s : E L(w + d) - L(w) <= rise },
//   d_i ~ N(0, s^2)                     uniform: s = sigma
//   d_i ~ N(0, s^2 w_i^2 + epsilon^2)   magnitude-aware: s = alpha, each weight by its own size
// found by doubling and bisection with common random numbers, and the bound on the generalisation
// gap of losses in [0, 1] that this scale gives for N examples (McAllester 2003; Dziugaite and Roy
// 2017; Jiang et al. 2020), with probability 1 - confidence:
//   sqrt((KL + ln(2 N / confidence)) / (2 (N - 1)))
//   uniform:          KL = |w - w_0|^2 / (2 sigma^2), the prior N(w_0, sigma^2)
//   magnitude-aware:  KL = 1/2 sum_i ln(v / v_i), v_i = alpha^2 w_i^2 + epsilon^2, the prior
//                     N(w_0, v) with the v = mean_i(v_i + (w_i - w_0i)^2) that makes KL smallest
// As is customary the bound does not pay for choosing sigma, alpha and v by the data; it ranks
// networks, and is no certificate. Rescaling adjacent layers moves sigma and, but for epsilon, not
// alpha.
#pragma once
#include "basin/analysis/estimate.h"
#include "basin/analysis/loss_surface.h"

namespace basin {

struct PacBayesOptions {
  double rise = 0.1;
  bool magnitude_aware = true;
  double epsilon = 1e-3;    // magnitude-aware only
  int64_t pairs = 20;       // of probes d, -d; the same at every scale
  double tolerance = 1e-3;  // of the scale, relative
  double start = 0.01;      // where doubling or halving begins
  double confidence = 0.05;
  double level = 0.95;
  uint64_t seed = 0;
};

struct PacBayes {
  // The scale at which the mean over the probes crosses `rise`; its error is that of the mean,
  // divided by the slope there. Where the mean crosses more than once it is the crossing that
  // doubling (or halving) from `start` meets first. Infinite when the loss does not rise up to
  // 2^60 start, 0 when it rises even at 2^-60 start.
  Estimate scale;
  Estimate rise;  // mean rise over the pairs at that scale
  double kl = 0;
  double bound = 0;  // infinite for scale 0
  int64_t evaluations = 0;
};

// initial: w_0 [n] f64, undefined for 0. usage error for a rise or start that is not positive or
// fewer than 2 pairs. A loss that is not finite counts as one that has risen too far.
PacBayes pac_bayes_sharpness(const LossSurface& surface, int64_t examples,
                             const Tensor& initial = {}, const PacBayesOptions& options = {});

}  // namespace basin
