// What the PointNet tests share: a tiny network of 268 parameters, generic clouds, and comparisons.
#pragma once
#include <algorithm>
#include <cmath>

#include "basin/core/random.h"
#include "basin/models/pointnet.h"

namespace basin::testing {

inline PointNetConfig tiny_config(bool original = false) {
  PointNetConfig config;
  config.original = original;
  config.classes = 2;
  config.widths = {.w1 = 2, .w2 = 3, .w3 = 3, .fc1 = 3, .fc2 = 2};
  config.penalty = 0.05;  // large enough to be seen beside the cross entropy
  return config;
}

inline Tensor random_tensor(const Shape& shape, uint64_t seed, double low = -1, double high = 1,
                            DType dtype = DType::f64) {
  Rng rng(seed, 0);
  std::vector<double> values(static_cast<size_t>(shape.numel()));
  for (double& v : values) v = rng.uniform(low, high);
  return Tensor::from(values, shape).to(dtype);
}

// Every parameter and buffer at a generic value: no gain is 1, no mean 0. The biases of the batch
// norms are positive, so that ReLU leaves most units of a tiny network alive.
inline ModelState generic_state(const Model& model, uint64_t seed, DType dtype = DType::f64) {
  ModelState state = init_model(model, seed, DType::f64);
  for (Param& p : state.params) {
    const bool norm = p.role == Role::gain || p.name.find("bn") != std::string::npos;
    p.value.copy_from(random_tensor(p.value.shape(), ++seed, norm ? 0.5 : -1, norm ? 1.5 : 1));
  }
  for (size_t i = 0; i < state.buffers.size(); i += 3) {
    Param &mean = state.buffers[i], &var = state.buffers[i + 1];
    mean.value.copy_from(random_tensor(mean.value.shape(), ++seed, -0.5, 0.5));
    var.value.copy_from(random_tensor(var.value.shape(), ++seed, 0.5, 1.5));
  }
  return state.to(dtype);
}

// Clouds [B, N, 3] that differ in their extents, as shapes do.
inline Tensor random_clouds(int64_t clouds, int64_t points, uint64_t seed,
                            DType dtype = DType::f64) {
  Rng rng(seed, 1);
  std::vector<double> values;
  for (int64_t b = 0; b < clouds; ++b) {
    const double extent[] = {rng.uniform(0.2, 1), rng.uniform(0.2, 1), rng.uniform(0.2, 1)};
    for (int64_t i = 0; i < 3 * points; ++i) {
      values.push_back(rng.uniform(-extent[i % 3], extent[i % 3]));
    }
  }
  return Tensor::from(values, {clouds, points, 3}).to(dtype);
}

// max |a - b| / max(1, max |b|) over all tensors; infinite when shapes differ or a NaN shows up.
inline double difference(const Tensors& a, const Tensors& b) {
  if (a.size() != b.size()) return INFINITY;
  double worst = 0, size = 1;
  for (size_t t = 0; t < a.size(); ++t) {
    if (!(a[t].shape() == b[t].shape())) return INFINITY;
    for (int64_t i = 0; i < a[t].numel(); ++i) {
      const double d = std::abs(a[t].at(i) - b[t].at(i));
      if (std::isnan(d)) return INFINITY;
      worst = std::max(worst, d);
      size = std::max(size, std::abs(b[t].at(i)));
    }
  }
  return worst / size;
}

inline double difference(const Tensor& a, const Tensor& b) {
  return difference(Tensors{a}, Tensors{b});
}

inline ForwardOptions batch_mode() {
  ForwardOptions options;
  options.batch_statistics = true;
  return options;
}

}  // namespace basin::testing
