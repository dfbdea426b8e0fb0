// Two smooth deformations of space, steered by a 5x5x5 lattice of control points on [-1, 1]^3.
//   free form:  p + 2 sum_ijk B_i(s) B_j(t) B_k(u) w_ijk with the Bernstein polynomials B of degree
//               4 and (s, t, u) = (p + 1) / 2 (Sederberg, Parry, SIGGRAPH 1986). The weights are
//               fractions of the cube's edge, hence the factor 2.
//   radial:     p + sum_j w_j phi(|p - c_j|) + A p + b, phi(r) = sqrt(r^2 + 1/4) or its inverse,
//               the weights orthogonal to affine functions: every control point c_j moves by
//               exactly its displacement (Hardy, J. Geophys. Res. 1971; Buhmann, Radial Basis
//               Functions).
// Both reproduce affine displacements. All in double, the same bits on every call.
#pragma once
#include <array>
#include <cstdint>
#include <span>

namespace basin {

inline constexpr int kLatticeSide = 5;
inline constexpr int kLatticePoints = kLatticeSide * kLatticeSide * kLatticeSide;

// One vector per control point; point (i, j, k) along x, y, z has the number (5 i + j) 5 + k.
using LatticeVectors = std::array<std::array<double, 3>, kLatticePoints>;

// (-1, -0.5, 0, 0.5, 1)^3.
std::array<double, 3> lattice_point(int number);

// xyz [P, 3] in place. Points outside the cube move like the nearest point of the cube.
// usage error: a length that is no multiple of 3.
void free_form_deform(std::span<double> xyz, const LatticeVectors& weights);

enum class RadialKernel : uint8_t { multiquadric, inverse_multiquadric };

// xyz [P, 3] in place; displacements in coordinates. usage error as above.
void radial_deform(std::span<double> xyz, const LatticeVectors& displacements, RadialKernel kernel);

}  // namespace basin
