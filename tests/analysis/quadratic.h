// Losses whose sharpness is known in closed form, for tests: L(w) = 1/2 (w - m)^T A (w - m) + b.w
// in one vector parameter, or in matrices joined to one vector.
#pragma once
#include <string>
#include <vector>

#include "basin/analysis/curvature.h"
#include "basin/autograd/ops.h"

namespace basin::testing {

// a [n, n] symmetric, m, b [n]; all f64
inline LossBatch quadratic_batch(const Tensor& a, const Tensor& m, const Tensor& b) {
  LossBatch batch;
  batch.examples = 1;
  batch.loss = [a, m, b](const Tensors& p) {
    const int64_t n = m.numel();
    Tensors parts;
    for (const Tensor& t : p) parts.push_back(reshape(t, {t.numel()}));
    const Tensor w = concat(parts, 0);
    const Tensor d = w - m;
    const Tensor ad = reshape(matmul(a, reshape(d, {n, 1})), {n});
    return Tensors{0.5 * dot(d, ad) + dot(b, w)};
  };
  return batch;
}

inline Tensor vector_of(const std::vector<double>& v) {
  return Tensor::from(v, {static_cast<int64_t>(v.size())});
}

inline Tensor diagonal_matrix(const std::vector<double>& d) {
  const auto n = static_cast<int64_t>(d.size());
  Tensor a = Tensor::zeros({n, n}, DType::f64);
  for (int64_t i = 0; i < n; ++i) a.mutable_data<double>()[i * (n + 1)] = d[i];
  return a;
}

inline ParamList one_vector(const std::vector<double>& w) {
  ParamList params;
  params.add_vector("w", vector_of(w), Role::bias);
  return params;
}

}  // namespace basin::testing
