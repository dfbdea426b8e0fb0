// The plain-op composites that the fused ops must equal at every order: batch norm over rows and
// the pooled linear layer and the edge convolution, written the obvious way.
#pragma once
#include "basin/autograd/ops.h"

namespace basin::table {

inline Tensor act_composite(const Tensor& z, Act act, double slope) {
  if (act == Act::relu) return relu(z);
  if (act == Act::leaky_relu) return leaky_relu(z, slope);
  return z;
}

// x [rows, C]; gamma, beta, mean, var [C]
inline Tensor normalise_composite(const Tensor& x, const Tensor& gamma, const Tensor& beta,
                                  const Tensor& mean, const Tensor& var, double eps, Act act,
                                  double slope) {
  return act_composite((x - mean) / sqrt(var + eps) * gamma + beta, act, slope);
}

inline BatchNormResult batch_norm_composite(const Tensor& x, const Tensor& gamma,
                                            const Tensor& beta, double eps, Act act, double slope) {
  const Tensor mu = mean(x, 0);
  const Tensor var = mean(square(x - mu), 0);
  return {normalise_composite(x, gamma, beta, mu, var, eps, act, slope), mu, var};
}

// x = {x [B, N, in], w [out, in], bias, gamma, beta [out]}
inline BatchNormResult linear_bn_act_max_composite(const Tensors& x, double eps, Act act,
                                                   double slope) {
  const int64_t batch = x[0].size(0), points = x[0].size(1), out = x[1].size(0);
  const Tensor rows = reshape(linear(x[0], x[1], x[2]), {batch * points, out});
  BatchNormResult r = batch_norm_composite(rows, x[3], x[4], eps, act, slope);
  r.y = max(reshape(r.y, {batch, points, out}), 1);
  return r;
}

inline Tensor linear_bn_act_max_frozen_composite(const Tensors& x, const Tensor& mean,
                                                 const Tensor& var, double eps, Act act,
                                                 double slope) {
  const int64_t batch = x[0].size(0), points = x[0].size(1), out = x[1].size(0);
  const Tensor rows = reshape(linear(x[0], x[1], x[2]), {batch * points, out});
  const Tensor y = normalise_composite(rows, x[3], x[4], mean, var, eps, act, slope);
  return max(reshape(y, {batch, points, out}), 1);
}

// y [B N, C] -> [B, 2 C]
inline Tensor max_mean(const Tensor& y, const Shape& clouds) {
  const Tensor x = reshape(y, clouds);
  return concat({max(x, 1), mean(x, 1)}, 1);
}

// x = {x [B, N, C], gamma, beta [C]}
inline BatchNormResult bn_act_max_mean_composite(const Tensors& x, double eps, Act act,
                                                 double slope) {
  const Shape rows{x[0].size(0) * x[0].size(1), x[0].size(2)};
  BatchNormResult r = batch_norm_composite(reshape(x[0], rows), x[1], x[2], eps, act, slope);
  r.y = max_mean(r.y, x[0].shape());
  return r;
}

inline Tensor bn_act_max_mean_frozen_composite(const Tensors& x, const Tensor& mean,
                                               const Tensor& var, double eps, Act act,
                                               double slope) {
  const Shape rows{x[0].size(0) * x[0].size(1), x[0].size(2)};
  return max_mean(normalise_composite(reshape(x[0], rows), x[1], x[2], mean, var, eps, act, slope),
                  x[0].shape());
}

// x = {x [B, N, in], w [out, in], bias, gamma, beta [out]}
inline BatchNormResult linear_bn_act_max_mean_composite(const Tensors& x, double eps, Act act,
                                                        double slope) {
  return bn_act_max_mean_composite({linear(x[0], x[1], x[2]), x[3], x[4]}, eps, act, slope);
}

inline Tensor linear_bn_act_max_mean_frozen_composite(const Tensors& x, const Tensor& mean,
                                                      const Tensor& var, double eps, Act act,
                                                      double slope) {
  return bn_act_max_mean_frozen_composite({linear(x[0], x[1], x[2]), x[3], x[4]}, mean, var, eps,
                                          act, slope);
}

// z [B N k, C] = u_i + v_j of every edge; u, v [B, N, C], index [B, N, k] i32 within the cloud
inline Tensor edge_sums(const Tensor& u, const Tensor& v, const Tensor& index) {
  const int64_t nodes = u.size(0) * u.size(1), channels = u.size(2), k = index.size(2);
  std::vector<int32_t> rows;
  for (int64_t e = 0; e < index.numel(); ++e) {
    rows.push_back(static_cast<int32_t>(e / (u.size(1) * k) * u.size(1) + index.at(e)));
  }
  const Tensor around = gather(reshape(v, {nodes, channels}), Tensor::from(rows, {nodes * k}));
  const Tensor z = reshape(around, {nodes, k, channels}) + reshape(u, {nodes, 1, channels});
  return reshape(z, {nodes * k, channels});
}

inline Tensor edge_max(const Tensor& y, const Shape& nodes, int64_t k) {
  return reshape(max(reshape(y, {nodes[0] * nodes[1], k, nodes[2]}), 1), nodes);
}

// x = {u, v [B, N, C], gamma, beta [C]}
inline BatchNormResult edge_bn_act_max_composite(const Tensors& x, const Tensor& index, double eps,
                                                 Act act, double slope) {
  BatchNormResult r =
      batch_norm_composite(edge_sums(x[0], x[1], index), x[2], x[3], eps, act, slope);
  r.y = edge_max(r.y, x[0].shape(), index.size(2));
  return r;
}

inline Tensor edge_bn_act_max_frozen_composite(const Tensors& x, const Tensor& index,
                                               const Tensor& mean, const Tensor& var, double eps,
                                               Act act, double slope) {
  const Tensor z = edge_sums(x[0], x[1], index);
  return edge_max(normalise_composite(z, x[2], x[3], mean, var, eps, act, slope), x[0].shape(),
                  index.size(2));
}

}  // namespace basin::table
