// PointNet's wide layer in closed form, with nothing of size B * N * Cout ever stored:
//   y[b, c] = act(BN(max_n z[b, n, c])),   z[b, n, c] = x[b, n, :] . w[c, :] + bias[c].
// BN is affine and act increasing, so the maximum may come first (the minimum where gamma < 0). The
// statistics follow from the column means mu and the covariance S of x, before the large product:
//   mean[c] = w_c mu + bias[c],   var[c] = w_c S w_c^T.
// The derivative of z is sparse (at the arg-max) + constant + low-rank, so z is not needed either.
// With the mean over the points beside the maximum (DGCNN's last layer of points, Wang et al.,
// arXiv:1801.07829), on the CPU:
//   y[b, Cout + c] = mean_n act(BN(z[b, n, c])).
// What its derivatives need of z is act', one bit per point and channel: act'(n, c) = slope + (1 -
// slope) bit(n, c). On a device it is Matmul and NormPoolForward (norm_pool.h).
#pragma once
#include "basin/core/tensor.h"
#include "basin/kernels/batch_norm.h"

namespace basin {

// What the forward pass leaves for the derivatives, which find what is undefined again (but for
// `active`). A device leaves no spread.
struct LinearMaxKept {
  Tensor moments;  // [1 + Cin, Cin] f64, training only: mu (row 0) and S
  Tensor spread;   // [Cout, Cin] f64, training only: w S
  Tensor active;   // [B, active_blocks(N), Cout] i32: bit n % 32 of block n / 32. Defined: the mean
                   // is asked for too
  Tensor sums;     // LinearMaxPushed::sums, where tangents were taken before
};
inline int64_t active_blocks(int64_t points) { return (points + 31) / 32; }

// All outputs are preallocated. mean and var (biased, over B * N) are outputs unless given_stats.
// Ties go to the lowest n; gamma = 0 makes all points tie. A NaN in z reaches y.
struct LinearBnActMaxForward {
  static constexpr const char* name = "linear_bn_act_max";
  using Run = void(const Tensor& x,                          // [B, N, Cin]
                   const Tensor& w, const Tensor& bias,      // [Cout, Cin], [Cout]
                   const Tensor& gamma, const Tensor& beta,  // [Cout]
                   const BnAct& how,
                   Tensor& y,                  // [B, Cout]; with the mean [B, 2 Cout]
                   Tensor& mean, Tensor& var,  // [Cout]
                   Tensor& argmax,             // [B, Cout] i32, the row n of each maximum
                   LinearMaxKept* kept);       // its tensors preallocated or undefined; or null
  static Run cpu, cuda;
};

// Where derivatives are taken: arguments and results of the forward pass.
struct LinearMaxPoint {
  Tensor x;          // [B, N, Cin]
  Tensor w;          // [Cout, Cin]
  Tensor bias;       // [Cout]
  Tensor gamma;      // [Cout]
  Tensor y;          // as forward gave it; not read for Act::none and may then be undefined
  Tensor mean, var;  // [Cout]
  Tensor argmax;     // [B, Cout] i32
  LinearMaxKept kept;
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
// With the mean, h its cotangent over N, Q = sum_n act'(n, c) and U = sum_n act'(n, c) (x - mu):
//   dbeta += sum_b h Q,   dgamma += sum_b h w U / std,   dx += sum_c a h act'(n, c) w_c,
//   dw += a sum_b h U.
// A gradient left undefined is not computed.
struct LinearBnActMaxBackward {
  static constexpr const char* name = "linear_bn_act_max_vjp";
  using Run = void(const LinearMaxPoint& at, const Tensor& ct,  // like y
                   const BnAct& how, LinearMaxTensors& grads);
  static Run cpu, cuda;
};

// What the tangents of y and of the derivative share along one direction. A kernel that is given
// one finds what is undefined and leaves it there, on the CPU.
struct LinearMaxPushed {
  Tensor sums;          // [B, Cout, Cin], of all directions: U, with the mean only
  Tensor centres;       // [2, Cin]: mu and the mean of t_x, zeros for given statistics
  Tensor slant;         // [Cout] f64: r
  Tensor t_spread;      // [Cout, Cin] f64: the tangent of w S; undefined for given statistics
  Tensor zhat, t_zhat;  // [B, Cout] f64, at the arg-max
  Tensor t_sums;        // [B, Cout, Cin]: sum_n act'(n, c) (t_x - mean t_x), with the mean only
};

// The tangent of y. With D = mean of (x - mu) (t_x - mean t_x)^T, s = 1 / std,
//   r = s (w S t_w^T + w D w^T)   (half the tangent of var, over std), at the arg-max rows
//   t_zhat = s (w (t_x - mean t_x) + t_w (x - mu)) - s r zhat,
//   t_y = act'(z) (t_gamma zhat + gamma t_zhat + t_beta).
// given_stats: t_zhat = s (w t_x + t_w x + t_bias). The mean's is that of t_y at all points.
struct LinearBnActMaxTangent {
  static constexpr const char* name = "linear_bn_act_max_jvp";
  using Run = void(const LinearMaxPoint& at, const LinearMaxTensors& t, const BnAct& how,
                   Tensor& t_y,  // like y
                   LinearMaxPushed* pushed);
  static Run cpu, cuda;
};

// The tangents of dx, dw, dbias, dgamma, dbeta: the formulas of LinearBnActMaxBackward
// differentiated, with t_std = std^2 s r and the tangent D + D^T of S. t.beta does not enter.
struct LinearBnActMaxBackwardTangent {
  static constexpr const char* name = "linear_bn_act_max_vjp_jvp";
  using Run = void(const LinearMaxPoint& at, const Tensor& ct, const LinearMaxTensors& t,
                   const Tensor& t_ct,  // like y
                   const BnAct& how, LinearMaxTensors& t_grads, LinearMaxPushed* pushed);
  static Run cpu, cuda;
};

}  // namespace basin
