// Exact solutions of fractional equations, to train and to judge on; x in [0, 1] except in 3.
//   1  D u = R with D = D_{0+}^a + D_{1-}^a, u = x^3 (1 - x)^3
//   2  u_t = D u + f, u = e^-t x^3 (1 - x)^3, f = -e^-t (x^3 (1 - x)^3 + R)
//      (1 and 2: Pang, Lu, Karniadakis 2019)
//   3  (-Lap)^{a/2} u = f on (-1, 1), zero outside; u = (1 - x^2)_+^{1 + a/2} or (1 - x^2)_+^{a/2}
//      (Dyda 2012)
//   4  D_t^a u = u_xx + f, u = t^2 sin(pi x), Caputo's derivative of order 0 < a < 1
//   5  D_t^a u = u_xx, u(x, 0) = sum_k c_k sin(k pi x):
//      u = sum_k c_k E_a(-k^2 pi^2 t^a) sin(k pi x)
// Orders out of range and points outside the domain are usage errors.
#pragma once
#include "basin/core/tensor.h"

namespace basin {

double cubic_bump(double x);                           // u of 1
double cubic_bump_derivative(double alpha, double x);  // R of 1, 0 < alpha < 2
double decaying_bump(double x, double t);              // u of 2
double decaying_bump_source(double alpha, double x, double t);

double ball_bump(double alpha, double x);            // (1 - x^2)_+^{1 + a/2}, any x
double ball_bump_laplacian(double alpha, double x);  // |x| <= 1, 0 < alpha < 2
double ball_profile(double alpha, double x);         // (1 - x^2)_+^{a/2}, any x
double ball_profile_laplacian(double alpha);         // the constant Gamma(a + 1)

double quadratic_growth(double x, double t);  // u of 4
double quadratic_growth_source(double alpha, double x, double t);

// u of 5 at every x [n] and t [m], for coefficients c [count, modes] (all f64) -> [count, m, n].
Tensor subdiffusion(double alpha, const Tensor& coefficients, const Tensor& x, const Tensor& t);

}  // namespace basin
