// Moments of clouds and neighbours: values of small clouds by hand and by scalar loops, invariance,
// and the networks that take them as node inputs.
#include "basin/models/detail/moments.h"

#include <doctest/doctest.h>

#include "basin/models/egnn.h"
#include "basin/models/symmetry.h"
#include "basin/tests/models/pointnet_fixture.h"

namespace basin {
namespace {

using testing::difference;
using testing::generic_state;
using testing::random_clouds;
using testing::random_tensor;

using Matrix3x3 = std::array<std::array<double, 3>, 3>;
using Vector3 = std::array<double, 3>;

Tensor of_neighbours(const Tensor& points, int64_t k) {
  return neighbour_moments(points, knn(points, k, false));
}

TEST_CASE("moments: a square with its centre on one side of its plane, by hand") {
  // Corners (+-1, +-1, 0): mean |g|^2 = 2, u = g / sqrt(2), S = diag(3/2, 3/2, 0), no skewness.
  const Tensor square =
      Tensor::from(std::vector<double>{1, 1, 0, 1, -1, 0, -1, 1, 0, -1, -1, 0}, {1, 4, 3});
  const Tensor m = cloud_moments(square);
  REQUIRE(m.shape() == Shape{1, 4, kCloudMoments});
  const std::vector<double> expected{1, 1.5, 2.25, 0, 0, 0, 4.5, 6.75, 0, 0, 0};
  for (int64_t i = 0; i < 4 * kCloudMoments; ++i) {
    CHECK(m.at(i) == doctest::Approx(expected[static_cast<size_t>(i % kCloudMoments)]));
  }
  // All three others: d / sqrt(2) of (1, 1) is (0, -2), (-2, 0), (-2, -2) over sqrt(2).
  const Tensor n = of_neighbours(square, 3);
  const double c = 8.0 / 3;                        // (2 + 2 + 4) / 3
  const double off = 2.0 / 3 / c, diagonal = 0.5;  // C / c = [[1/2, 1/4], [1/4, 1/2]]
  CHECK(n.at(0) == doctest::Approx(std::sqrt(c)));
  CHECK(n.at(1) == doctest::Approx(3 * 2 * (diagonal * diagonal + off * off)));
  CHECK(n.at(2) == doctest::Approx(0));                // a plane
  CHECK(n.at(3) == doctest::Approx(2 * 8.0 / 9 / c));  // v = -(4, 4) / (3 sqrt 2)
  CHECK(n.at(4) == doctest::Approx(-4.0 / 3 / std::sqrt(c)));
  CHECK(n.at(5) == doctest::Approx(diagonal + off));  // u = (1, 1) / sqrt 2
  CHECK(n.at(6) == doctest::Approx(0));
  CHECK(n.at(7) == doctest::Approx(0));
  CHECK(n.at(8) == doctest::Approx(1.5));
  CHECK(n.at(9) == doctest::Approx(2.25));
}

TEST_CASE("moments: along the principal axes they are the squared coordinates there") {
  // Four points on each of two axes of unlike length and two on the third, skewed along the first.
  const std::vector<double> x{3, 0, 0, -1, 0,  0, -1, 0, 0,  -1, 0, 0,
                              0, 1, 0, 0,  -1, 0, 0,  0, .5, 0,  0, -.5};
  const int64_t n = 8;
  const Tensor m = cloud_moments(Tensor::from(x, {1, n, 3}));
  Vector3 eigenvalue{};
  double size = 0, third = 0;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t a = 0; a < 3; ++a) {
      const double square = x[3 * i + a] * x[3 * i + a];
      eigenvalue[a] += square;
      size += square / double(n);
      third += square * x[3 * i];  // |g|^2 along the first axis: all others have no x there
    }
  }
  for (double& e : eigenvalue) e *= 3 / double(n) / size;
  third /= double(n) * std::pow(size, 1.5);
  for (int64_t i = 0; i < n; ++i) {
    for (int power = 0; power < 3; ++power) {
      double even = 0;
      for (int64_t a = 0; a < 3; ++a) {
        even += std::pow(eigenvalue[a], power) * x[3 * i + a] * x[3 * i + a] / size;
      }
      const double odd = std::pow(eigenvalue[0], power) * x[3 * i] / std::sqrt(size) * third;
      CHECK(m.at(i * kCloudMoments + power) == doctest::Approx(even));
      CHECK(m.at(i * kCloudMoments + 3 + power) == doctest::Approx(odd));
    }
  }
}

TEST_CASE("moments: no motion, reflection or unit of length alters them, permutations permute") {
  const Tensor points = random_clouds(3, 20, 8);
  const std::vector<int64_t> order = random_permutation(20, 4);
  const auto both = [](const Tensor& x) {
    return concat({cloud_moments(x), of_neighbours(x, 6)}, 2);
  };
  const Tensor plain = both(points);
  REQUIRE(difference(slice(plain, 0, 0, 1), slice(plain, 0, 1, 2)) > 1e-2);
  REQUIRE(difference(slice(plain, 1, 0, 1), slice(plain, 1, 1, 2)) > 1e-2);
  for (const bool reflection : {false, true}) {
    const Tensor other = moved(points, random_orthogonal(9, reflection), {0.7, -1.3, 0.4});
    CHECK(difference(both(other * 3.7), plain) < 1e-9);
  }
  CHECK(difference(both(permuted(points, order)), permuted(plain, order)) < 1e-9);
  // No cloud is another's affair.
  CHECK(difference(both(slice(points, 0, 1, 2)), slice(plain, 0, 1, 2)) < 1e-12);
}

TEST_CASE("moments: points in one place have finite moments and derivatives") {
  const Fn total = [](const Tensors& x) {
    return Tensors{sum(cloud_moments(x[0])) + sum(of_neighbours(x[0], 3))};
  };
  const Tensor twice = random_clouds(1, 4, 2);
  const Tensor clouds[] = {Tensor::zeros({1, 6, 3}, DType::f64), concat({twice, twice, twice}, 1)};
  for (const Tensor& x : clouds) {
    CHECK(std::isfinite(total({x})[0].item()));
    const Tensors h = linearize(grad(total), {x})({random_tensor(x.shape(), 3)});
    for (int64_t i = 0; i < x.numel(); ++i) CHECK(std::isfinite(h[0].at(i)));
  }
}

TEST_CASE("egnn: moments and an embedding keep every symmetry") {
  for (const char* moments : {"cloud", "neighbours", "both"}) {
    CAPTURE(moments);
    const Model model = make_model({.name = "egnn",
                                    .options = {{"hidden", "6"},
                                                {"layers", "2"},
                                                {"k", "5"},
                                                {"moments", moments},
                                                {"embedding", "10"}}});
    const ModelState state = generic_state(model, 3);
    const Tensor points = random_clouds(3, 30, 8);
    const auto outputs = [&](const Tensor& x) {
      return model.forward(state.params.values(), {}, {x}, {}).outputs[0];
    };
    CHECK(difference(outputs(points),
                     outputs(moved(points, random_orthogonal(9, true), {0.7, -1.3, 0.4}))) < 1e-9);
    REQUIRE(difference(slice(outputs(points), 0, 0, 1), slice(outputs(points), 0, 1, 2)) > 1e-3);
    for (const SymmetryError& e : measure_symmetry(model, state, {points}, {2, 1}).layers) {
      CAPTURE(e.layer);
      CHECK(e.declared);
      CHECK(e.largest() < (e.dtype == DType::f64 ? 1e-9 : 1e-4));
    }
  }
}

TEST_CASE("egnn: what moments and an embedding add to the parameters") {
  const auto parameters = [](const OptionValues& options) {
    return make_model({.name = "egnn", .options = options}).layout.total_elements();
  };
  CHECK(parameters({{"moments", "cloud"}}) == 127464 + 11 * 64);
  CHECK(parameters({{"moments", "neighbours"}}) == 127464 + 10 * 64);
  CHECK(parameters({{"moments", "both"}, {"radius", "true"}}) == 127464 + 22 * 64);
  // A map 4 x 64 -> 100, and a read-out 200 -> 100 -> 40 in place of 128 -> 64 -> 40.
  CHECK(parameters({{"embedding", "100"}}) ==
        127464 - (128 * 64 + 64 + 64 * 40) + 257 * 100 + 201 * 100 + 100 * 40);
}

}  // namespace
}  // namespace basin
