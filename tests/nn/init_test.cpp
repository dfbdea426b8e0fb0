// Initial values: ranges, moments, and independence of one parameter from all others.
#include "basin/nn/init.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

namespace basin {
namespace {

TEST_CASE("init: bounds of the two uniform rules") {
  CHECK(torch_init(64).bound == doctest::Approx(0.125).epsilon(1e-15));
  CHECK(torch_init(3).bound == doctest::Approx(0.57735026918962576).epsilon(1e-15));
  CHECK(xavier_uniform(128, 1024).bound == doctest::Approx(0.07216878364870323).epsilon(1e-15));
  CHECK(xavier_uniform(3, 3, 0.5).bound == doctest::Approx(0.5).epsilon(1e-15));
  CHECK(xavier_uniform(3, 3).center == 0);
  CHECK_THROWS_AS(torch_init(0), Error);
  CHECK_THROWS_AS(xavier_uniform(1, 0), Error);
}

TEST_CASE("init: a draw fills its range and has the moments of the uniform distribution") {
  const Init init = torch_init(16);  // U(-1/4, 1/4)
  const std::vector<double> v =
      draw(init, {200, 100}, DType::f64, 7, "layer.weight").to_vector<double>();
  const auto [low, high] = std::minmax_element(v.begin(), v.end());
  CHECK(*low > -0.25);
  CHECK(*low < -0.2499);
  CHECK(*high < 0.25);
  CHECK(*high > 0.2499);
  double mean = 0, square = 0;
  for (double x : v) mean += x / 20000;
  for (double x : v) square += x * x / 20000;
  CHECK(std::abs(mean) < 4 * 0.25 / std::sqrt(3 * 20000.0));  // four standard errors
  CHECK(square == doctest::Approx(0.25 * 0.25 / 3).epsilon(0.03));
}

TEST_CASE("init: a normal draw has the moments and the shape of the normal distribution") {
  const std::vector<double> v =
      draw(normal_init(2), {200, 100}, DType::f64, 7, "table.weight").to_vector<double>();
  double mean = 0, square = 0, within = 0, beyond = 0;
  for (double x : v) {
    mean += x / 20000;
    square += x * x / 20000;
    within += std::abs(x) < 2 ? 1.0 / 20000 : 0;
    beyond += std::abs(x) > 4 ? 1.0 / 20000 : 0;
  }
  CHECK(std::abs(mean) < 4 * 2 / std::sqrt(20000.0));  // four standard errors, here and below
  CHECK(square == doctest::Approx(4).epsilon(4 * std::sqrt(2.0 / 20000)));
  CHECK(std::abs(within - 0.6827) < 0.0132);
  CHECK(std::abs(beyond - 0.0455) < 0.0059);
  CHECK(normal_init().deviation == 1);
}

TEST_CASE("init: values depend on seed and name only") {
  const Init init = torch_init(4);
  const auto values = [&](uint64_t seed, const char* name, const Shape& shape) {
    return draw(init, shape, DType::f64, seed, name).to_vector<double>();
  };
  CHECK(values(1, "a", {3, 4}) == values(1, "a", {3, 4}));
  CHECK(values(1, "a", {3, 4}) != values(2, "a", {3, 4}));
  CHECK(values(1, "a", {3, 4}) != values(1, "b", {3, 4}));
  std::vector<double> longer = values(1, "a", {4, 4});
  longer.resize(12);
  CHECK(longer == values(1, "a", {3, 4}));
}

TEST_CASE("init: f32 is the rounded f64 draw; constants are exact") {
  const Tensor wide = draw(torch_init(4), {5, 5}, DType::f64, 3, "w");
  const Tensor narrow = draw(torch_init(4), {5, 5}, DType::f32, 3, "w");
  for (int64_t i = 0; i < 25; ++i) CHECK(narrow.at(i) == static_cast<float>(wide.at(i)));
  CHECK(draw(constant_init(1), {3}, DType::f32, 3, "g").to_vector<double>() ==
        std::vector<double>{1, 1, 1});
}

}  // namespace
}  // namespace basin
