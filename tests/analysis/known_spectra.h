// Operators with a spectrum that is known: Q diag(d) Q^T with a random orthogonal Q, so that no
// estimator profits from a diagonal matrix.
#pragma once
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "basin/analysis/detail/orthonormal_basis.h"
#include "basin/analysis/operator.h"
#include "basin/core/tensor.h"

namespace basin::known {

inline Tensor matrix_of(const std::vector<double>& eigenvalues, uint64_t seed = 1) {
  const auto n = static_cast<int64_t>(eigenvalues.size());
  OrthonormalBasis basis(n);
  for (uint64_t stream = 0; basis.size() < n; ++stream) {
    Tensor v = normal_vector(n, seed, stream);
    const auto p = basis.project_out(v);
    if (p.after > 1e-6 * p.before) basis.append(std::move(v), p.after);
  }
  Tensor a = Tensor::zeros({n, n}, DType::f64);
  double* x = a.mutable_data<double>();
  for (int64_t k = 0; k < n; ++k) {
    const double* q = basis[k].data<double>();
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        x[i * n + j] += eigenvalues[static_cast<size_t>(k)] * q[i] * q[j];
      }
    }
  }
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < i; ++j) x[j * n + i] = x[i * n + j];
  }
  return a;
}

inline std::unique_ptr<SymmetricOperator> operator_of(const std::vector<double>& eigenvalues,
                                                      uint64_t seed = 1) {
  return dense_operator(matrix_of(eigenvalues, seed));
}

inline double sum_of(const std::vector<double>& x) {
  double sum = 0;
  for (const double v : x) sum += v;
  return sum;
}

inline std::vector<double> even(int64_t n, double low, double high) {
  std::vector<double> x;
  for (int64_t i = 0; i < n; ++i) {
    x.push_back(low + (high - low) * static_cast<double>(i) / static_cast<double>(n - 1));
  }
  return x;
}

inline std::vector<double> power_law(int64_t n, double exponent) {
  std::vector<double> x;
  for (int64_t i = 1; i <= n; ++i) x.push_back(std::pow(static_cast<double>(i), -exponent));
  return x;
}

// Thirds at 3, 1 and -0.4.
inline std::vector<double> clustered(int64_t n) {
  std::vector<double> x;
  for (int64_t i = 0; i < n; ++i) x.push_back(i % 3 == 0 ? 3 : i % 3 == 1 ? 1 : -0.4);
  return x;
}

// A few large eigenvalues over an indefinite bulk, as Hessians of trained networks have them.
inline std::vector<double> outliers(int64_t n) {
  std::vector<double> x = even(n - 5, -0.5, 1);
  x.insert(x.end(), {50, 30, 10, 5, 3});
  return x;
}

inline std::vector<double> one_dominant(int64_t n) {
  std::vector<double> x = even(n - 1, 0, 1);
  x.push_back(100);
  return x;
}

}  // namespace basin::known
