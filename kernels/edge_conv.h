// An edge convolution behind its split linear map, with nothing of size B N k C ever stored:
//   z[i, q] = u[i] + v[j],  j = index[i, q],     y[i] = max_q act(BN(z[i, q])).
// BN is affine and act increasing, so the maximum over q comes first (the minimum where gamma < 0).
// Batch statistics run over all M = B N k edges, channel by channel. The derivative of z is sparse
// (at the arg-max) + constant + a multiple of z, and its sums over the edges of a point need only
// su[i] = sum_q (z[i, q] - mean) and, over the edges into a point, sv[j] = sum (z - mean).
// (EdgeConv: Wang, Sun, Liu, Sarma, Bronstein, Solomon, ACM TOG 2019.)
#pragma once
#include "basin/core/tensor.h"
#include "basin/kernels/batch_norm.h"

namespace basin {

// The largest k: the position q of the winner is kept in one byte.
inline constexpr int64_t kMaxEdgeNeighbours = 255;

// What the forward pass leaves for the derivatives. Values are kept as differences from a centre
// near the mean, so that a large common offset costs no digits.
struct EdgeConvSaved {
  Tensor argmax;  // i32 [ceil(B N C / 4)], read as bytes [B, N, C]: the q of each winner
  Tensor winner;  // [B, N, C]: z at the winner - centre_u - centre_v
  Tensor sums;    // [B, N, C]: sum_q (z - centre_u - centre_v); undefined when given_stats
  Tensor degree;  // [B, N] i32: edges into each point
  Tensor centre;  // [3, C] f64: centre_u, centre_v, mean - centre_u - centre_v
  // The edges into each point, i k + q over the whole batch, rising: those of row n of [B N] are
  // order[start[n]] .. order[start[n + 1] - 1]. A GPU leaves them here, and makes them again where
  // they are undefined; the CPU needs none.
  Tensor start;  // [B N + 1] i32
  Tensor order;  // [B N k] i32

  static EdgeConvSaved empty(const Shape& shape, DType dtype, Device device, bool given_stats);
};

// All outputs are preallocated. mean and var (biased, over the M edges) are outputs unless
// given_stats. Ties go to the lowest q; gamma = 0 makes all edges tie. A NaN in z reaches y.
// usage error where an index is outside 0..N-1 (on a GPU: with BASIN_SYNC=1, index.h).
struct EdgeBnActMaxForward {
  static constexpr const char* name = "edge_bn_act_max";
  using Run = void(const Tensor& u, const Tensor& v,         // [B, N, C]
                   const Tensor& index,                      // [B, N, k] i32, within the cloud
                   const Tensor& gamma, const Tensor& beta,  // [C]
                   const BnAct& how,
                   Tensor& y,                  // [B, N, C]
                   Tensor& mean, Tensor& var,  // [C]
                   EdgeConvSaved& saved);
  static Run cpu, cuda;
};

// Where derivatives are taken: arguments and results of the forward pass.
struct EdgeConvPoint {
  Tensor u, v;   // [B, N, C]
  Tensor index;  // [B, N, k] i32
  Tensor gamma;  // [C]
  Tensor var;    // [C]
  EdgeConvSaved saved;
  Tensor y;  // [B, N, C]
};

// Of u, v, gamma and beta: their tangents, where undefined is zero, or their gradients.
struct EdgeConvTensors {
  Tensor u, v;         // [B, N, C]
  Tensor gamma, beta;  // [C]
};

// With g = ct act'(y), std = sqrt(var + eps), a = gamma / std, zhat = (z - mean) / std:
//   dbeta = sum g,   dgamma = sum g zhat[argmax],   k1 = -a dbeta / M,   k2 = -a dgamma / (std M),
//   du[i] = a g[i] + k k1 + k2 su[i],
//   dv[j] = sum of a g over the arg-maxima at j + degree[j] k1 + k2 sv[j].
// given_stats: k1 = k2 = 0. y is not read for Act::none.
struct EdgeBnActMaxBackward {
  static constexpr const char* name = "edge_bn_act_max_vjp";
  using Run = void(const EdgeConvPoint& at, const Tensor& ct,  // [B, N, C]
                   const BnAct& how, EdgeConvTensors& grads);
  static Run cpu, cuda;
};

// With zt = ut[i] + vt[j] the tangent of z: mean_t = mean of zt and var_t = 2 mean of (z - mean) zt
// over the edges, std_t = var_t / (2 std), and at the winner
//   y_t = act'(y) (gamma_t zhat + gamma ((zt - mean_t) / std - zhat std_t / std) + beta_t).
// The sums over edges need sum_q vt[j] only. given_stats: mean_t = var_t = 0.
struct EdgeBnActMaxTangent {
  static constexpr const char* name = "edge_bn_act_max_jvp";
  using Run = void(const EdgeConvPoint& at, const EdgeConvTensors& t, const BnAct& how,
                   Tensor& y_t);  // [B, N, C]
  static Run cpu, cuda;
};

// The tangents of what EdgeBnActMaxBackward gives, along t and the tangent ct_t of ct (undefined:
// zero). act is piecewise linear, so act' has none:
//   dbeta_t = sum g_t,   dgamma_t = sum (g_t zhat + g zhat_t),   a, k1, k2 by the product rule,
//   du_t[i] = (a g)_t[i] + k k1_t + k2_t su[i] + k2 su_t[i],   su_t = k (ut - mean_t) + sum_q vt,
//   dv_t[j] = the same sums over the edges into j.
struct EdgeBnActMaxBackwardTangent {
  static constexpr const char* name = "edge_bn_act_max_vjp_jvp";
  using Run = void(const EdgeConvPoint& at, const Tensor& ct, const EdgeConvTensors& t,
                   const Tensor& ct_t,  // [B, N, C]
                   const BnAct& how, EdgeConvTensors& grads_t);
  static Run cpu, cuda;
};

}  // namespace basin
