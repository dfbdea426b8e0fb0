// Batch normalisation and its activation under the maximum and the mean over the points of each
// cloud: the end of DGCNN's per-point features (Wang et al., arXiv:1801.07829).
//   y[b, n, c] = act(gamma (x - mean) / sqrt(var + eps) + beta),   statistics over all B N rows,
//   out[b, c] = max_n y[b, n, c],   out[b, C + c] = mean_n y[b, n, c].
// y is never stored: the derivatives make what they need of it again from x. The derivatives are
// those of kernels/batch_norm.h at the cotangent
//   ct_y[b, n, c] = ct[b, C + c] / N + (n = argmax[b, c] ? ct[b, c] : 0).
// The lowest point that reaches the maximum is its arg-max; a NaN counts as the maximum.
#pragma once
#include "basin/kernels/batch_norm.h"

namespace basin {

// All outputs are preallocated. mean and var are outputs unless given_stats. B, N, C >= 1.
struct NormPoolForward {
  static constexpr const char* name = "norm_pool";
  using Run = void(const Tensor& x,                          // [B, N, C]
                   const Tensor& gamma, const Tensor& beta,  // [C]
                   const BnAct& how, Tensor& mean,
                   Tensor& var,      // [C]
                   Tensor& out,      // [B, 2 C]
                   Tensor& argmax);  // [B, C] i32
  static Run cpu, cuda;
};

// Where derivatives are taken: arguments and results of the forward pass.
struct NormPoolPoint {
  Tensor x;                       // [B, N, C]
  Tensor gamma, beta, mean, var;  // [C]
  Tensor argmax;                  // [B, C] i32
};

// A gradient left undefined is not computed.
struct NormPoolBackward {
  static constexpr const char* name = "norm_pool_vjp";
  using Run = void(const NormPoolPoint& at, const Tensor& ct,  // [B, 2 C]
                   const BnAct& how, BatchNormTensors& grads);
  static Run cpu, cuda;
};

struct NormPoolTangent {
  static constexpr const char* name = "norm_pool_jvp";
  using Run = void(const NormPoolPoint& at, const BatchNormTensors& t, const BnAct& how,
                   Tensor& t_out);  // [B, 2 C]
  static Run cpu, cuda;
};

// t.beta does not enter, as in BatchNormBackwardTangent.
struct NormPoolBackwardTangent {
  static constexpr const char* name = "norm_pool_vjp_jvp";
  using Run = void(const NormPoolPoint& at, const Tensor& ct, const BatchNormTensors& t,
                   const Tensor& t_ct,  // [B, 2 C]
                   const BnAct& how, BatchNormTensors& t_grads);
  static Run cpu, cuda;
};

}  // namespace basin
