// A loss whose slices are known in closed form, for tests:
//   L(w) = 1/2 (w - m)^T A (w - m) + c,   so along d1, d2 from w
//   L(w + x d1 + y d2) = L(w) + x g.d1 + y g.d2 + (x^2 d1.A d1 + 2 x y d1.A d2 + y^2 d2.A d2) / 2.
#pragma once
#include <string>
#include <vector>

#include "basin/analysis/slices.h"
#include "basin/core/random.h"
#include "basin/tests/analysis/known_spectra.h"

namespace basin::testing {

// A network's parameters in small: two weights, a transform with two logical matrices in one
// tensor, a bias and a gain; 8 + 9 + 12 + 3 + 2 = 34 elements.
inline ParamList small_params(uint64_t seed, DType dtype = DType::f64) {
  ParamList p;
  Rng rng(seed, 0);
  const auto draw = [&](Shape shape) {
    Tensor t = Tensor::empty(std::move(shape), DType::f64);
    for (int64_t i = 0; i < t.numel(); ++i) t.mutable_data<double>()[i] = rng.normal();
    return t.to(dtype);
  };
  p.add_matrix("first.weight", draw({4, 2}), Role::first);
  p.add_matrix("hidden.weight", draw({3, 3}), Role::matrix);
  Param blocks{"edge.weight", draw({12}), Role::matrix, {{0, 2, 4}, {8, 2, 2}}, {12}};
  p.add(blocks);
  p.add_vector("hidden.bias", draw({3}), Role::bias);
  p.add_vector("norm.weight", draw({2}), Role::gain);
  return p;
}

inline std::vector<double> joined_values(const Tensors& parts) {
  std::vector<double> out;
  for (const Tensor& t : parts) {
    const Tensor host = t.to(DType::f64);
    out.insert(out.end(), host.data<double>(), host.data<double>() + host.numel());
  }
  return out;
}

struct PlantedQuadratic {
  Tensor a;               // [n, n]
  std::vector<double> m;  // [n]
  double c = 0;

  explicit PlantedQuadratic(int64_t n, double constant = 0) : m(static_cast<size_t>(n)) {
    std::vector<double> spectrum;
    for (int64_t i = 0; i < n; ++i) spectrum.push_back(i % 5 == 4 ? -0.3 : 3.0 / (1.0 + i));
    a = known::matrix_of(spectrum, 7);
    Rng rng(8, 0);
    for (double& v : m) v = rng.normal();
    c = constant;
  }
  std::vector<double> times(const std::vector<double>& v) const {
    const size_t n = m.size();
    std::vector<double> out(n, 0);
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j) out[i] += a.data<double>()[i * n + j] * v[j];
    }
    return out;
  }
  static double product(const std::vector<double>& u, const std::vector<double>& v) {
    double sum = 0;
    for (size_t i = 0; i < u.size(); ++i) sum += u[i] * v[i];
    return sum;
  }
  double loss(const std::vector<double>& w) const {
    std::vector<double> d = w;
    for (size_t i = 0; i < d.size(); ++i) d[i] -= m[i];
    return 0.5 * product(d, times(d)) + c;
  }
  std::vector<double> gradient(std::vector<double> w) const {
    for (size_t i = 0; i < w.size(); ++i) w[i] -= m[i];
    return times(w);
  }
  SliceFunction function() const {
    return [this](const Tensors& w) { return SlicePoint{loss(joined_values(w))}; };
  }
  // The slice in closed form, from the directions alone.
  LocalQuadratic along(const std::vector<double>& w, const std::vector<double>& d1,
                       const std::vector<double>& d2) const {
    const std::vector<double> g = gradient(w), h1 = times(d1), h2 = times(d2);
    return {loss(w),         product(g, d1),  product(g, d2),
            product(d1, h1), product(d1, h2), product(d2, h2)};
  }
};

// The direction joined, undefined parts as zeros.
inline std::vector<double> joined_direction(const Direction& d, const ParamList& params) {
  const Tensor flat = flatten(d, params);
  return {flat.data<double>(), flat.data<double>() + flat.numel()};
}

}  // namespace basin::testing
