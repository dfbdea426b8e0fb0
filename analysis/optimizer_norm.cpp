// Conditional-gradient ascent of a quadratic over a product of spectral-norm balls, all starts in
// one apply(), and the operator in Adam's metric.
#include "basin/analysis/optimizer_norm.h"

#include <algorithm>
#include <cmath>

#include "basin/analysis/detail/orthonormal_basis.h"
#include "basin/analysis/sharpness.h"
#include "basin/core/error.h"
#include "basin/core/parallel.h"
#include "basin/core/random.h"
#include "basin/kernels/gemm.h"
#include "basin/kernels/linalg.h"

namespace basin {
namespace {

// One ball of the product: a matrix block, or the whole of a parameter without one.
struct Ball {
  int64_t at = 0;  // in the vector
  int64_t rows = 0;
  int64_t cols = 0;
  bool matrix = true;
  int64_t numel() const { return rows * cols; }
};

std::vector<Ball> balls_of(const ParameterSpace& space, const ParamList& params,
                           VectorBall vectors) {
  std::vector<Ball> out;
  for (size_t m = 0; m < space.indices().size(); ++m) {
    const Param& p = params[space.indices()[m]];
    for (const MatrixBlock& b : p.view) {
      out.push_back({space.offset(m) + b.offset, b.rows, b.cols, true});
    }
    if (p.view.empty() && vectors != VectorBall::none) {
      out.push_back({space.offset(m), 1, p.value.numel(), false});
    }
  }
  return out;
}

// u <- the point of the ball with the largest <u, g>, an extreme one; returns that maximum, the
// dual norm of g. Where g is zero u stays as it is.   u, g: the ball's elements
double polar_factor(const Ball& ball, const double* g, double* u) {
  Tensor a = Tensor::empty({ball.rows, ball.cols}, DType::f64);
  std::copy_n(g, ball.numel(), a.mutable_data<double>());
  const SvdFactors f = Svd::cpu(a);
  double sum = 0;
  for (int64_t i = 0; i < f.s.numel(); ++i) sum += f.s.data<double>()[i];
  if (sum == 0) return 0;
  const int64_t p = f.s.numel();
  gemm_serial<double>(false, false, ball.rows, ball.cols, p, 1.0, f.u.data<double>(), p,
                      f.vt.data<double>(), ball.cols, 0.0, u, ball.cols);
  return sum;
}

double vector_maximiser(const Ball& ball, VectorBall kind, const double* g, double* u) {
  double sum = 0;
  for (int64_t i = 0; i < ball.numel(); ++i) {
    sum += kind == VectorBall::l2 ? g[i] * g[i] : std::abs(g[i]);
  }
  if (sum == 0) return 0;
  if (kind == VectorBall::l2) {
    sum = std::sqrt(sum);
    for (int64_t i = 0; i < ball.numel(); ++i) u[i] = g[i] / sum;
  } else {
    for (int64_t i = 0; i < ball.numel(); ++i) {
      if (g[i] != 0) u[i] = g[i] > 0 ? 1 : -1;
    }
  }
  return sum;
}

// The maximiser of <., g> over all balls, from u; returns the maximum.
double maximiser(const std::vector<Ball>& balls, VectorBall kind, const Tensor& g, Tensor& u) {
  std::vector<double> parts(balls.size(), 0.0);
  double* y = u.mutable_data<double>();
  const double* x = g.data<double>();
  parallel_tiles(static_cast<int64_t>(balls.size()), [&](int64_t b) {
    const Ball& ball = balls[b];
    parts[b] = ball.matrix ? polar_factor(ball, x + ball.at, y + ball.at)
                           : vector_maximiser(ball, kind, x + ball.at, y + ball.at);
  });
  double sum = 0;
  for (const double p : parts) sum += p;
  return sum;
}

// The way of one start.
struct Walk {
  Tensor u, hu;      // the accepted point and H u
  double value = 0;  // <u, H u>
  Tensor next;       // proposed from them
  double gap = 0;    // of u under the shift that proposed `next`
  double shift = 0;
  int64_t iterations = 0;
  bool converged = false;
};

void propose(const std::vector<Ball>& balls, const SpectralBallOptions& options, Walk& w) {
  Tensor g = w.hu.clone();
  if (w.shift > 0) add_scaled(g, w.shift, w.u);
  w.next = w.u.clone();
  const double best = maximiser(balls, options.vectors, g, w.next);
  w.gap = std::max(0.0, best - dot_product(g, w.u));
  w.converged = w.gap <= options.tolerance * std::abs(w.value);
}

// Takes the proposal and its product when the value did not fall, or raises the shift.
void accept(Walk& w, const Tensor& h) {
  const double value = dot_product(w.next, h);
  if (!std::isfinite(value)) {
    fail(ErrorKind::numerical, "spectral_ball_curvature: a product is not finite");
  }
  ++w.iterations;
  if (w.hu.defined() && value < w.value - 1e-12 * std::abs(w.value)) {
    w.shift = std::max(2 * w.shift, 0.1 * norm(w.hu) / norm(w.u));
    return;
  }
  w.u = w.next;
  w.hu = h;
  w.value = value;
}

// A start anywhere becomes the extreme point that is largest along it.
Walk walk_from(const std::vector<Ball>& balls, VectorBall vectors, const Tensor& start) {
  Walk w;
  w.next = Tensor::zeros(start.shape(), DType::f64);
  double* y = w.next.mutable_data<double>();
  for (const Ball& ball : balls) {  // where the start is zero: any extreme point
    for (int64_t i = 0; i < std::min(ball.rows, ball.cols); ++i) {
      y[ball.at + i * (ball.cols + 1)] = 1;
    }
    if (!ball.matrix && vectors == VectorBall::linf) std::fill_n(y + ball.at, ball.numel(), 1.0);
  }
  maximiser(balls, vectors, start, w.next);
  return w;
}

}  // namespace

SpectralBallCurvature spectral_ball_curvature(const SymmetricOperator& hessian,
                                              const ParameterSpace& space, const ParamList& params,
                                              const SpectralBallOptions& options) {
  const int64_t n = space.size();
  check(hessian.size() == n, "spectral_ball_curvature: the operator has size ", hessian.size(),
        ", the space ", n);
  check(options.random_starts >= 0 && options.max_iterations >= 1 && options.tolerance >= 0 &&
            options.random_starts + static_cast<int64_t>(options.starts.size()) >= 1,
        "spectral_ball_curvature: needs at least one start and one iteration");
  const std::vector<Ball> balls = balls_of(space, params, options.vectors);
  check(std::any_of(balls.begin(), balls.end(), [](const Ball& b) { return b.matrix; }),
        "spectral_ball_curvature: no parameter of the space has a matrix view");
  std::vector<Walk> walks;
  for (const Tensor& start : options.starts) {
    check(start.defined() && start.dtype() == DType::f64 && start.shape() == Shape({n}),
          "spectral_ball_curvature: a start must be a vector of ", n, " f64 numbers");
    walks.push_back(walk_from(balls, options.vectors, start));
  }
  for (int64_t r = 0; r < options.random_starts; ++r) {
    const uint64_t stream = stream_id("spectral_ball_curvature", static_cast<uint64_t>(r));
    walks.push_back(walk_from(balls, options.vectors, normal_vector(n, options.seed, stream)));
  }
  SpectralBallCurvature out;
  for (int64_t k = 0; k < options.max_iterations; ++k) {
    std::vector<Walk*> active;
    for (Walk& w : walks) {
      if (!w.converged) active.push_back(&w);
    }
    if (active.empty()) break;
    Tensor lanes = Tensor::empty({static_cast<int64_t>(active.size()), n}, DType::f64);
    for (size_t l = 0; l < active.size(); ++l) {
      std::copy_n(active[l]->next.data<double>(), n, lanes.mutable_data<double>() + l * n);
    }
    const Tensor h = hessian.apply(lanes);
    out.products += static_cast<int64_t>(active.size());
    for (size_t l = 0; l < active.size(); ++l) {
      accept(*active[l], copy_row(h, static_cast<int64_t>(l)));
      propose(balls, options, *active[l]);
    }
  }
  const Walk* best = &walks[0];
  for (const Walk& w : walks) {
    out.values.push_back(w.value);
    if (w.value > best->value) best = &w;
  }
  out.value = best->value;
  out.gap = best->gap;
  out.shift = best->shift;
  out.converged = best->converged;
  out.iterations = best->iterations;
  out.direction = best->u;
  return out;
}

Tensor adam_preconditioner(const Tensor& v, double beta2, int64_t step, double eps) {
  check(v.defined() && v.dtype() == DType::f64, "adam_preconditioner: v must be f64");
  check(beta2 >= 0 && beta2 < 1 && step >= 1 && eps >= 0, "adam_preconditioner: got beta2 ", beta2,
        ", step ", step, ", eps ", eps);
  const double correction = 1 - std::pow(beta2, static_cast<double>(step));
  Tensor p = Tensor::empty(v.shape(), DType::f64);
  double* y = p.mutable_data<double>();
  for (int64_t i = 0; i < v.numel(); ++i) {
    const double moment = v.data<double>()[i];
    check(moment >= 0, "adam_preconditioner: second moment ", i, " is ", moment);
    y[i] = std::sqrt(moment / correction) + eps;
  }
  return p;
}

std::unique_ptr<SymmetricOperator> preconditioned_operator(const SymmetricOperator& a,
                                                           const Tensor& p) {
  check(p.defined() && p.dtype() == DType::f64 && p.numel() == a.size(),
        "preconditioned_operator: expects a vector of ", a.size(), " f64 numbers");
  Tensor c = Tensor::empty({p.numel()}, DType::f64);
  double* y = c.mutable_data<double>();
  for (int64_t i = 0; i < p.numel(); ++i) {
    const double x = p.data<double>()[i];
    check(x > 0, "preconditioned_operator: element ", i, " of the preconditioner is ", x,
          "; Adam's eps keeps it positive");
    y[i] = 1 / std::sqrt(x);
  }
  return scaled_operator(a, c);
}

}  // namespace basin
