// Gauss quadrature. Nodes: the eigenvalues of the symmetric Jacobi matrix of the orthonormal
// polynomials q_j (Golub, Welsch 1969), then two Newton steps on q_n. Weights: Christoffel's
// numbers 1 / sum_{j<n} q_j(z)^2, a sum without cancellation. The smallest ones then keep their
// relative accuracy, which Cole and Hopf's formula needs (burgers.h) and squared components of
// eigenvectors lack.
#pragma once
#include <cstdint>
#include <vector>

namespace basin {

struct GaussRule {
  std::vector<double> nodes;    // [n], ascending
  std::vector<double> weights;  // [n], of sum 1: the rule of the normalised weight function
};

// Exact for polynomials of degree 2 n - 1. 1 <= n <= 300 (further out the weights of Hermite's rule
// leave the range of a double), usage error otherwise.
GaussRule gauss_hermite(int64_t n);   // mean of f under exp(-z^2) / sqrt(pi) on the line
GaussRule gauss_legendre(int64_t n);  // mean of f over [-1, 1]

}  // namespace basin
