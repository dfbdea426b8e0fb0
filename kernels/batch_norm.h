// Batch normalisation over rows with the activation behind it:
//   y = act(gamma (x - mean) / sqrt(var + eps) + beta),   x [rows, C], statistics per column.
// (Ioffe and Szegedy, arXiv:1502.03167.) Training takes mean and biased variance from x, summed in
// double; with given_stats they are inputs and constants of the derivative (evaluation mode). A
// point cloud [B, N, C] is B*N rows. Partial sums belong to fixed row tiles and are added in tile
// order.
#pragma once
#include <cstdint>

#include "basin/core/tensor.h"

namespace basin {

// relu(z) = max(z, 0); leaky_relu(z) = z > 0 ? z : slope z with slope > 0. At z = 0 the derivative
// is the left one: 0 and slope.
enum class Act : uint8_t { none, relu, leaky_relu };

// What a batch norm with its activation is told beside its tensors.
struct BnAct {
  double eps;
  Act act;
  double slope;      // of leaky_relu
  bool given_stats;  // mean and var are given, and constants of the derivative
};

// All outputs are preallocated. mean and var are outputs unless given_stats.
struct BatchNormForward {
  static constexpr const char* name = "batch_norm";
  using Run = void(const Tensor& x,                          // [rows, C]
                   const Tensor& gamma, const Tensor& beta,  // [C]
                   const BnAct& how, Tensor& mean,
                   Tensor& var,  // [C]
                   Tensor& y);   // [rows, C]
  static Run cpu, cuda;
};

// Where derivatives are taken: arguments and results of the forward pass.
struct BatchNormPoint {
  Tensor x;                 // [rows, C]
  Tensor gamma, mean, var;  // [C]
  Tensor y;                 // [rows, C]; not read for Act::none and may then be undefined
};

// Of x, gamma and beta: their tangents or gradients.
struct BatchNormTensors {
  Tensor x;            // [rows, C]
  Tensor gamma, beta;  // [C]
};

// With g = ct act'(z), where act'(z) is read off y (1 where y > 0, else 0 or slope), and
// xhat = (x - mean) / std:   dbeta = sum g,   dgamma = sum g xhat,
//   dx = gamma / std (g - dbeta / rows - xhat dgamma / rows),   given_stats: dx = gamma / std g.
// A gradient left undefined is not computed.
struct BatchNormBackward {
  static constexpr const char* name = "batch_norm_vjp";
  using Run = void(const BatchNormPoint& at, const Tensor& ct,  // [rows, C]
                   const BnAct& how, BatchNormTensors& grads);
  static Run cpu, cuda;
};

// The tangent of y for tangents t of x, gamma, beta. With M rows, s = 1 / std, m = mean of t_x and
// r = sum xhat t_x / M:   t_xhat = s (t_x - m) - s r xhat,
//   t_y = act'(z) (t_gamma xhat + gamma t_xhat + t_beta);   given_stats: t_xhat = s t_x.
struct BatchNormTangent {
  static constexpr const char* name = "batch_norm_jvp";
  using Run = void(const BatchNormPoint& at, const BatchNormTensors& t, const BnAct& how,
                   Tensor& t_y);  // [rows, C]
  static Run cpu, cuda;
};

// The tangents of dx, dgamma, dbeta for tangents of x, gamma, ct: the formulas of BatchNormBackward
// differentiated, with t_g = t_ct act'(z), t_s = -s^2 r and t_xhat as above. act is piecewise
// linear, so act' has no tangent; t.beta does not enter and may be undefined.
struct BatchNormBackwardTangent {
  static constexpr const char* name = "batch_norm_vjp_jvp";
  using Run = void(const BatchNormPoint& at, const Tensor& ct, const BatchNormTensors& t,
                   const Tensor& t_ct,  // [rows, C]
                   const BnAct& how, BatchNormTensors& t_grads);
  static Run cpu, cuda;
};

}  // namespace basin
