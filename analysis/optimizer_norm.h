// Curvature in the optimizer's own norm. lambda_max = max <u, H u> over the Euclidean unit ball is
// the curvature that gradient descent meets; other optimizers step in other balls:
//   Muon   the largest singular value of every weight matrix's step is bounded:
//          max <u, H u> over ||U_b||_2 <= 1 for every matrix block b   (spectral_ball_curvature)
//   Adam   steps are measured by the preconditioner P = sqrt(v) + eps:
//          lambda_max(P^(-1/2) H P^(-1/2)), to hold against (2 + 2 beta1) / ((1 - beta1) lr),
//          that is 38 / lr for beta1 = 0.9 (Cohen et al. 2022)
#pragma once
#include <vector>

#include "basin/analysis/curvature.h"

namespace basin {

// What bounds the parameters without a matrix view (biases, gains): their own ball of the l2 or the
// linf norm, or u = 0 there. One ball per parameter.
enum class VectorBall : uint8_t { none, l2, linf };

struct SpectralBallOptions {
  VectorBall vectors = VectorBall::none;
  int64_t random_starts = 3;
  Tensors starts = {};          // further ones, each [n] f64: a gradient, the top eigenvector
  int64_t max_iterations = 50;  // a product per start each
  double tolerance = 1e-4;      // of gap / value
  uint64_t seed = 0;
};

struct SpectralBallCurvature {
  // <u, H u> of the best start. A step lr u changes the loss by lr <g, u> + lr^2 / 2 <u, H u>, so
  // lr^2 / 2 max is the most that curvature takes back in one Muon step, to second order.
  double value = 0;
  // max <u', (H + shift) u> over the ball less <u, (H + shift) u>: 0 at a stationary point. With
  // shift 0 the point is stationary on the whole ball (a point of H >= 0 always is, once
  // converged); with a shift > 0, needed where H has negative curvature, among the extreme points.
  double gap = 0;
  double shift = 0;
  bool converged = false;      // gap <= tolerance |value|
  int64_t iterations = 0;      // of the best start
  int64_t products = 0;        // all starts
  std::vector<double> values;  // per start, the given ones first: their spread shows local maxima
  Tensor direction;            // u, [n] f64: every block has all singular values 1
};

// Maximises by u <- argmax over the ball of <u', (H + shift) u>, block by block the orthogonal
// polar factor U V^T of (H + shift) u (an f64 SVD): <u, H u> never falls, because all extreme
// points have one length and H + shift is made positive by raising the shift whenever it does. The
// problem is not concave (it contains max-cut), so `value` is a lower bound of the maximum, which
// is at most lambda_max times sum_b min(m_b, n_b) (and 1 more per l2 ball, n per linf ball). Where
// H is strongly indefinite, far from a minimum, the shift makes short steps and random starts begin
// below 0: give the eigenvector of lambda_max as a start. For the Gauss-Newton matrix no shift is
// ever needed.
// usage error without a matrix or without starts. Elements of a parameter outside its blocks are 0.
SpectralBallCurvature spectral_ball_curvature(const SymmetricOperator& hessian,
                                              const ParameterSpace& space, const ParamList& params,
                                              const SpectralBallOptions& options = {});

// P = sqrt(v / (1 - beta2^step)) + eps from Adam's second moments.   v [n] f64 -> [n]
Tensor adam_preconditioner(const Tensor& v, double beta2, int64_t step, double eps);
// P^(-1/2) A P^(-1/2), for Lanczos or power iteration. `a` must outlive it. Where P is infinite its
// root's inverse is 0: that parameter holds still. usage error when an element of P is not
// positive.   p [n] f64
std::unique_ptr<SymmetricOperator> preconditioned_operator(const SymmetricOperator& a,
                                                           const Tensor& p);

}  // namespace basin
