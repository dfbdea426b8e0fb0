// The benchmark of viscous flow u_t + u u_x = nu u_xx on [-1, 1] with u(x, 0) = -sin(pi x) and
// u(-1, t) = u(1, t) = 0. Hopf (1950) and Cole (1951): u = -2 nu phi_x / phi, where phi solves the
// heat equation. With the Gauss-Hermite rule (z, w) and s_k = x - 2 sqrt(nu t) z_k
//   u(x, t)   = -sum_k p_k sin(pi s_k),     p_k ~ w_k exp(-cos(pi s_k) / (2 pi nu)), sum_k p_k = 1,
//   u_x(x, t) = -pi sum_k p_k cos(pi s_k) - Var_p[sin(pi s)] / (2 nu)
// (Basdevant et al. 1986 tabulate this solution). The largest exponent is taken out before exp,
// which spans e^100 at nu = 0.01 / pi; there 100 nodes leave an error below 1e-13 for t <= 1.
#pragma once
#include "basin/core/tensor.h"

namespace basin {

// The viscosity of the benchmark, 0.01 / pi.
constexpr double kBurgersViscosity = 0.01 / 3.14159265358979323846;

// Any x (the formula goes on with period 2), t >= 0, nu > 0; usage error otherwise.
double burgers_solution(double x, double t, double nu = kBurgersViscosity);
double burgers_slope(double x, double t, double nu = kBurgersViscosity);  // u_x

// u at every pair of x [n] and t [m] (f64) -> [m, n]: one row per time.
Tensor burgers_grid(const Tensor& x, const Tensor& t, double nu = kBurgersViscosity);

}  // namespace basin
