// Deformations: see deformation.h. The radial system depends on the kernel alone, so it is
// factorised once per kernel; a deformation is then two triangular solves and one kernel sum.
#include "basin/datasets/detail/deformation.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "basin/core/error.h"

namespace basin {
namespace {

constexpr double kRadius = 0.5;
constexpr int kUnknowns = kLatticePoints + 4;  // kernel weights, then b and the columns of A

using Weights = std::array<std::array<double, 3>, kUnknowns>;

void check_points(const char* where, std::span<double> xyz) {
  check(xyz.size() % 3 == 0, where, ": expected coordinates [P, 3], got ", xyz.size(), " numbers");
}

// B_0 .. B_4 at t in [0, 1].
std::array<double, kLatticeSide> bernstein(double t) {
  const double s = 1 - t;
  return {s * s * s * s, 4 * s * s * s * t, 6 * s * s * t * t, 4 * s * t * t * t, t * t * t * t};
}

// exponent +1: multiquadric, -1: its inverse.
double radial(RadialKernel kernel, double square) {
  const double root = std::sqrt(square + kRadius * kRadius);
  return kernel == RadialKernel::multiquadric ? root : 1 / root;
}

// Gaussian elimination with partial pivoting, kept as P M = L U.
class Factors {
 public:
  explicit Factors(std::vector<double> matrix) : m_(std::move(matrix)) {
    for (int i = 0; i < kUnknowns; ++i) row_[i] = i;
    for (int k = 0; k < kUnknowns; ++k) {
      int pivot = k;
      for (int i = k + 1; i < kUnknowns; ++i) {
        if (std::abs(at(i, k)) > std::abs(at(pivot, k))) pivot = i;
      }
      std::swap(row_[k], row_[pivot]);
      for (int i = k + 1; i < kUnknowns; ++i) {
        const double factor = at(i, k) /= at(k, k);
        for (int j = k + 1; j < kUnknowns; ++j) at(i, j) -= factor * at(k, j);
      }
    }
  }

  Weights solve(const Weights& rhs) const {
    Weights x;
    for (int i = 0; i < kUnknowns; ++i) {
      x[i] = rhs[row_[i]];
      for (int j = 0; j < i; ++j) subtract(x[i], at(i, j), x[j]);
    }
    for (int i = kUnknowns - 1; i >= 0; --i) {
      for (int j = i + 1; j < kUnknowns; ++j) subtract(x[i], at(i, j), x[j]);
      for (double& value : x[i]) value /= at(i, i);
    }
    return x;
  }

 private:
  static void subtract(std::array<double, 3>& x, double factor, const std::array<double, 3>& y) {
    for (int axis = 0; axis < 3; ++axis) x[axis] -= factor * y[axis];
  }
  double& at(int i, int j) { return m_[static_cast<size_t>(row_[i]) * kUnknowns + j]; }
  double at(int i, int j) const { return m_[static_cast<size_t>(row_[i]) * kUnknowns + j]; }

  std::vector<double> m_;             // [129, 129], rows in their first order
  std::array<int, kUnknowns> row_{};  // the row that elimination put at place i
};

// [phi, affine; affine^T, 0].
Factors radial_system(RadialKernel kernel) {
  std::vector<double> m(kUnknowns * kUnknowns, 0.0);
  for (int i = 0; i < kLatticePoints; ++i) {
    const auto p = lattice_point(i);
    for (int j = 0; j < kLatticePoints; ++j) {
      const auto q = lattice_point(j);
      const double d[3] = {p[0] - q[0], p[1] - q[1], p[2] - q[2]};
      m[i * kUnknowns + j] = radial(kernel, d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
    }
    for (int a = 0; a < 4; ++a) {
      const int j = kLatticePoints + a;
      m[i * kUnknowns + j] = m[j * kUnknowns + i] = a == 0 ? 1 : p[a - 1];
    }
  }
  return Factors(std::move(m));
}

const Factors& factors_of(RadialKernel kernel) {
  static const Factors plain = radial_system(RadialKernel::multiquadric);
  static const Factors inverse = radial_system(RadialKernel::inverse_multiquadric);
  return kernel == RadialKernel::multiquadric ? plain : inverse;
}

template <RadialKernel kernel>
void add_radial(std::span<double> xyz, const Weights& w) {
  double centre[kLatticePoints][3];
  for (int j = 0; j < kLatticePoints; ++j) std::ranges::copy(lattice_point(j), centre[j]);
  for (size_t i = 0; i < xyz.size(); i += 3) {
    const double p[3] = {xyz[i], xyz[i + 1], xyz[i + 2]};
    double value[kLatticePoints];
    for (int j = 0; j < kLatticePoints; ++j) {  // apart from the sum below, so that it vectorises
      const double x = p[0] - centre[j][0], y = p[1] - centre[j][1], z = p[2] - centre[j][2];
      value[j] = radial(kernel, x * x + y * y + z * z);
    }
    for (int axis = 0; axis < 3; ++axis) {
      double move = w[kLatticePoints][axis];
      for (int a = 0; a < 3; ++a) move += w[kLatticePoints + 1 + a][axis] * p[a];
      for (int j = 0; j < kLatticePoints; ++j) move += w[j][axis] * value[j];
      xyz[i + axis] = p[axis] + move;
    }
  }
}

}  // namespace

std::array<double, 3> lattice_point(int number) {
  check(number >= 0 && number < kLatticePoints, "lattice_point: expected a number from 0 to ",
        kLatticePoints - 1, ", got ", number);
  const auto place = [](int i) { return 0.5 * i - 1; };
  return {place(number / (kLatticeSide * kLatticeSide)),
          place(number / kLatticeSide % kLatticeSide), place(number % kLatticeSide)};
}

void free_form_deform(std::span<double> xyz, const LatticeVectors& weights) {
  check_points("free_form_deform", xyz);
  for (size_t i = 0; i < xyz.size(); i += 3) {
    std::array<double, kLatticeSide> basis[3];
    for (int axis = 0; axis < 3; ++axis) {
      basis[axis] = bernstein(std::clamp(0.5 * (xyz[i + axis] + 1), 0.0, 1.0));
    }
    double move[3] = {0, 0, 0};
    for (int a = 0; a < kLatticeSide; ++a) {
      for (int b = 0; b < kLatticeSide; ++b) {
        const auto* line = &weights[(a * kLatticeSide + b) * kLatticeSide];
        const double outer = 2 * basis[0][a] * basis[1][b];
        for (int axis = 0; axis < 3; ++axis) {
          double inner = 0;
          for (int c = 0; c < kLatticeSide; ++c) inner += basis[2][c] * line[c][axis];
          move[axis] += outer * inner;
        }
      }
    }
    for (int axis = 0; axis < 3; ++axis) xyz[i + axis] += move[axis];
  }
}

void radial_deform(std::span<double> xyz, const LatticeVectors& displacements,
                   RadialKernel kernel) {
  check_points("radial_deform", xyz);
  Weights rhs{};
  std::ranges::copy(displacements, rhs.begin());
  const Weights w = factors_of(kernel).solve(rhs);
  if (kernel == RadialKernel::multiquadric) {
    add_radial<RadialKernel::multiquadric>(xyz, w);
  } else {
    add_radial<RadialKernel::inverse_multiquadric>(xyz, w);
  }
}

}  // namespace basin
