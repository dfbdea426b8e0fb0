// Symmetry operations on clouds [B, N, 3], for the tests of models that respect them.
#pragma once
#include <array>
#include <cmath>
#include <numeric>
#include <vector>

#include "basin/core/random.h"
#include "basin/core/tensor.h"

namespace basin::testing {

inline std::vector<int64_t> random_permutation(int64_t n, uint64_t seed) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  Rng(seed, 2).shuffle(std::span<int64_t>(order));
  return order;
}

// Point i of each cloud is point order[i] of x [B, N, C].
inline Tensor permuted(const Tensor& x, const std::vector<int64_t>& order) {
  const int64_t n = x.size(1), channels = x.size(2);
  std::vector<double> out;
  for (int64_t r = 0; r < x.size(0) * n; ++r) {
    const int64_t from = r / n * n + order[static_cast<size_t>(r % n)];
    for (int64_t c = 0; c < channels; ++c) out.push_back(x.at(from * channels + c));
  }
  return Tensor::from(out, x.shape()).to(x.dtype());
}

using Matrix3 = std::array<std::array<double, 3>, 3>;

// Orthonormal rows by Gram-Schmidt, the third by the cross product: determinant +1, or -1 on
// request.
inline Matrix3 random_orthogonal(uint64_t seed, bool reflection) {
  Rng rng(seed, 3);
  Matrix3 q{};
  for (int r = 0; r < 2; ++r) {
    for (double& v : q[r]) v = rng.normal();
    if (r == 1) {
      const double along = q[0][0] * q[1][0] + q[0][1] * q[1][1] + q[0][2] * q[1][2];
      for (int c = 0; c < 3; ++c) q[1][c] -= along * q[0][c];
    }
    const double length = std::sqrt(q[r][0] * q[r][0] + q[r][1] * q[r][1] + q[r][2] * q[r][2]);
    for (double& v : q[r]) v /= length;
  }
  for (int c = 0; c < 3; ++c) {
    const int a = (c + 1) % 3, b = (c + 2) % 3;
    q[2][c] = (reflection ? -1 : 1) * (q[0][a] * q[1][b] - q[0][b] * q[1][a]);
  }
  return q;
}

// x_i -> Q x_i + shift
inline Tensor moved(const Tensor& x, const Matrix3& q, const std::array<double, 3>& shift) {
  std::vector<double> out;
  for (int64_t r = 0; r < x.numel() / 3; ++r) {
    for (int c = 0; c < 3; ++c) {
      double value = shift[c];
      for (int i = 0; i < 3; ++i) value += q[c][i] * x.at(3 * r + i);
      out.push_back(value);
    }
  }
  return Tensor::from(out, x.shape()).to(x.dtype());
}

}  // namespace basin::testing
