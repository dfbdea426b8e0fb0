// Points of boxes: where they lie, and that a seed is all they depend on.
#include "basin/analysis/pde/sampling.h"

#include <doctest/doctest.h>

#include <cmath>

#include "basin/tests/core/files.h"

using namespace basin;
using test::check_error;

TEST_CASE("pde: a Latin hypercube has one point in every slice of every coordinate") {
  const std::vector<double> low{-1, 0, 5}, high{1, 0.99, 7};
  const int64_t n = 1000;
  const Tensor x = latin_hypercube(n, low, high, 7);
  CHECK(x.shape() == Shape{n, 3});
  for (size_t j = 0; j < 3; ++j) {
    std::vector<int> hits(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) {
      const double part = (x.at(i * 3 + static_cast<int64_t>(j)) - low[j]) / (high[j] - low[j]);
      CHECK(part > 0);
      CHECK(part < 1);
      ++hits[static_cast<size_t>(part * n)];
    }
    CHECK(hits == std::vector<int>(static_cast<size_t>(n), 1));
  }
  CHECK(latin_hypercube(n, low, high, 7).to_vector<double>() == x.to_vector<double>());
  CHECK(latin_hypercube(n, low, high, 8).to_vector<double>() != x.to_vector<double>());
}

TEST_CASE("pde: uniform points have the moments of the box, and their index decides alone") {
  const int64_t n = 40000;
  const Tensor x = uniform_points(n, {-1, 2}, {1, 6}, 3);
  double mean[2] = {}, square[2] = {}, product = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double a = x.at(2 * i), b = (x.at(2 * i + 1) - 4) / 2;
    mean[0] += a / n, mean[1] += b / n;
    square[0] += a * a / n, square[1] += b * b / n;
    product += a * b / n;
  }
  for (int j = 0; j < 2; ++j) {  // five standard errors
    CHECK(std::abs(mean[j]) < 5 * std::sqrt(1.0 / 3 / n));
    CHECK(std::abs(square[j] - 1.0 / 3) < 5 * std::sqrt(4.0 / 45 / n));
  }
  CHECK(std::abs(product) < 5 / 3.0 / std::sqrt(n));
  const std::vector<double> all = x.to_vector<double>();
  CHECK(uniform_points(9, {-1, 2}, {1, 6}, 3).to_vector<double>() ==
        std::vector<double>(all.begin(), all.begin() + 18));
}

TEST_CASE("pde: grids include both ends, the last coordinate runs fastest") {
  const Tensor x = grid_points({2, 3}, {0, -1}, {1, 1});
  CHECK(x.to_vector<double>() == std::vector<double>{0, -1, 0, 0, 0, 1, 1, -1, 1, 0, 1, 1});
  CHECK(grid_points({1, 2}, {0, 0}, {3, 1}).to_vector<double>() ==
        std::vector<double>{1.5, 0, 1.5, 1});
  CHECK(linspace(0, 0.99, 100).at(99) == 0.99);
  check_error(ErrorKind::usage, {"grid_points", "low < high"}, [] { linspace(1, 1, 5); });
  check_error(ErrorKind::usage, {"at least 1 point"}, [] { uniform_points(0, {0}, {1}, 0); });
  check_error(ErrorKind::usage, {"one count per coordinate"}, [] {
    grid_points({1}, {0, 0}, {1, 1});
  });
  check_error(ErrorKind::usage, {"one low and one high"}, [] { latin_hypercube(1, {0}, {}, 0); });
}
