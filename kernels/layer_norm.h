// Layer normalisation over the last axis (Ba, Kiros, Hinton, arXiv:1607.06450), x [.., n] any
// number of rows, biased variance:
//   y = gamma xhat + beta,   xhat = s (x - mean),   s = 1 / sqrt(var + eps).
// With g = ct gamma, t the tangent of x, y. the tangent of y (likewise for every name), r =
// mean(xhat t) and means over the row:
//   dx = s (g - mean g - xhat mean(g xhat)),   dgamma = sum_rows ct xhat,   dbeta = sum_rows ct,
//   xhat. = s (t - mean t) - s r xhat,         y. = gamma. xhat + gamma xhat. + beta.,
// and the tangents of dx and dgamma by the product rule with s. = -s^2 r. Sums are in f64; the sums
// over rows are cut into tiles by the sizes only and added in their order.
#pragma once
#include "basin/core/tensor.h"

namespace basin {

struct LayerNormForward {
  static constexpr const char* name = "layer_norm";
  using Run = void(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps, Tensor& y);
  static Run cpu, cuda;
};
// dx [.., n], dgamma, dbeta [n]
struct LayerNormVjp {
  static constexpr const char* name = "layer_norm_vjp";
  using Run = void(const Tensor& x, const Tensor& gamma, const Tensor& ct, double eps, Tensor& dx,
                   Tensor& dgamma, Tensor& dbeta);
  static Run cpu, cuda;
};
// Undefined tangents are zero.
struct LayerNormJvp {
  static constexpr const char* name = "layer_norm_jvp";
  using Run = void(const Tensor& x, const Tensor& gamma, const Tensor& t, const Tensor& gamma_t,
                   const Tensor& beta_t, double eps, Tensor& y_t);
  static Run cpu, cuda;
};
struct LayerNormVjpJvp {
  static constexpr const char* name = "layer_norm_vjp_jvp";
  using Run = void(const Tensor& x, const Tensor& gamma, const Tensor& ct, const Tensor& t,
                   const Tensor& gamma_t, const Tensor& ct_t, double eps, Tensor& dx_t,
                   Tensor& dgamma_t, Tensor& dbeta_t);
  static Run cpu, cuda;
};

}  // namespace basin
