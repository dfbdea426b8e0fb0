// See burgers.h.
#include "basin/analysis/pde/burgers.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>

#include "basin/analysis/pde/quadrature.h"
#include "basin/core/parallel.h"

namespace basin {
namespace {

using std::numbers::pi;

constexpr size_t kNodes = 100;

struct HermiteRule {
  std::array<double, kNodes> z, log_weight;
};

const HermiteRule& hermite_rule() {
  static const HermiteRule rule = [] {
    const GaussRule gauss = gauss_hermite(kNodes);
    HermiteRule out;
    std::copy(gauss.nodes.begin(), gauss.nodes.end(), out.z.begin());
    std::transform(gauss.weights.begin(), gauss.weights.end(), out.log_weight.begin(),
                   [](double w) { return std::log(w); });
    return out;
  }();
  return rule;
}

// The probabilities p_k with sin and cos of pi s_k.
struct ColeHopf {
  std::array<double, kNodes> p, sine, cosine;

  ColeHopf(double x, double t, double nu) {
    const HermiteRule& rule = hermite_rule();
    const double width = 2 * std::sqrt(nu * t);
    double largest = -std::numeric_limits<double>::infinity();
    for (size_t k = 0; k < kNodes; ++k) {
      const double s = x - width * rule.z[k];
      sine[k] = std::sin(pi * s);
      cosine[k] = std::cos(pi * s);
      p[k] = rule.log_weight[k] - cosine[k] / (2 * pi * nu);
      largest = std::max(largest, p[k]);
    }
    double sum = 0;
    for (double& value : p) sum += value = std::exp(value - largest);
    for (double& value : p) value /= sum;
  }
  double mean(const std::array<double, kNodes>& f) const {
    double sum = 0;
    for (size_t k = 0; k < kNodes; ++k) sum += p[k] * f[k];
    return sum;
  }
  double solution() const { return -mean(sine); }
  double slope(double nu) const {
    const double centre = mean(sine);
    double variance = 0;
    for (size_t k = 0; k < kNodes; ++k) {
      variance += p[k] * (sine[k] - centre) * (sine[k] - centre);
    }
    return -pi * mean(cosine) - variance / (2 * nu);
  }
};

void check_arguments(const char* name, double x, double t, double nu) {
  check(std::isfinite(x) && t >= 0 && std::isfinite(t) && nu > 0 && std::isfinite(nu), name,
        ": expects a number x, a time t >= 0 and a viscosity nu > 0, got x = ", x, ", t = ", t,
        ", nu = ", nu);
}

}  // namespace

double burgers_solution(double x, double t, double nu) {
  check_arguments("burgers_solution", x, t, nu);
  return t == 0 ? -std::sin(pi * x) : ColeHopf(x, t, nu).solution();
}

double burgers_slope(double x, double t, double nu) {
  check_arguments("burgers_slope", x, t, nu);
  return t == 0 ? -pi * std::cos(pi * x) : ColeHopf(x, t, nu).slope(nu);
}

Tensor burgers_grid(const Tensor& x, const Tensor& t, double nu) {
  for (const Tensor* axis : {&x, &t}) {
    check(axis->defined() && axis->rank() == 1 && axis->dtype() == DType::f64,
          "burgers_grid: expects x [n] and t [m] in f64, got ", *axis);
  }
  const int64_t n = x.size(0), m = t.size(0);
  Tensor out = Tensor::empty({m, n}, DType::f64);
  const double *px = x.data<double>(), *pt = t.data<double>();
  double* u = out.mutable_data<double>();
  parallel_for(m * n, 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) u[i] = burgers_solution(px[i % n], pt[i / n], nu);
  });
  return out;
}

}  // namespace basin
