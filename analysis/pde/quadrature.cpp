// See quadrature.h. The recurrence of the orthonormal polynomials of an even weight function,
//   b_{j+1} q_{j+1}(z) = z q_j(z) - b_j q_{j-1}(z),  q_0 = 1,
// serves the Jacobi matrix, the Newton steps and the weights alike.
#include "basin/analysis/pde/quadrature.h"

#include <cmath>

#include "basin/kernels/linalg.h"

namespace basin {
namespace {

constexpr int64_t kMostNodes = 300;

struct Orthonormal {
  double value;       // q_n
  double derivative;  // q_n'
  double squares;     // sum_{j<n} q_j^2
};

// b holds b_1 .. b_n.
Orthonormal orthonormal_at(const std::vector<double>& b, double z) {
  double before = 0, value = 1, slope_before = 0, slope = 0, squares = 0, b_here = 0;
  for (const double b_next : b) {
    squares += value * value;
    const double next = (z * value - b_here * before) / b_next;
    const double slope_next = (value + z * slope - b_here * slope_before) / b_next;
    before = value, value = next;
    slope_before = slope, slope = slope_next;
    b_here = b_next;
  }
  return {value, slope, squares};
}

GaussRule gauss_rule(const std::vector<double>& b) {
  const auto n = static_cast<int64_t>(b.size());
  Tensor jacobi = Tensor::zeros({n, n}, DType::f64);
  for (int64_t j = 1; j < n; ++j) {
    jacobi.mutable_data<double>()[j * n + j - 1] = b[static_cast<size_t>(j - 1)];
  }
  GaussRule rule{Eigh::cpu(jacobi).values.to_vector<double>(), std::vector<double>(b.size())};
  // The upper half, mirrored: nodes and weights are symmetric to the last bit.
  for (int64_t i = n / 2; i < n; ++i) {
    double z = 2 * i + 1 == n ? 0.0 : rule.nodes[static_cast<size_t>(i)];
    for (int step = 0; step < 2 && z != 0; ++step) {
      const Orthonormal q = orthonormal_at(b, z);
      z -= q.value / q.derivative;
    }
    const auto upper = static_cast<size_t>(i), lower = static_cast<size_t>(n - 1 - i);
    rule.nodes[lower] = -z;
    rule.nodes[upper] = z;
    rule.weights[lower] = rule.weights[upper] = 1 / orthonormal_at(b, z).squares;
  }
  return rule;
}

void check_nodes(const char* name, int64_t n) {
  check(n >= 1 && n <= kMostNodes, name, ": expects 1 to ", kMostNodes, " nodes, got ", n);
}

}  // namespace

GaussRule gauss_hermite(int64_t n) {
  check_nodes("gauss_hermite", n);
  std::vector<double> b;
  for (int64_t j = 1; j <= n; ++j) b.push_back(std::sqrt(0.5 * static_cast<double>(j)));
  return gauss_rule(b);
}

GaussRule gauss_legendre(int64_t n) {
  check_nodes("gauss_legendre", n);
  std::vector<double> b;
  for (int64_t k = 1; k <= n; ++k) {
    const auto j = static_cast<double>(k);
    b.push_back(j / std::sqrt(4 * j * j - 1));
  }
  return gauss_rule(b);
}

}  // namespace basin
