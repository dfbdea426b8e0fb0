// See fractional.h.
#include "basin/analysis/pde/fractional.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace basin {
namespace {

using std::numbers::pi;

void check_order(const char* name, double order, double low, double high) {
  check(order > low && order < high, name, ": expects an order in (", low, ", ", high, "), got ",
        order);
}

void check_line(const char* name, int64_t n, double spacing) {
  check(n >= 1 && n <= 20000, name, ": expects 1 to 20000 nodes, got ", n);
  check(spacing > 0 && std::isfinite(spacing), name, ": expects a positive distance of the nodes, ",
        "got ", spacing);
}

void check_laplacian_order(const char* name, double alpha) {
  check_order(name, alpha, 0, 2);
  check(alpha != 1, name, ": the one-sided derivatives of order 1 cancel; choose another order");
}

}  // namespace

std::vector<double> caputo_weights(double exponent, int64_t n) {
  check_order("caputo_weights", exponent, 0, 1);
  std::vector<double> out;
  for (int64_t k = 0; k < n; ++k) {
    const auto x = static_cast<double>(k);
    out.push_back(k == 0 ? 1.0 : std::pow(x, exponent) * std::expm1(exponent * std::log1p(1 / x)));
  }
  return out;
}

Tensor caputo_l1(double alpha, int64_t n, double dt) {
  check_order("caputo_l1", alpha, 0, 1);
  check_line("caputo_l1", n, dt);
  const std::vector<double> b = caputo_weights(1 - alpha, n);
  const double scale = std::pow(dt, -alpha) / std::tgamma(2 - alpha);
  Tensor out = Tensor::zeros({n + 1, n + 1}, DType::f64);
  double* row = out.mutable_data<double>();
  for (int64_t i = 1; i <= n; ++i) {
    row += n + 1;
    for (int64_t k = 0; k < i; ++k) {
      const double weight = scale * b[static_cast<size_t>(k)];
      row[i - k] += weight;
      row[i - k - 1] -= weight;
    }
  }
  return out;
}

CaputoL2 caputo_l2(double beta, int64_t n, double dt) {
  check_order("caputo_l2", beta, 1, 2);
  check_line("caputo_l2", n, dt);
  const std::vector<double> w = caputo_weights(2 - beta, n);
  const double scale = std::pow(dt, -beta) / std::tgamma(3 - beta);
  CaputoL2 out{Tensor::zeros({n + 1, n + 1}, DType::f64), Tensor::zeros({n + 1}, DType::f64)};
  double* row = out.matrix.mutable_data<double>();
  double* slope = out.slope.mutable_data<double>();
  for (int64_t i = 1; i <= n; ++i) {
    row += n + 1;
    for (int64_t k = 0; k < i; ++k) {
      const double weight = scale * w[static_cast<size_t>(k)];
      row[i - k] += weight;
      row[i - k - 1] -= 2 * weight;
      if (i - k >= 2) {
        row[i - k - 2] += weight;
      } else {  // u_{-1} = u_0 - dt u'(0)
        row[0] += weight;
        slope[i] -= dt * weight;
      }
    }
  }
  return out;
}

std::vector<double> grunwald_weights(double alpha, int64_t n) {
  check(alpha > 0 && alpha <= 2, "grunwald_weights: expects an order in (0, 2], got ", alpha);
  std::vector<double> g;
  for (int64_t j = 0; j < n; ++j) {
    const auto x = static_cast<double>(j);
    g.push_back(j == 0 ? 1.0 : g.back() * (x - 1 - alpha) / x);
  }
  return g;
}

Tensor grunwald_matrix(double alpha, int64_t nodes, double h, int shift, Side side) {
  check_line("grunwald_matrix", nodes, h);
  check(shift == 0 || shift == 1, "grunwald_matrix: expects shift 0 or 1, got ", shift);
  const std::vector<double> g = grunwald_weights(alpha, nodes + shift);
  const double scale = std::pow(h, -alpha);
  Tensor out = Tensor::zeros({nodes, nodes}, DType::f64);
  double* matrix = out.mutable_data<double>();
  for (int64_t i = 0; i < nodes; ++i) {  // the left derivative at node i reaches node i - j + shift
    for (int64_t j = 0; j <= i + shift; ++j) {
      const int64_t to = i - j + shift;
      if (to >= nodes) continue;
      const int64_t mirrored = (nodes - 1 - i) * nodes + nodes - 1 - to;
      matrix[side == Side::left ? i * nodes + to : mirrored] = scale * g[static_cast<size_t>(j)];
    }
  }
  return out;
}

Tensor fractional_laplacian_matrix(double alpha, int64_t nodes, double h) {
  check_laplacian_order("fractional_laplacian_matrix", alpha);
  const int shift = alpha > 1 ? 1 : 0;
  const Tensor left = grunwald_matrix(alpha, nodes, h, shift, Side::left);
  Tensor out = grunwald_matrix(alpha, nodes, h, shift, Side::right);
  const double factor = directional_constant(alpha, 1);
  const double* l = left.data<double>();
  double* sum = out.mutable_data<double>();
  for (int64_t i = 0; i < out.numel(); ++i) sum[i] = factor * (l[i] + sum[i]);
  return out;
}

double directional_constant(double alpha, int d) {
  check_laplacian_order("directional_constant", alpha);
  check(d >= 1 && d <= 100, "directional_constant: expects 1 to 100 dimensions, got ", d);
  return std::tgamma((1 - alpha) / 2) * std::tgamma((d + alpha) / 2) /
         (2 * std::pow(pi, 0.5 * (d + 1)));
}

// With r = e^y the kernel is even, K r = sin(a pi) / (4 pi (sinh^2(a y / 2) + cos^2(a pi / 2))).
// Its poles lie pi (1 - a) / a from the axis, and exp(-e^y) is tame up to pi / 2: their distance
// sets the step of the trapezoid rule, whose error falls as exp(-2 pi distance / step). Angles are
// taken from pi, where their sines keep their digits as a tends to 1.
double mittag_leffler(double alpha, double z) {
  check((alpha >= 0.02 && alpha <= 0.999) || alpha == 1,
        "mittag_leffler: expects an order in [0.02, 0.999] or 1, got ", alpha);
  check(z <= 0, "mittag_leffler: expects z <= 0, got ", z);
  if (alpha == 1) return std::exp(z);
  if (z == 0) return 1;
  if (std::isinf(z)) return 0;
  constexpr double kDigits = 40;              // what is below e^-40 of the rest is left out
  const double scale = std::log(-z) / alpha;  // x^{1/a} = e^scale, which could overflow
  const double last = std::min(std::log(kDigits) - scale, kDigits / alpha);
  const double first = std::min(last, 0.0) - kDigits / alpha;
  const double step = std::min(0.05, 2 * pi * pi * (1 - alpha) / (alpha * kDigits));
  const auto terms = static_cast<int64_t>((last - first) / step);
  const double least = std::pow(std::sin(pi * (1 - alpha) / 2), 2);
  double sum = 0;
  for (int64_t k = 0; k <= terms; ++k) {
    const double y = first + step * static_cast<double>(k);
    const double rise = std::sinh(alpha * y / 2);
    sum += std::exp(-std::exp(y + scale)) / (rise * rise + least);
  }
  return step * std::sin(pi * (1 - alpha)) / (4 * pi) * sum;
}

}  // namespace basin
