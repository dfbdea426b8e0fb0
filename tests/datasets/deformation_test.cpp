// Deformations: the lattice, interpolation at the control points, affine maps, the Bernstein sum
// written out once more, the radial maps against an independent solution.
#include "basin/datasets/detail/deformation.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "basin/core/random.h"
#include "basin/tests/core/files.h"

using namespace basin;

namespace {

LatticeVectors random_vectors(uint64_t seed, double size) {
  Rng rng(seed, 1);
  LatticeVectors out;
  for (auto& v : out) {
    for (double& x : v) x = rng.uniform(-size, size);
  }
  return out;
}

std::vector<double> random_points(int64_t n, uint64_t seed, double size) {
  Rng rng(seed, 2);
  std::vector<double> out(static_cast<size_t>(3 * n));
  for (double& x : out) x = rng.uniform(-size, size);
  return out;
}

// A displacement that is affine in the place.
std::array<double, 3> affine(const double* p) {
  return {0.1 + 0.2 * p[0] - 0.3 * p[1] + 0.05 * p[2], -0.2 + 0.1 * p[1] + 0.4 * p[2],
          0.3 - 0.15 * p[0]};
}

LatticeVectors affine_vectors(double factor) {
  LatticeVectors out;
  for (int i = 0; i < kLatticePoints; ++i) {
    const auto p = lattice_point(i);
    out[i] = affine(p.data());
    for (double& x : out[i]) x *= factor;
  }
  return out;
}

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
  return worst;
}

}  // namespace

TEST_CASE("deformation: the lattice has its corners, its centre and its order") {
  CHECK(lattice_point(0) == std::array<double, 3>{-1, -1, -1});
  CHECK(lattice_point(1) == std::array<double, 3>{-1, -1, -0.5});
  CHECK(lattice_point(5) == std::array<double, 3>{-1, -0.5, -1});
  CHECK(lattice_point(25) == std::array<double, 3>{-0.5, -1, -1});
  CHECK(lattice_point(62) == std::array<double, 3>{0, 0, 0});
  CHECK(lattice_point(124) == std::array<double, 3>{1, 1, 1});
  test::check_error(ErrorKind::usage, {"0 to 124", "125"}, [] { lattice_point(125); });
}

TEST_CASE("deformation: zero weights are the identity, lengths are checked") {
  const auto start = random_points(50, 1, 1);
  auto points = start;
  free_form_deform(points, LatticeVectors{});
  CHECK(points == start);
  for (const RadialKernel kernel :
       {RadialKernel::multiquadric, RadialKernel::inverse_multiquadric}) {
    radial_deform(points, LatticeVectors{}, kernel);
    CHECK(points == start);
  }
  std::vector<double> odd(4);
  test::check_error(ErrorKind::usage, {"free_form_deform", "[P, 3]", "4"},
                    [&] { free_form_deform(odd, LatticeVectors{}); });
  test::check_error(ErrorKind::usage, {"radial_deform"},
                    [&] { radial_deform(odd, LatticeVectors{}, RadialKernel::multiquadric); });
}

TEST_CASE("deformation: affine displacements of the lattice move every point likewise") {
  const auto start = random_points(200, 2, 1);
  std::vector<double> expected;
  for (size_t i = 0; i < start.size(); i += 3) {
    const auto move = affine(&start[i]);
    for (int axis = 0; axis < 3; ++axis) expected.push_back(start[i + axis] + move[axis]);
  }
  auto free_form = start, plain = start, inverse = start;
  free_form_deform(free_form, affine_vectors(0.5));  // weights are fractions of the edge 2
  CHECK(largest_difference(free_form, expected) < 1e-14);
  radial_deform(plain, affine_vectors(1), RadialKernel::multiquadric);
  CHECK(largest_difference(plain, expected) < 1e-11);
  radial_deform(inverse, affine_vectors(1), RadialKernel::inverse_multiquadric);
  CHECK(largest_difference(inverse, expected) < 1e-11);
}

TEST_CASE("deformation: radial maps carry every control point to its target") {
  const LatticeVectors moves = random_vectors(3, 0.2);
  for (const RadialKernel kernel :
       {RadialKernel::multiquadric, RadialKernel::inverse_multiquadric}) {
    std::vector<double> points, expected;
    for (int i = 0; i < kLatticePoints; ++i) {
      for (int axis = 0; axis < 3; ++axis) {
        points.push_back(lattice_point(i)[axis]);
        expected.push_back(lattice_point(i)[axis] + moves[i][axis]);
      }
    }
    radial_deform(points, moves, kernel);
    CHECK(largest_difference(points, expected) < 1e-11);
  }
}

// The interpolant is linear in the displacements, and the kernel shows between the control points:
// the two kernels and trilinear interpolation differ there.
TEST_CASE("deformation: radial maps are linear in the displacements and differ by kernel") {
  const auto start = random_points(100, 4, 1);
  const LatticeVectors a = random_vectors(5, 0.1), b = random_vectors(6, 0.1);
  LatticeVectors sum;
  for (int i = 0; i < kLatticePoints; ++i) {
    for (int axis = 0; axis < 3; ++axis) sum[i][axis] = a[i][axis] + b[i][axis];
  }
  std::vector<std::vector<double>> both;
  for (const RadialKernel kernel :
       {RadialKernel::multiquadric, RadialKernel::inverse_multiquadric}) {
    auto pa = start, pb = start, ps = start;
    radial_deform(pa, a, kernel), radial_deform(pb, b, kernel), radial_deform(ps, sum, kernel);
    for (size_t i = 0; i < start.size(); ++i) pa[i] += pb[i] - start[i];
    CHECK(largest_difference(pa, ps) < 1e-12);
    both.push_back(ps);
  }
  CHECK(largest_difference(both[0], both[1]) > 1e-3);
}

// The centre's control point alone, from a Gauss-Jordan elimination of the same system in another
// program: this pins the kernels, their radius and the numbering.
TEST_CASE("deformation: radial maps have the values of an independent solution") {
  const double places[9] = {0.25, 0.1, -0.3, 0.8, -0.9, 0.6, 2, 2, 2};
  const double expected[2][3] = {
      {0.26974351515307476, -0.002386968208479673, 0.026335282730927178},
      {0.2480165631431259, -0.0007439345229152846, 0.006461700524682212}};
  LatticeVectors moves{};
  moves[62] = {1, -2, 0.5};
  for (int k = 0; k < 2; ++k) {
    std::vector<double> p(places, places + 9);
    radial_deform(p, moves, static_cast<RadialKernel>(k));
    for (size_t i = 0; i < 9; ++i) {
      CHECK(std::abs(p[i] - places[i] - moves[62][i % 3] * expected[k][i / 3]) < 1e-12);
    }
  }
}

// The multiquadric weights sum to 0 (and have no first moment): otherwise the even part of the map,
// (f(p) + f(-p)) / 2 = b + sum_j w_j |p| + ..., would grow with |p|. Here it settles as 1 / |p|.
TEST_CASE("deformation: the side conditions hold, seen from far away") {
  const LatticeVectors moves = random_vectors(7, 0.2);
  const auto even_part = [&](double r, RadialKernel kernel) {
    std::vector<double> p{0.6 * r, 0.64 * r, -0.48 * r, -0.6 * r, -0.64 * r, 0.48 * r};
    radial_deform(p, moves, kernel);
    return std::vector<double>{p[0] + p[3], p[1] + p[4], p[2] + p[5]};
  };
  for (const RadialKernel kernel :
       {RadialKernel::multiquadric, RadialKernel::inverse_multiquadric}) {
    const auto near = even_part(1000, kernel), far = even_part(2000, kernel);
    CHECK(largest_difference(near, far) < 0.02);
    CHECK(largest_difference(near, {0, 0, 0}) > 1e-4);
  }
}

TEST_CASE("deformation: free form equals the Bernstein sum, outside points follow the face") {
  const LatticeVectors weights = random_vectors(8, 0.5);
  const auto start = random_points(40, 9, 1);
  auto points = start;
  free_form_deform(points, weights);
  const double binomial[5] = {1, 4, 6, 4, 1};
  double worst = 0, farthest = 0;
  for (size_t i = 0; i < start.size(); i += 3) {
    double move[3] = {0, 0, 0};
    for (int n = 0; n < kLatticePoints; ++n) {
      const int number[3] = {n / 25, n / 5 % 5, n % 5};
      double basis = 1;
      for (int axis = 0; axis < 3; ++axis) {
        const double t = 0.5 * (start[i + axis] + 1);
        const int k = number[axis];
        basis *= binomial[k] * std::pow(t, k) * std::pow(1 - t, 4 - k);
      }
      for (int axis = 0; axis < 3; ++axis) move[axis] += 2 * basis * weights[n][axis];
    }
    for (int axis = 0; axis < 3; ++axis) {
      worst = std::max(worst, std::abs(points[i + axis] - start[i + axis] - move[axis]));
      farthest = std::max(farthest, std::abs(points[i + axis] - start[i + axis]));
    }
  }
  CHECK(worst < 1e-14);
  CHECK(farthest <= 1);  // twice the largest weight
  std::vector<double> corner{1, 1, 1}, outside{1.5, 1, 7};
  free_form_deform(corner, weights), free_form_deform(outside, weights);
  for (int axis = 0; axis < 3; ++axis) {
    CHECK(corner[axis] - 1 == doctest::Approx(2 * weights[124][axis]).epsilon(1e-14));
  }
  CHECK(outside[0] - 1.5 == doctest::Approx(corner[0] - 1).epsilon(1e-14));
  CHECK(outside[2] - 7 == doctest::Approx(corner[2] - 1).epsilon(1e-14));
}
