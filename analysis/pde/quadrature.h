// Gauss quadrature by Golub and Welsch (1969, Calculation of Gauss quadrature rules): the nodes are
// the eigenvalues of the symmetric tridiagonal Jacobi matrix of the orthogonal polynomials, the
// weights the squared first components of its eigenvectors. No polynomial is evaluated, so nothing
// overflows at any n; a weight below the smallest double is zero.
#pragma once
#include <cstdint>
#include <vector>

namespace basin {

struct GaussRule {
  std::vector<double> nodes;    // [n], ascending
  std::vector<double> weights;  // [n], of sum 1: the rule of the normalised weight function
};

// 1 <= n <= 2000, usage error otherwise; exact for polynomials of degree 2 n - 1.
GaussRule gauss_hermite(int64_t n);   // mean of f under exp(-z^2) / sqrt(pi) on the line
GaussRule gauss_legendre(int64_t n);  // mean of f over [-1, 1]

}  // namespace basin
