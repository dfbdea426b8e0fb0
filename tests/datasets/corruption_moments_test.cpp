// What the corruptions add to each point, against the laws that the table names: moments, recovered
// matrices, control points, growth with severity. Bounds are at least 4 standard errors wide for
// the draws that the case makes.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>

#include "basin/datasets/corruptions.h"
#include "basin/datasets/detail/deformation.h"
#include "basin/tests/datasets/corruption_clouds.h"

using namespace basin;
using test::plain, test::Points, test::points_of, test::random_cloud;

namespace {

std::vector<double> differences(const Tensor& a, const Tensor& b) {
  std::vector<double> out;
  for (int64_t i = 0; i < b.numel(); ++i) out.push_back(a.at(i) - b.at(i));
  return out;
}

double moment(const std::vector<double>& x, int power) {
  double sum = 0;
  for (double v : x) sum += std::pow(v, power);
  return sum / static_cast<double>(x.size());
}

void append(std::vector<double>& to, const std::vector<double>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

TEST_CASE("corruptions: uniform and gaussian noise have the moments of their laws") {
  const Tensor base = random_cloud(1024);
  const auto uniform = plain("uniform"), gaussian = plain("gaussian");
  for (int s = 1; s <= kSeverities; ++s) {
    std::vector<double> u, g;
    for (uint64_t i = 0; i < 10; ++i) {  // 30,720 draws each
      append(u, differences(corrupt_cloud(base, uniform, s, 1, i), base));
      append(g, differences(corrupt_cloud(base, gaussian, s, 1, i), base));
    }
    const double c = uniform.levels[s - 1], sigma = gaussian.levels[s - 1];
    CHECK(moment(u, 2) == doctest::Approx(c * c / 3).epsilon(0.025));
    CHECK(moment(u, 4) == doctest::Approx(std::pow(c, 4) / 5).epsilon(0.04));
    CHECK(std::abs(moment(u, 1)) < 4.5 * c / std::sqrt(3.0 * 30720));
    CHECK(std::abs(*std::max_element(u.begin(), u.end()) - c) < 0.01 * c);
    CHECK(std::abs(*std::min_element(u.begin(), u.end()) + c) < 0.01 * c);
    CHECK(moment(g, 2) == doctest::Approx(sigma * sigma).epsilon(0.04));
    CHECK(moment(g, 4) == doctest::Approx(3 * std::pow(sigma, 4)).epsilon(0.1));
    CHECK(std::abs(moment(g, 1)) < 4.5 * sigma / std::sqrt(30720.0));
  }
  // Half of what starts on the wall of the cube is clipped to it.
  const Tensor wall = Tensor::full({1024, 3}, DType::f32, 1);
  int64_t clipped = 0;
  for (float x : corrupt_cloud(wall, gaussian, 5, 1, 0).to_vector<float>()) {
    REQUIRE(x <= 1);
    clipped += x == 1;
  }
  CHECK(std::abs(static_cast<double>(clipped) / 3072 - 0.5) < 4.5 * 0.5 / std::sqrt(3072.0));
}

TEST_CASE("corruptions: impulses move a fraction of the points by 0.1 per coordinate") {
  const auto info = plain("impulse");
  for (const int64_t n : {1024, 2048}) {
    const Tensor base = random_cloud(n);
    for (int s = 1; s <= kSeverities; ++s) {
      const std::array<int64_t, 5> fraction{30, 25, 20, 15, 10};
      int64_t moved = 0, up = 0;
      const auto d = differences(corrupt_cloud(base, info, s, 2, 0), base);
      for (size_t i = 0; i < d.size(); i += 3) {
        if (d[i] == 0 && d[i + 1] == 0 && d[i + 2] == 0) continue;
        ++moved;
        for (size_t axis = 0; axis < 3; ++axis) {
          REQUIRE(std::abs(std::abs(d[i + axis]) - 0.1) < 1e-6);
          up += d[i + axis] > 0;
        }
      }
      CHECK(moved == n / fraction[s - 1]);
      const auto coins = static_cast<double>(3 * moved);
      CHECK(std::abs(static_cast<double>(up) - coins / 2) < 4.5 * std::sqrt(coins) / 2);
    }
  }
}

TEST_CASE("corruptions: upsampling appends noisy copies of different points") {
  const auto info = plain("upsampling");
  const Tensor base = random_cloud(1024, 100);  // points far apart: the source of a copy is clear
  const Points before = points_of(base);
  for (int s = 1; s <= kSeverities; ++s) {
    const Points after = points_of(corrupt_cloud(base, info, s, 3, 0));
    REQUIRE(std::equal(before.begin(), before.end(), after.begin()));
    std::set<size_t> sources;
    std::vector<double> noise;
    for (size_t i = before.size(); i < after.size(); ++i) {
      size_t source = before.size();
      for (size_t j = 0; j < before.size(); ++j) {
        double far = 0;
        for (int a = 0; a < 3; ++a) far = std::max(far, std::abs(after[i][a] - before[j][a]));
        if (far < 0.051) source = j;
      }
      REQUIRE(source < before.size());
      sources.insert(source);
      for (int a = 0; a < 3; ++a) noise.push_back(after[i][a] - before[source][a]);
    }
    CHECK(sources.size() == after.size() - before.size());
    CHECK(moment(noise, 2) ==
          doctest::Approx(0.05 * 0.05 / 3).epsilon(0.17));  // 612 draws at least
    CHECK(*std::max_element(noise.begin(), noise.end()) <= 0.05 + 1e-5);
  }
}

TEST_CASE("corruptions: background points are uniform in the cube") {
  const auto info = plain("background");
  const Tensor base = random_cloud(1024);
  std::vector<double> added;
  for (int s = 1; s <= kSeverities; ++s) {
    for (uint64_t i = 0; i < 20; ++i) {
      const auto out = corrupt_cloud(base, info, s, 4, i).to_vector<float>();
      const auto before = base.to_vector<float>();
      REQUIRE(std::equal(before.begin(), before.end(), out.begin()));
      added.insert(added.end(), out.begin() + 3072, out.end());
    }
  }
  REQUIRE(added.size() == 20 * 3 * (22 + 25 + 29 + 34 + 51));
  std::array<double, 8> octants{};
  for (size_t i = 0; i < added.size(); i += 3) {
    octants[(added[i] > 0) + 2 * (added[i + 1] > 0) + 4 * (added[i + 2] > 0)] += 1;
  }
  double chi_square = 0;
  const double expected = static_cast<double>(added.size()) / 24;
  for (double o : octants) chi_square += (o - expected) * (o - expected) / expected;
  CHECK(chi_square < 29.9);  // the 1 - 1e-4 quantile for 7 degrees of freedom
  CHECK(moment(added, 2) == doctest::Approx(1.0 / 3).epsilon(0.05));
  CHECK(moment(added, 4) == doctest::Approx(1.0 / 5).epsilon(0.07));
  CHECK(*std::max_element(added.begin(), added.end()) > 0.99);
}

// The rows of the identity go through: what comes out is the matrix.
TEST_CASE("corruptions: rotations have Euler angles in their range and keep lengths") {
  const auto info = plain("rotation");
  const Tensor identity = Tensor::from(std::vector<float>{1, 0, 0, 0, 1, 0, 0, 0, 1}, {3, 3});
  for (int s = 1; s <= kSeverities; ++s) {
    const double c = info.levels[s - 1], degrees = 180 / std::numbers::pi;
    std::vector<double> sizes;
    int64_t positive = 0;
    for (uint64_t i = 0; i < 200; ++i) {
      const Points m = points_of(corrupt_cloud(identity, info, s, 5, i));
      for (int a = 0; a < 3; ++a) {
        for (int b = 0; b < 3; ++b) {
          double dot = 0;
          for (int k = 0; k < 3; ++k) dot += m[a][k] * m[b][k];
          REQUIRE(std::abs(dot - (a == b)) < 1e-6);
        }
      }
      // Rx Ry Rz has the first row (cy cz, -cy sz, sy) and the last column (sy, -sx cy, cx cy).
      for (const double angle :
           {std::atan2(-m[1][2], m[2][2]), std::asin(m[0][2]), std::atan2(-m[0][1], m[0][0])}) {
        sizes.push_back(std::abs(angle) * degrees);
        positive += angle > 0;
        REQUIRE((sizes.back() > c - 2.5 - 1e-4 && sizes.back() < c + 2.5 + 1e-4));
      }
    }
    CHECK(std::abs(moment(sizes, 1) - c) < 4.5 * 2.5 / std::sqrt(3.0 * 600));
    CHECK(*std::max_element(sizes.begin(), sizes.end()) > c + 2.4);
    CHECK(*std::min_element(sizes.begin(), sizes.end()) < c - 2.4);
    CHECK(std::abs(static_cast<double>(positive) - 300) < 4.5 * std::sqrt(600.0) / 2);
  }
}

TEST_CASE("corruptions: shears have their pattern and their entries") {
  const auto info = plain("shear");
  const Tensor identity = Tensor::from(std::vector<float>{1, 0, 0, 0, 1, 0, 0, 0, 1}, {3, 3});
  for (int s = 1; s <= kSeverities; ++s) {
    std::vector<double> sizes;
    int64_t positive = 0;
    for (uint64_t i = 0; i < 200; ++i) {
      const Points m = points_of(corrupt_cloud(identity, info, s, 6, i));
      REQUIRE((m[0][0] == 1 && m[1][1] == 1 && m[2][2] == 1 && m[0][1] == 0 && m[2][1] == 0));
      for (const double entry : {m[0][2], m[1][0], m[1][2], m[2][0]}) {
        sizes.push_back(std::abs(entry));
        positive += entry > 0;
        REQUIRE(std::abs(sizes.back() - info.levels[s - 1]) < 0.05 + 1e-6);
      }
    }
    CHECK(std::abs(moment(sizes, 1) - info.levels[s - 1]) < 4.5 * 0.05 / std::sqrt(3.0 * 800));
    CHECK(*std::max_element(sizes.begin(), sizes.end()) > info.levels[s - 1] + 0.049);
    CHECK(std::abs(static_cast<double>(positive) - 400) < 4.5 * std::sqrt(800.0) / 2);
  }
  // With BOX the matrix is recovered up to the scale of BOX: x' = a x (1, 0, b) + ...
  const Tensor base = random_cloud(1024);
  const auto boxed = points_of(corrupt_cloud(base, corruption_info("shear"), 3, 6, 0));
  const auto loose = points_of(corrupt_cloud(base, info, 3, 6, 0));
  const double scale = (boxed[0][0] - boxed[1][0]) / (loose[0][0] - loose[1][0]);
  for (size_t i = 1; i < 1024; ++i) {
    for (int a = 0; a < 3; ++a) {
      REQUIRE(std::abs(boxed[i][a] - boxed[0][a] - scale * (loose[i][a] - loose[0][a])) < 1e-4);
    }
  }
}

// A weight is uniform in +-c and moves by 2 c: variance (2 c)^2 / 3 sum of squared basis functions.
TEST_CASE("corruptions: free-form distortion has the moments of its weights") {
  const auto info = plain("distortion");
  const Tensor places = Tensor::from(std::vector<float>{1, 1, 1, 0, 0, 0, 1, 0, 0}, {3, 3});
  const double centre = 70.0 / 256;  // (1 + 16 + 36 + 16 + 1) / 256: one axis in the middle
  const double share[3] = {1, centre * centre * centre, centre * centre};
  for (int s = 1; s <= kSeverities; ++s) {
    const double c = info.levels[s - 1];
    std::vector<double> moves[3];
    for (uint64_t i = 0; i < 600; ++i) {
      const auto d = differences(corrupt_cloud(places, info, s, 7, i), places);
      for (size_t k = 0; k < 9; ++k) moves[k / 3].push_back(d[k]);
    }
    for (int k = 0; k < 3; ++k) {
      CHECK(moment(moves[k], 2) == doctest::Approx(4 * c * c / 3 * share[k]).epsilon(0.16));
      for (double d : moves[k]) REQUIRE(std::abs(d) <= 2 * c + 1e-6);
    }
    CHECK(*std::max_element(moves[0].begin(), moves[0].end()) > 1.95 * c);
  }
}

TEST_CASE("corruptions: radial distortion moves every control point by its level") {
  std::vector<float> lattice;
  for (int i = 0; i < kLatticePoints; ++i) {
    for (double x : lattice_point(i)) lattice.push_back(static_cast<float>(x));
  }
  const Tensor base = Tensor::from(lattice, {kLatticePoints, 3});
  for (const char* name : {"distortion_rbf", "distortion_rbf_inv"}) {
    const auto info = plain(name);
    for (int s = 1; s <= kSeverities; ++s) {
      INFO(name, " ", s);
      const double c = info.levels[s - 1];
      std::vector<double> axis[3];
      for (uint64_t i = 0; i < 20; ++i) {  // 2,500 directions
        const auto d = differences(corrupt_cloud(base, info, s, 8, i), base);
        for (size_t k = 0; k < d.size(); k += 3) {
          REQUIRE(std::abs(std::hypot(d[k], d[k + 1], d[k + 2]) - c) < 1e-6);
          for (size_t a = 0; a < 3; ++a) axis[a].push_back(d[k + a] / c);
        }
      }
      // (cos a sin g, sin a sin g, cos g) with uniform angles: squares 1/4, 1/4, 1/2.
      CHECK(moment(axis[0], 2) == doctest::Approx(0.25).epsilon(0.11));
      CHECK(moment(axis[1], 2) == doctest::Approx(0.25).epsilon(0.11));
      CHECK(moment(axis[2], 2) == doctest::Approx(0.5).epsilon(0.07));
      for (const auto& a : axis) CHECK(std::abs(moment(a, 1)) < 4.5 * std::sqrt(0.5 / 2500));
    }
  }
}

TEST_CASE("corruptions: graded corruptions move points farther at each severity") {
  const Tensor base = random_cloud(512);
  for (const char* name : {"uniform", "gaussian", "impulse", "rotation", "shear", "distortion",
                           "distortion_rbf", "distortion_rbf_inv"}) {
    double before = 0;
    for (int s = 1; s <= kSeverities; ++s) {
      INFO(name, " ", s);
      std::vector<double> moves;
      for (uint64_t i = 0; i < 16; ++i) {
        append(moves, differences(corrupt_cloud(base, plain(name), s, 11, i), base));
      }
      const double rms = std::sqrt(moment(moves, 2));
      CHECK(rms > 1.05 * before);
      before = rms;
    }
  }
}
