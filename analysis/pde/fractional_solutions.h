// Exact solutions of fractional equations, to train and to judge on; x in [0, 1] except in 3.
//   1  D u = R with D = D_{0+}^a + D_{1-}^a, u = x^3 (1 - x)^3
//   2  u_t = D u + f, u = e^-t x^3 (1 - x)^3, f = -e^-t (x^3 (1 - x)^3 + R)
//      (1 and 2: Pang, Lu, Karniadakis 2019)
//   3  (-Lap)^{a/2} u = f on (-1, 1) or the unit ball |x| < 1 in d dimensions, zero outside;
//      u = (1 - |x|^2)_+^{1 + a/2} or (1 - |x|^2)_+^{a/2}. With s = a / 2 and
//      K_p = 2^{2s} Gamma(p + 1) Gamma(d/2 + s) / Gamma(d/2):
//        f = K_{1+s} (1 - (1 + 2 s / d) |x|^2)  or  f = K_s  (Dyda 2012)
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

// u and f of 3 as functions of r = |x|, or of x itself in d = 1.
double ball_bump(double alpha, double r);                       // (1 - r^2)_+^{1 + a/2}, any r
double ball_bump_laplacian(double alpha, double r, int d = 1);  // |r| <= 1, 0 < alpha < 2, d >= 1
double ball_profile(double alpha, double r);                    // (1 - r^2)_+^{a/2}, any r
double ball_profile_laplacian(double alpha, int d = 1);         // a constant; in d = 1 Gamma(a + 1)

double quadratic_growth(double x, double t);  // u of 4
double quadratic_growth_source(double alpha, double x, double t);

// u of 5 at every x [n] and t [m], for coefficients c [count, modes] (all f64) -> [count, m, n].
Tensor subdiffusion(double alpha, const Tensor& coefficients, const Tensor& x, const Tensor& t);

}  // namespace basin
