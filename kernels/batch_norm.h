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
  static void cpu(const Tensor& x,                          // [rows, C]
                  const Tensor& gamma, const Tensor& beta,  // [C]
                  double eps, Act act, double slope, bool given_stats, Tensor& mean,
                  Tensor& var,  // [C]
                  Tensor& y);   // [rows, C]
  static void cuda(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps, Act act,
                   double slope, bool given_stats, Tensor& mean, Tensor& var, Tensor& y);
};

// With g = ct act'(z), where act'(z) is read off y (1 where y > 0, else 0 or slope), and
// xhat = (x - mean) / std:   dbeta = sum g,   dgamma = sum g xhat,
//   dx = gamma / std (g - dbeta / rows - xhat dgamma / rows),   given_stats: dx = gamma / std g.
// An output left undefined is not computed. y is not read for Act::none and may then be undefined.
struct BatchNormBackward {
  static constexpr const char* name = "batch_norm_vjp";
  static void cpu(const Tensor& x,                                             // [rows, C]
                  const Tensor& gamma, const Tensor& mean, const Tensor& var,  // [C]
                  const Tensor& y, const Tensor& ct,                           // [rows, C]
                  double eps, Act act, double slope, bool given_stats,
                  Tensor& dx,                      // [rows, C]
                  Tensor& dgamma, Tensor& dbeta);  // [C]
  static void cuda(const Tensor& x, const Tensor& gamma, const Tensor& mean, const Tensor& var,
                   const Tensor& y, const Tensor& ct, double eps, Act act, double slope,
                   bool given_stats, Tensor& dx, Tensor& dgamma, Tensor& dbeta);
};

// The tangent of y for tangents t of x, gamma, beta. With M rows, s = 1 / std, m = mean of t_x and
// r = sum xhat t_x / M:   t_xhat = s (t_x - m) - s r xhat,
//   t_y = act'(z) (t_gamma xhat + gamma t_xhat + t_beta);   given_stats: t_xhat = s t_x.
struct BatchNormTangent {
  static constexpr const char* name = "batch_norm_jvp";
  static void cpu(const Tensor& x,                                             // [rows, C]
                  const Tensor& gamma, const Tensor& mean, const Tensor& var,  // [C]
                  const Tensor& y,                                             // [rows, C]
                  const Tensor& t_x, const Tensor& t_gamma, const Tensor& t_beta, double eps,
                  Act act, double slope, bool given_stats,
                  Tensor& t_y);  // [rows, C]
  static void cuda(const Tensor& x, const Tensor& gamma, const Tensor& mean, const Tensor& var,
                   const Tensor& y, const Tensor& t_x, const Tensor& t_gamma, const Tensor& t_beta,
                   double eps, Act act, double slope, bool given_stats, Tensor& t_y);
};

// The tangents of dx, dgamma, dbeta for tangents of x, gamma, ct: the formulas of BatchNormBackward
// differentiated, with t_g = t_ct act'(z), t_s = -s^2 r and t_xhat as above. act is piecewise
// linear, so act' has no tangent; beta does not enter.
struct BatchNormBackwardTangent {
  static constexpr const char* name = "batch_norm_vjp_jvp";
  static void cpu(const Tensor& x,                                             // [rows, C]
                  const Tensor& gamma, const Tensor& mean, const Tensor& var,  // [C]
                  const Tensor& y, const Tensor& ct,                           // [rows, C]
                  const Tensor& t_x, const Tensor& t_gamma, const Tensor& t_ct, double eps, Act act,
                  double slope, bool given_stats,
                  Tensor& t_dx,                        // [rows, C]
                  Tensor& t_dgamma, Tensor& t_dbeta);  // [C]
  static void cuda(const Tensor& x, const Tensor& gamma, const Tensor& mean, const Tensor& var,
                   const Tensor& y, const Tensor& ct, const Tensor& t_x, const Tensor& t_gamma,
                   const Tensor& t_ct, double eps, Act act, double slope, bool given_stats,
                   Tensor& t_dx, Tensor& t_dgamma, Tensor& t_dbeta);
};

}  // namespace basin
