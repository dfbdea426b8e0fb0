// The fractional Laplacian in the unit ball of d = 1, 2 or 3 dimensions, of functions that are zero
// outside it, as a matrix on values at places and at auxiliary points along lines through them
// (Pang, Lu, Karniadakis 2019):
//   (-Lap)^{a/2} u(x) = C int over the half sphere of (D_theta^a + D_{-theta}^a) u(x) dtheta
// with C = directional_constant(a, d). Along a line the two derivatives are those of Gruenwald and
// Letnikov with the shifts 1 and 0 in the shares a / 2 and 1 - a / 2, in which their errors of
// first order cancel (Tian, Zhou, Deng 2015): of order 2 in the step, where u is smooth and away
// from the boundary.
#pragma once
#include <cstdint>
#include <vector>

#include "basin/core/tensor.h"

namespace basin {

// Lines through a point and their shares, whose sum is half the area of the unit sphere: integrates
// even functions over the half sphere.
struct LineRule {
  Tensor directions;           // [k, d] f64, of length 1
  std::vector<double> shares;  // [k]
};
// d = 1: the line itself. d = 2: n equal angles, which is Gauss's rule for periodic functions:
// exact for even trigonometric polynomials of degree 2 n - 2. d = 3: n Gauss-Legendre heights times
// n angles, n^2 lines, exact for even spherical harmonics of degree 2 n - 2. 1 <= n <= 300.
LineRule line_rule(int d, int64_t n);

struct BallLaplacian {
  Tensor points;  // [n + m, d]: the n places, then the points of their lines that are in the ball
  Tensor matrix;  // [n, n + m]: its product with u at the points is (-Lap)^{a/2} u at the places
};
// x [n, d] f64 with |x| < 1; points of a line lie `step` apart. 0 < alpha < 2, alpha != 1; at most
// 2^27 elements of the matrix. Usage errors otherwise.
BallLaplacian ball_laplacian(double alpha, const Tensor& x, double step, const LineRule& lines);

}  // namespace basin
