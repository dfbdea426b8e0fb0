// PointNet's wide layer in closed form, with nothing of size B * N * Cout ever stored:
//   y[b, c] = act(BN(max_n z[b, n, c])),   z[b, n, c] = x[b, n, :] . w[c, :] + bias[c].
// BN is affine and act increasing, so the maximum may come first (the minimum where gamma < 0). The
// statistics follow from the column means mu and the covariance S of x, before the large product:
//   mean[c] = w_c mu + bias[c],   var[c] = w_c S w_c^T.
// The derivative of z is sparse (at the arg-max) + constant + low-rank, so z is not needed either.
#pragma once
#include "basin/core/tensor.h"
#include "basin/kernels/batch_norm.h"

namespace basin {

// All outputs are preallocated. mean and var (biased, over B * N) are outputs unless given_stats.
// Ties go to the lowest n; gamma = 0 makes all points tie. A NaN in z reaches y. Where moments is
// given and defined, training leaves mu (row 0) and S there; the backward pass then need not find
// them again.
struct LinearBnActMaxForward {
  static constexpr const char* name = "linear_bn_act_max";
  using Run = void(const Tensor& x,                          // [B, N, Cin]
                   const Tensor& w, const Tensor& bias,      // [Cout, Cin], [Cout]
                   const Tensor& gamma, const Tensor& beta,  // [Cout]
                   const BnAct& how,
                   Tensor& y,                  // [B, Cout]
                   Tensor& mean, Tensor& var,  // [Cout]
                   Tensor& argmax,             // [B, Cout] i32, the row n of each maximum
                   Tensor* moments);           // [1 + Cin, Cin] f64, or null
  static Run cpu, cuda;
};

// Where derivatives are taken: arguments and results of the forward pass.
struct LinearMaxPoint {
  Tensor x;          // [B, N, Cin]
  Tensor w;          // [Cout, Cin]
  Tensor bias;       // [Cout]
  Tensor gamma;      // [Cout]
  Tensor y;          // [B, Cout]; not read for Act::none and may then be undefined
  Tensor mean, var;  // [Cout]
  Tensor argmax;     // [B, Cout] i32
  Tensor moments;    // [1 + Cin, Cin] f64, or undefined: then found again
};

// Of x, w, bias, gamma and beta: their tangents, all defined, or their gradients.
struct LinearMaxTensors {
  Tensor x, w, bias, gamma, beta;
};

// With g = ct act'(y), std = sqrt(var + eps), a = gamma / std, R = B * N, zhat = (z - mean) / std:
//   dbeta = sum_b g,   dgamma = sum_b g zhat[argmax],
//   dz = a g at the arg-max + k1 + k2 (z - mean),
//     k1 = -a dbeta / R,   k2 = -a dgamma / (std R),
//   dx = dz w = sparse + w^T k1 + (x - mu) (w^T diag(k2) w),
//   dw = dz^T x = a sum_b g (x[argmax] - mu) + k2 R (w S),
//   dbias = 0, because the rows of dz add up to zero.
// given_stats: k1 = k2 = 0, dw = a sum_b g x[argmax], dbias = a dbeta.
// A gradient left undefined is not computed.
struct LinearBnActMaxBackward {
  static constexpr const char* name = "linear_bn_act_max_vjp";
  using Run = void(const LinearMaxPoint& at, const Tensor& ct,  // [B, Cout]
                   const BnAct& how, LinearMaxTensors& grads);
  static Run cpu, cuda;
};

// The tangent of y. With D = mean of (x - mu) (t_x - mean t_x)^T, s = 1 / std,
//   r = s (w S t_w^T + w D w^T)   (half the tangent of var, over std), at the arg-max rows
//   t_zhat = s (w (t_x - mean t_x) + t_w (x - mu)) - s r zhat,
//   t_y = act'(z) (t_gamma zhat + gamma t_zhat + t_beta).
// given_stats: t_zhat = s (w t_x + t_w x + t_bias).
struct LinearBnActMaxTangent {
  static constexpr const char* name = "linear_bn_act_max_jvp";
  using Run = void(const LinearMaxPoint& at, const LinearMaxTensors& t, const BnAct& how,
                   Tensor& t_y);  // [B, Cout]
  static Run cpu, cuda;
};

// The tangents of dx, dw, dbias, dgamma, dbeta: the formulas of LinearBnActMaxBackward
// differentiated, with t_std = std^2 s r and the tangent D + D^T of S. t.beta does not enter.
struct LinearBnActMaxBackwardTangent {
  static constexpr const char* name = "linear_bn_act_max_vjp_jvp";
  using Run = void(const LinearMaxPoint& at, const Tensor& ct, const LinearMaxTensors& t,
                   const Tensor& t_ct,  // [B, Cout]
                   const BnAct& how, LinearMaxTensors& t_grads);
  static Run cpu, cuda;
};

}  // namespace basin
