// Derivatives of fractional order as matrices on equidistant nodes: constant linear maps, which a
// network's values at the nodes go through as one product.
//   Caputo L1, 0 < a < 1, exact for linear u, of order 2 - a (Lin, Xu 2007):
//       D u(t_n) = dt^-a / Gamma(2 - a) sum_{k<n} b_k (u_{n-k} - u_{n-k-1}),
//       b_k = (k+1)^{1-a} - k^{1-a}
//   Caputo L2, 1 < b < 2, of order 1:
//       D u(t_n) = dt^-b / Gamma(3 - b) sum_{k<n} w_k (u_{n-k} - 2 u_{n-k-1} + u_{n-k-2}),
//       w_k = (k+1)^{2-b} - k^{2-b},  u_{-1} = u_0 - dt u'(0)
//   Gruenwald-Letnikov with shift s, of order 1:
//       D u(x) = h^-a sum_j g_j u(x - (j - s) h),  g_0 = 1, g_j = g_{j-1} (j - 1 - a) / j,
//       mirrored on the right; s = 1 is stable for 1 < a < 2 (Meerschaert, Tadjeran 2004)
//   fractional Laplacian:  (-Lap)^{a/2} u = (D_left + D_right) u / (2 cos(pi a / 2)), u = 0 outside
#pragma once
#include <cstdint>
#include <vector>

#include "basin/core/tensor.h"

namespace basin {

// On u_0 .. u_n: [n + 1, n + 1] f64, lower triangular, row 0 (t = 0) zero. 0 < alpha < 1, n >= 1,
// dt > 0; usage error otherwise, here and below.
Tensor caputo_l1(double alpha, int64_t n, double dt);

struct CaputoL2 {
  Tensor matrix;  // [n + 1, n + 1], row 0 zero
  Tensor slope;   // [n + 1]: D u = matrix u + slope u'(0)
};
CaputoL2 caputo_l2(double beta, int64_t n, double dt);  // 1 < beta < 2

// (k+1)^e - k^e for k = 0 .. n - 1, without cancellation; e = 1 - a gives b, e = 2 - b gives w.
std::vector<double> caputo_weights(double exponent, int64_t n);  // 0 < exponent < 1
std::vector<double> grunwald_weights(double alpha, int64_t n);   // g_0 .. g_{n-1}, 0 < alpha <= 2

enum class Side : uint8_t { left, right };
// On the values at `nodes` points of distance h, u = 0 beyond them: [nodes, nodes] f64. shift 0 or
// 1.
Tensor grunwald_matrix(double alpha, int64_t nodes, double h, int shift, Side side);
// 0 < alpha < 2, alpha != 1; shift 1 for alpha > 1, else 0.
Tensor fractional_laplacian_matrix(double alpha, int64_t nodes, double h);

// The factor before int_{|theta|=1} D_theta^a u dtheta that makes the fractional Laplacian in d
// dimensions: Gamma((1 - a) / 2) Gamma((d + a) / 2) / (2 pi^{(d+1)/2}); in d = 1 that is
// 1 / (2 cos(pi a / 2)). 0 < alpha < 2, alpha != 1, d >= 1.
double directional_constant(double alpha, int d);

// The Mittag-Leffler function E_a(z) = sum_k z^k / Gamma(a k + 1) for z <= 0 and a in [0.02, 0.999]
// or a = 1, where it is exp(z). By the trapezoid rule in log r, to about 1e-13:
//   E_a(-x) = int_0^inf exp(-r x^{1/a}) K(r) dr,
//   K(r) = r^{a-1} sin(a pi) / (pi (r^{2a} + 2 r^a cos(a pi) + 1))
// (Gorenflo, Loutchko, Luchko 2002).
double mittag_leffler(double alpha, double z);

}  // namespace basin
