// Real spherical harmonics of degrees 1 to 3 without the one of degree 0, normalised so that
// |Y^l(u)| = 1 for a unit vector u; then Y^l(u) . Y^l(v) = P_l(u . v), the Legendre polynomial
// (addition theorem). The polar axis is y. As polynomials of u they are 0 at u = 0.
#pragma once
#include <vector>

#include "basin/core/tensor.h"
#include "basin/models/symmetry.h"

namespace basin {

inline constexpr int64_t kLargestDegree = 3;

// u [E, 3] -> [E, (degree + 1)^2 - 1]: the 2l + 1 components of l = 1, then of l = 2, ..
//   l = 1: x, y, z
//   l = 2: r3 xz, r3 xy, y^2 - (x^2 + z^2) / 2, r3 yz, r3 (z^2 - x^2) / 2             r3 = sqrt 3
//   l = 3: with a = r3 xz, b = r3 (z^2 - x^2) / 2, s = x^2 + z^2:
//          sqrt(5/6) (a z + b x), sqrt 5 a y, sqrt(3/8) (4 y^2 - s) x, y (2 y^2 - 3 s) / 2,
//          sqrt(3/8) (4 y^2 - s) z, sqrt 5 b y, sqrt(5/6) (b z - a x)
Tensor harmonics(const Tensor& u, int64_t degree);

// D [2l + 1, 2l + 1] with Y^l(Q u) = D Y^l(u) for all u, by rows: how a feature of degree l moves
// when the input is turned by Q. l = 1: Q itself.
std::vector<double> rotation_of_degree(const Matrix3& q, int64_t l);
Tensor turned(const Tensor& x, const Matrix3& q, int64_t l);  // D x along the last axis, in f64

}  // namespace basin
