// Worst-case and average-case sharpness. The ascent works in coordinates d = T u, in which the ball
// is a plain one: at u the gradient is s = T^T g(w + T u), the linear maximum over the ball is
//   rho s / |s|_2 (p = 2), rho sign(s) (p = infinity), with value rho |s|_q.
#include "basin/analysis/sharpness.h"

#include <algorithm>
#include <cmath>

#include "basin/analysis/detail/orthonormal_basis.h"
#include "basin/analysis/statistics.h"
#include "basin/core/error.h"
#include "basin/core/random.h"

namespace basin {
namespace {

// |s|_q, the dual norm.
double dual_norm(const Tensor& s, BallNorm ball) {
  if (ball == BallNorm::l2) return norm(s);
  double sum = 0;
  for (int64_t i = 0; i < s.numel(); ++i) sum += std::abs(s.data<double>()[i]);
  return sum;
}

// u + step v, v the unit vector of the ball's norm with the largest <s, v>, back in the ball.
Tensor ascended(const Tensor& u, const Tensor& s, double step, double rho, BallNorm ball) {
  Tensor out = u.clone();
  double* y = out.mutable_data<double>();
  const double* g = s.data<double>();
  if (ball == BallNorm::linf) {
    for (int64_t i = 0; i < u.numel(); ++i) {
      const double sign = g[i] > 0 ? 1 : g[i] < 0 ? -1 : 0;
      y[i] = std::clamp(y[i] + step * sign, -rho, rho);
    }
    return out;
  }
  const double length = norm(s);
  for (int64_t i = 0; i < u.numel() && length > 0; ++i) y[i] += step * g[i] / length;
  const double radius = norm(out);
  for (int64_t i = 0; i < u.numel() && radius > rho; ++i) y[i] *= rho / radius;
  return out;
}

// A random point of the ball's boundary: uniform on the sphere, or a corner of the cube.
Tensor random_boundary(int64_t n, double rho, BallNorm ball, uint64_t seed, uint64_t stream) {
  Tensor u = normal_vector(n, seed, stream);
  double* x = u.mutable_data<double>();
  const double length = norm(u);
  for (int64_t i = 0; i < n; ++i) {
    x[i] = ball == BallNorm::l2 ? rho * x[i] / length : std::copysign(rho, x[i]);
  }
  return u;
}

struct Ascent {
  const LossSurface& surface;
  const WorstCaseOptions& options;
  const BallChart& chart;
  WorstCase& result;

  // The point at u, with the gradient by u; keeps it when it is the best so far.
  LossSurface::Point visit(const Tensor& u) {
    const Tensor d = chart.displacement(u);
    LossSurface::Point p = surface.gradient_at(d);
    p.gradient = chart.adjoint(p.gradient);
    ++result.gradients;
    const double rise = p.loss - surface.loss();
    if (!std::isfinite(rise)) {
      ++result.failed;
    } else if (rise > result.rise || !result.displacement.defined()) {
      result.rise = rise;
      result.displacement = d;
      result.gap = options.rho * dual_norm(p.gradient, options.norm) - dot_product(p.gradient, u);
    }
    return p;
  }

  void run(Tensor u, LossSurface::Point at) {
    for (int k = 0; k < 30 && !std::isfinite(at.loss); ++k) {
      double* x = u.mutable_data<double>();
      for (int64_t i = 0; i < u.numel(); ++i) x[i] /= 2;
      at = visit(u);
    }
    if (!std::isfinite(at.loss)) return;
    double step = 2 * options.rho;
    for (int64_t k = 0; k < options.steps && step > 1e-6 * options.rho; ++k) {
      const Tensor next = ascended(u, at.gradient, step, options.rho, options.norm);
      LossSurface::Point p = visit(next);
      if (p.loss > at.loss && std::isfinite(p.loss)) {
        u = next;
        at = std::move(p);
        ++result.steps;
      } else {
        step /= 2;
      }
    }
  }
};

void check_rho(const char* who, double rho) {
  check(rho > 0 && std::isfinite(rho), who, ": the radius rho must be positive, got ", rho);
}

class Scaled : public SymmetricOperator {
 public:
  Scaled(const SymmetricOperator& a, const Tensor& c) : a_(a), c_(c.clone()) {}
  int64_t size() const override { return a_.size(); }
  Tensor apply(const Tensor& v) const override { return scaled(a_.apply(scaled(v))); }

 private:
  Tensor scaled(const Tensor& v) const {
    const int64_t n = size();
    check(v.rank() == 2 && v.size(1) == n, "scaled operator: expects vectors [lanes, ", n,
          "], got ", v.shape());
    Tensor out = v.clone();
    double* y = out.mutable_data<double>();
    for (int64_t i = 0; i < v.numel(); ++i) y[i] *= c_.data<double>()[i % n];
    return out;
  }
  const SymmetricOperator& a_;
  Tensor c_;
};

}  // namespace

WorstCase worst_case_sharpness(const LossSurface& surface, const WorstCaseOptions& options) {
  check_rho("worst_case_sharpness", options.rho);
  check(options.steps >= 0 && options.random_starts >= 0, "worst_case_sharpness: got ",
        options.steps, " steps and ", options.random_starts, " random starts");
  check(options.norm == BallNorm::l2 || options.shape == BallShape::plain ||
            options.shape == BallShape::elementwise,
        "worst_case_sharpness: the shape ", name_of(options.shape), " is measured in l2 only");
  const BallChart chart(surface, options.shape);
  WorstCase result;
  Ascent ascent{surface, options, chart, result};
  const Tensor origin = Tensor::zeros({chart.size()}, DType::f64);
  const LossSurface::Point at = ascent.visit(origin);
  result.small_rho = options.rho * dual_norm(at.gradient, options.norm);
  Tensor u = ascended(origin, at.gradient, options.rho, options.rho, options.norm);
  LossSurface::Point first = ascent.visit(u);
  result.first_order = first.loss - surface.loss();
  ascent.run(std::move(u), std::move(first));
  for (int64_t r = 0; r < options.random_starts; ++r) {
    Tensor start = random_boundary(chart.size(), options.rho, options.norm, options.seed,
                                   stream_id("worst_case_sharpness", static_cast<uint64_t>(r)));
    LossSurface::Point p = ascent.visit(start);
    ascent.run(std::move(start), std::move(p));
  }
  return result;
}

Estimate average_case_sharpness(const LossSurface& surface, const AverageCaseOptions& options) {
  check_rho("average_case_sharpness", options.rho);
  check(options.pairs >= 2, "average_case_sharpness: expects at least 2 pairs of probes, got ",
        options.pairs);
  const BallChart chart(surface, options.shape);
  std::vector<double> rises;
  for (int64_t r = 0; r < options.pairs; ++r) {
    Tensor u = normal_vector(chart.size(), options.seed,
                             stream_id("average_case_sharpness", static_cast<uint64_t>(r)));
    double* x = u.mutable_data<double>();
    for (int64_t i = 0; i < u.numel(); ++i) x[i] *= options.rho;
    Tensor d = chart.displacement(u);
    const double plus = surface.loss_at(d);
    double* y = d.mutable_data<double>();
    for (int64_t i = 0; i < d.numel(); ++i) y[i] = -y[i];
    const double rise = (plus + surface.loss_at(d)) / 2 - surface.loss();
    if (!std::isfinite(rise)) {
      fail(ErrorKind::numerical, "average_case_sharpness: the loss at probe ", r, " is not finite",
           "; a smaller rho than ", options.rho, " keeps the network in range");
    }
    rises.push_back(rise);
  }
  return mean_estimate(rises, options.level, "antithetic Monte Carlo");
}

std::unique_ptr<SymmetricOperator> scaled_operator(const SymmetricOperator& a, const Tensor& c) {
  check(c.defined() && c.dtype() == DType::f64 && c.rank() == 1 && c.numel() == a.size(),
        "scaled_operator: expects a vector of ", a.size(), " f64 numbers, got ", c);
  return std::make_unique<Scaled>(a, c);
}

Estimate average_case_limit(const SymmetricOperator& hessian, const Tensor& c, double rho,
                            const TraceOptions& options) {
  check_rho("average_case_limit", rho);
  Estimate e = hutchinson_trace(*scaled_operator(hessian, c), options).estimate;
  const double factor = rho * rho / 2;
  e.value *= factor;
  e.standard_error *= factor;
  e.interval.low *= factor;
  e.interval.high *= factor;
  return e;
}

}  // namespace basin
