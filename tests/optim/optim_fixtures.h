// Shared by the optimizer tests: seeded random matrices, plain matrix products, small parameter
// lists.
#pragma once
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "basin/core/error.h"
#include "basin/core/params.h"
#include "basin/core/random.h"
#include "basin/kernels/linalg.h"

namespace basin::optim_test {

inline Tensor random_tensor(const Shape& shape, DType dtype, uint64_t seed) {
  Rng rng(seed, stream_id("optim_test"));
  std::vector<double> values(static_cast<size_t>(shape.numel()));
  for (double& v : values) v = rng.normal();
  return Tensor::from(values, shape).to(dtype).clone();
}

inline Tensor transposed(const Tensor& a) {
  const int64_t m = a.size(0), n = a.size(1);
  std::vector<double> out(static_cast<size_t>(m * n));
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) out[j * m + i] = a.at(i * n + j);
  }
  return Tensor::from(out, {n, m}).to(a.dtype()).clone();
}

// In f64, whatever the inputs are.
inline Tensor product(const Tensor& a, const Tensor& b) {
  const int64_t m = a.size(0), k = a.size(1), n = b.size(1);
  const std::vector<double> x = a.to_vector<double>(), y = b.to_vector<double>();
  std::vector<double> out(static_cast<size_t>(m * n), 0.0);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t l = 0; l < k; ++l) {
      for (int64_t j = 0; j < n; ++j) out[i * n + j] += x[i * k + l] * y[l * n + j];
    }
  }
  return Tensor::from(out, {m, n});
}

inline Tensor times(const Tensor& a, double factor) {
  std::vector<double> v = a.to_vector<double>();
  for (double& x : v) x *= factor;
  return Tensor::from(v, a.shape()).to(a.dtype()).clone();
}

inline double max_abs(const Tensor& a) {
  double largest = 0;
  for (double v : a.to_vector<double>()) largest = std::max(largest, std::abs(v));
  return largest;
}

inline double max_difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  double largest = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    const double d = std::abs(a.at(i) - b.at(i));
    if (!(d <= largest)) largest = d;  // keeps NaN
  }
  return largest;
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  const char* x = static_cast<const char*>(a.raw());
  const char* y = static_cast<const char*>(b.raw());
  return a.shape() == b.shape() && a.dtype() == b.dtype() && std::equal(x, x + a.bytes(), y);
}

inline Tensor scalar_vector(double value) { return Tensor::from(std::vector<double>{value}, {1}); }

// Two hidden matrices, a first layer, a head, a bias, a gain, a row and an embedding.
inline ParamList small_model(DType dtype, uint64_t seed = 1) {
  ParamList p;
  p.add_matrix("first.weight", random_tensor({16, 3}, dtype, seed), Role::first);
  p.add_vector("first.bias", random_tensor({16}, dtype, seed + 1), Role::bias);
  p.add_matrix("conv.weight", random_tensor({24, 16}, dtype, seed + 2), Role::matrix, {24, 16, 1});
  p.add_vector("norm.gain", random_tensor({24}, dtype, seed + 3), Role::gain);
  p.add_matrix("hidden.weight", random_tensor({12, 24}, dtype, seed + 4), Role::matrix);
  p.add_matrix("row.weight", random_tensor({1, 12}, dtype, seed + 5), Role::matrix);
  p.add_matrix("table", random_tensor({10, 12}, dtype, seed + 6), Role::embedding);
  p.add_matrix("head.weight", random_tensor({4, 12}, dtype, seed + 7), Role::head);
  return p;
}

inline Tensors random_gradients(const ParamList& params, uint64_t seed) {
  Tensors out;
  for (const Param& p : params) {
    out.push_back(random_tensor(p.value.shape(), p.value.dtype(), seed * 100 + out.size()));
  }
  return out;
}

template <class F>
std::string error_of(F&& f, ErrorKind kind) {
  try {
    f();
  } catch (const Error& e) {
    CHECK(e.kind() == kind);
    return e.what();
  }
  FAIL("expected an error");
  return {};
}

// Singular values, falling.
inline std::vector<double> spectrum_of(const Tensor& w) {
  return SingularValues::cpu(w.to(DType::f64)).to_vector<double>();
}

inline double largest_gap(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double gap = 0;
  for (size_t i = 0; i < a.size(); ++i) gap = std::max(gap, std::abs(a[i] - b[i]));
  return gap;
}

inline double largest_gap(const Tensor& a, const Tensor& b) {
  return largest_gap(a.to_vector<double>(), b.to_vector<double>());
}

}  // namespace basin::optim_test
