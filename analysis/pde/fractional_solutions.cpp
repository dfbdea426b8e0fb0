// See fractional_solutions.h.
#include "basin/analysis/pde/fractional_solutions.h"

#include <cmath>
#include <numbers>
#include <vector>

#include "basin/analysis/pde/fractional.h"
#include "basin/core/parallel.h"
#include "basin/kernels/gemm.h"

namespace basin {
namespace {

using std::numbers::pi;

void check_alpha(const char* name, double alpha, double most) {
  check(alpha > 0 && alpha < most, name, ": expects an order in (0, ", most, "), got ", alpha);
}

void check_place(const char* name, double x, double low) {
  check(x >= low && x <= 1, name, ": expects x in [", low, ", 1], got ", x);
}

void check_time(const char* name, double t) {
  check(t >= 0 && std::isfinite(t), name, ": expects a time t >= 0, got ", t);
}

double ball_power(const char* name, double alpha, double r, double exponent) {
  check_alpha(name, alpha, 2);
  const double inside = 1 - r * r;
  return inside > 0 ? std::pow(inside, exponent) : 0.0;
}

// K_p of the power p.
double ball_constant(const char* name, double alpha, double power, int d) {
  check_alpha(name, alpha, 2);
  check(d >= 1 && d <= 100, name, ": expects 1 to 100 dimensions, got ", d);
  const double half = 0.5 * d;
  return std::pow(2, alpha) * std::tgamma(power + 1) * std::tgamma(half + alpha / 2) /
         std::tgamma(half);
}

}  // namespace

double cubic_bump(double x) {
  check_place("cubic_bump", x, 0);
  return std::pow(x * (1 - x), 3);
}

// u is the sum of c x^k, and the same in 1 - x: D_{0+}^a x^k = Gamma(k+1) / Gamma(k+1-a) x^{k-a}.
double cubic_bump_derivative(double alpha, double x) {
  check_alpha("cubic_bump_derivative", alpha, 2);
  check_place("cubic_bump_derivative", x, 0);
  constexpr double kCoefficients[] = {1, -3, 3, -1};  // of x^3 .. x^6
  double sum = 0;
  for (int i = 0; i < 4; ++i) {
    const double k = 3 + i;
    sum += kCoefficients[i] * std::tgamma(k + 1) / std::tgamma(k + 1 - alpha) *
           (std::pow(x, k - alpha) + std::pow(1 - x, k - alpha));
  }
  return sum;
}

double decaying_bump(double x, double t) {
  check_time("decaying_bump", t);
  return std::exp(-t) * cubic_bump(x);
}

double decaying_bump_source(double alpha, double x, double t) {
  check_time("decaying_bump_source", t);
  return -std::exp(-t) * (cubic_bump(x) + cubic_bump_derivative(alpha, x));
}

double ball_bump(double alpha, double r) {
  return ball_power("ball_bump", alpha, r, 1 + alpha / 2);
}

double ball_bump_laplacian(double alpha, double r, int d) {
  check_place("ball_bump_laplacian", r, -1);
  return ball_constant("ball_bump_laplacian", alpha, 1 + alpha / 2, d) *
         (1 - (1 + alpha / d) * r * r);
}

double ball_profile(double alpha, double r) {
  return ball_power("ball_profile", alpha, r, alpha / 2);
}

double ball_profile_laplacian(double alpha, int d) {
  return ball_constant("ball_profile_laplacian", alpha, alpha / 2, d);
}

double quadratic_growth(double x, double t) {
  check_place("quadratic_growth", x, 0);
  check_time("quadratic_growth", t);
  return t * t * std::sin(pi * x);
}

double quadratic_growth_source(double alpha, double x, double t) {
  check_alpha("quadratic_growth_source", alpha, 1);
  check_place("quadratic_growth_source", x, 0);
  check_time("quadratic_growth_source", t);
  return (2 * std::pow(t, 2 - alpha) / std::tgamma(3 - alpha) + pi * pi * t * t) * std::sin(pi * x);
}

Tensor subdiffusion(double alpha, const Tensor& coefficients, const Tensor& x, const Tensor& t) {
  check(coefficients.defined() && coefficients.rank() == 2 && coefficients.dtype() == DType::f64,
        "subdiffusion: expects coefficients [count, modes] in f64, got ", coefficients);
  for (const Tensor* axis : {&x, &t}) {
    check(axis->defined() && axis->rank() == 1 && axis->dtype() == DType::f64,
          "subdiffusion: expects x [n] and t [m] in f64, got ", *axis);
  }
  const int64_t count = coefficients.size(0), modes = coefficients.size(1);
  const int64_t n = x.size(0), m = t.size(0);
  const double *px = x.data<double>(), *pt = t.data<double>();
  for (int64_t i = 0; i < n; ++i) check_place("subdiffusion", px[i], 0);
  for (int64_t j = 0; j < m; ++j) check_time("subdiffusion", pt[j]);
  // Every function is a combination of the decaying modes [modes, m n].
  std::vector<double> basis(static_cast<size_t>(modes * m * n));
  parallel_for(modes * m, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const double wave = pi * static_cast<double>(i / m + 1);
      const double decay = mittag_leffler(alpha, -wave * wave * std::pow(pt[i % m], alpha));
      for (int64_t l = 0; l < n; ++l) {
        basis[static_cast<size_t>(i * n + l)] = decay * std::sin(wave * px[l]);
      }
    }
  });
  Tensor out = Tensor::empty({count, m, n}, DType::f64);
  gemm<double>(false, false, count, m * n, modes, 1, coefficients.data<double>(), modes,
               basis.data(), m * n, 0, out.mutable_data<double>(), m * n);
  return out;
}

}  // namespace basin
