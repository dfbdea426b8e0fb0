// Sharpness in balls that move with the parameters: with c_i = |w_i| a rescaling of adjacent layers
// that leaves the network unchanged leaves the ball unchanged, which no Euclidean ball does (Dinh
// et al. 2017; adaptive sharpness: Kwon et al. 2021, Andriushchenko et al. 2023).
//   worst case    max_{||d / c||_p <= rho} L(w + d) - L(w),  p = 2 or infinity
//   average case  E L(w + d) - L(w),  d_i ~ N(0, rho^2 c_i^2)
//   small rho     rho ||c g||_q with 1/p + 1/q = 1, and rho^2 / 2 tr(diag(c) H diag(c))
// Other shapes of ball than c = |w| (analysis/ball_chart.h): c = 1, the plain ball (Foret et al.
// 2021), and products W X, X W with |X|_F <= rho, which follow rotations as well. Where w_i = 0 an
// adaptive ball has no extent. The worst case is a maximum over a non-concave function: what is
// returned is the best point found, a lower bound, never below the first-order point. With f32
// parameters a rise is resolved to about 1e-7 L(w) only.
#pragma once
#include "basin/analysis/ball_chart.h"
#include "basin/analysis/estimate.h"
#include "basin/analysis/loss_surface.h"
#include "basin/analysis/trace.h"

namespace basin {

enum class BallNorm : uint8_t { l2, linf };

struct WorstCaseOptions {
  BallNorm norm = BallNorm::l2;
  double rho = 0.05;
  BallShape shape = BallShape::elementwise;
  int64_t steps = 20;         // of ascent from each start: one gradient each
  int64_t random_starts = 1;  // beside the first-order point: of use where g is about 0
  uint64_t seed = 0;
};

struct WorstCase {
  double rise = 0;         // max over the points seen, w itself included: never negative
  double first_order = 0;  // L(w + d_1) - L(w), d_1 = argmax of <g, d>; below 0 where it descends
  double small_rho = 0;    // <g, d_1>; rho ||c g||_q in a ball of c
  // max <g(d), d' - d> over the ball, g(d) the gradient at the best point: what the linearisation
  // there still promises; 0 at a stationary point
  double gap = 0;
  int64_t steps = 0;      // of ascent that were accepted, all starts
  int64_t gradients = 0;  // evaluated
  int64_t failed = 0;     // points where the loss was not finite: not used, and counted
  Tensor displacement;    // d, [n] f64
};
// Projected ascent in the chart's coordinates, the step halved when it does not rise; a random
// start whose loss is not finite is drawn in by halves. linf is for the plain and elementwise
// shapes.
WorstCase worst_case_sharpness(const LossSurface& surface, const WorstCaseOptions& options = {});

struct AverageCaseOptions {
  double rho = 0.05;
  BallShape shape = BallShape::elementwise;
  int64_t pairs = 50;  // of probes d, -d: two losses each; the gradient's part cancels
  double level = 0.95;
  uint64_t seed = 0;
};
// numerical error when the loss at a probe is not finite. `samples` counts the pairs.
Estimate average_case_sharpness(const LossSurface& surface, const AverageCaseOptions& options = {});

// diag(c) A diag(c); its lambda_max times rho^2 / 2 is the small-rho limit of the worst case in l2
// at a minimum. `a` must outlive it.   c [n] f64
std::unique_ptr<SymmetricOperator> scaled_operator(const SymmetricOperator& a, const Tensor& c);

// The small-rho limit of the average case, rho^2 / 2 tr(diag(c) H diag(c)), by Hutchinson's
// estimator.   c [n] f64: w for the elementwise shape (signs cancel), 1 for the plain one
Estimate average_case_limit(const SymmetricOperator& hessian, const Tensor& c, double rho,
                            const TraceOptions& options = {});

}  // namespace basin
