// Symmetric matrices with a known spectrum, for the estimators' tests: A = Q diag(values) Q^T with
// a random orthogonal Q.
#pragma once
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "basin/core/random.h"
#include "basin/kernels/linalg.h"

namespace basin::testing {

struct Spectrum {
  std::string name;
  std::vector<double> values;
};

inline std::vector<double> ramp(int64_t n, double low, double high) {
  std::vector<double> out;
  for (int64_t i = 0; i < n; ++i) {
    out.push_back(n == 1 ? low : low + (high - low) * static_cast<double>(i) / (n - 1.0));
  }
  return out;
}

inline std::vector<double> joined(std::vector<double> a, const std::vector<double>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

inline std::vector<double> constant(int64_t n, double value) {
  return std::vector<double>(static_cast<size_t>(n), value);
}

inline std::vector<double> scaled(std::vector<double> a, double factor) {
  for (double& x : a) x *= factor;
  return a;
}

inline std::vector<double> gaussian(int64_t n, uint64_t seed) {
  Rng rng(seed, 3);
  std::vector<double> out;
  for (int64_t i = 0; i < n; ++i) out.push_back(rng.normal());
  return out;
}

// Clusters, multiplicities, zeros, both signs, few and many, far apart in size.
inline std::vector<Spectrum> synthetic_spectra() {
  std::vector<double> powers, squares, twins;
  for (int i = 0; i < 60; ++i) powers.push_back(std::pow(10.0, -i / 4.0));
  for (int i = 0; i < 70; ++i) squares.push_back(i * i);
  for (double x : ramp(40, 1, 2)) twins = joined(twins, {x, x});
  std::vector<double> tight = ramp(80, 0, 0.5), near;
  for (int i = 0; i < 5; ++i) tight.push_back(1 + 1e-12 * i);
  for (int i = 0; i < 6; ++i) near.push_back(1 + 1e-6 * i);
  return {
      {"ramp", ramp(60, 0, 1)},
      {"powers of ten", powers},
      {"indefinite ramp", ramp(61, -1, 1)},
      {"two values", joined(constant(50, 1), constant(50, 2))},
      {"two values, both signs", joined(constant(40, -1), constant(30, 1))},
      {"identity", constant(40, 3)},
      {"zero", constant(30, 0)},
      {"rank one", joined(constant(49, 0), {5})},
      {"negative rank one", joined(constant(49, 0), {-5})},
      {"five within 1e-12", tight},
      {"six within 1e-5", joined(near, ramp(90, -0.3, 0.6))},
      {"multiple ends", joined(joined(constant(5, 2), constant(3, -1)), ramp(80, -0.5, 1.5))},
      {"outliers", joined(ramp(10, 5, 100), ramp(290, -1, 1))},
      {"mostly zero", joined(constant(200, 0), joined(ramp(60, 0.1, 7), ramp(40, -2, -0.1)))},
      {"one", {-4}},
      {"two", {1, -2}},
      {"four", {1, 1, 0, 3}},
      {"tiny", scaled(ramp(40, -1, 2), 1e-30)},
      {"huge", scaled(ramp(40, -1, 2), 1e30)},
      {"gaussian, 300", gaussian(300, 8)},
      {"squares", squares},
      {"negative outlier", joined({-1000}, ramp(99, 0, 1))},
      {"twins", twins},
      {"thirty at the top", joined(constant(30, 1), ramp(70, -1, 0.9))},
      {"far apart", {1e8, 1e4, 1, 1e-4, 1e-8, 0, -1e-8, -1e-4, -1, -1e4, -1e7, 3, 5}},
      {"three far copies", joined({50, 50, 50, 40}, ramp(250, 0, 1))},
  };
}

// [n, n] f64
inline Tensor matrix_with(const std::vector<double>& values, uint64_t seed = 1) {
  const auto n = static_cast<int64_t>(values.size());
  Rng rng(seed, 4);
  Tensor random = Tensor::empty({n, n}, DType::f64);
  for (int64_t i = 0; i < n * n; ++i) random.mutable_data<double>()[i] = rng.normal();
  const Tensor q = Eigh::cpu(random).vectors;
  Tensor out = Tensor::zeros({n, n}, DType::f64);
  const double* x = q.data<double>();
  double* a = out.mutable_data<double>();
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < n; ++k) {
        sum += x[i * n + k] * values[static_cast<size_t>(k)] * x[j * n + k];
      }
      a[i * n + j] = a[j * n + i] = sum;
    }
  }
  return out;
}

inline double largest_magnitude(const std::vector<double>& values) {
  double out = 0;
  for (double x : values) out = std::max(out, std::abs(x));
  return out;
}

}  // namespace basin::testing
