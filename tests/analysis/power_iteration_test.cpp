// Power iteration: the published rule and what it leaves open, deflation, signs, the other end.
#include "basin/analysis/power_iteration.h"

#include <doctest/doctest.h>

#include <limits>

#include "basin/analysis/detail/orthonormal_basis.h"
#include "basin/tests/analysis/spectra.h"

namespace basin {
namespace {

using testing::joined;
using testing::matrix_with;
using testing::ramp;

double true_residual(const SymmetricOperator& a, const PowerResult& pair) {
  Tensor rest = a.apply(pair.vector.view({1, a.size()})).view({a.size()}).clone();
  add_scaled(rest, -pair.value, pair.vector);
  return norm(rest);
}

TEST_CASE("power iteration: separated eigenvalues in the order of their magnitude") {
  const auto a = dense_operator(matrix_with(joined({10, -6, 3}, ramp(47, -0.5, 0.5))));
  const std::vector<PowerResult> got =
      power_iteration(*a, {.count = 3, .max_iterations = 200, .tolerance = 1e-12});
  REQUIRE(got.size() == 3);
  const double exact[] = {10, -6, 3};
  for (size_t i = 0; i < 3; ++i) {
    CHECK(std::abs(got[i].value - exact[i]) < 1e-8);
    CHECK(got[i].settled);
    CHECK(got[i].converged);
    CHECK(got[i].residual == doctest::Approx(true_residual(*a, got[i])).epsilon(1e-6));
    CHECK(std::abs(norm(got[i].vector) - 1) < 1e-13);
  }
  CHECK(std::abs(dot_product(got[0].vector, got[1].vector)) < 1e-12);
}

TEST_CASE("power iteration: the largest magnitude may be negative, and the other end") {
  const auto a = dense_operator(matrix_with(joined({-8, 5}, ramp(40, -1, 1))));
  const PowerOptions options{.max_iterations = 500, .tolerance = 1e-12};
  const PowerResult dominant = power_iteration(*a, options).front();
  CHECK(std::abs(dominant.value + 8) < 1e-8);
  const PowerResult top = opposite_end(*a, dominant, options);
  CHECK(std::abs(top.value - 5) < 1e-8);
  CHECK(top.residual == doctest::Approx(true_residual(*a, top)).epsilon(1e-6));
  CHECK(top.converged);
  const auto b = dense_operator(matrix_with(joined({9, -2}, ramp(40, -0.5, 1))));
  const PowerResult bottom = opposite_end(*b, power_iteration(*b, options).front(), options);
  CHECK(std::abs(bottom.value + 2) < 1e-6);
}

// The paper's rule fires on a slowly creeping quotient; the residual tells.
TEST_CASE("power iteration: settled is not converged") {
  const auto a = dense_operator(matrix_with(ramp(200, 0, 1)));
  PowerOptions options;
  options.residual_tolerance = 1e-3;
  const PowerResult got = power_iteration(*a, options).front();
  CHECK(got.settled);
  CHECK_FALSE(got.converged);
  CHECK(got.iterations < 100);
  CHECK(got.value < 0.999);
  CHECK(got.residual > 1e-3);
  CHECK(1 - got.value < 5 * got.residual);
  options.tolerance = 0;  // to the limit
  options.max_iterations = 7;
  CHECK(power_iteration(*a, options).front().iterations == 7);
}

TEST_CASE("power iteration: zero, one row, more than there are, NaN") {
  const auto zero = diagonal_operator(Tensor::zeros({5}, DType::f64));
  const PowerResult nothing = power_iteration(*zero).front();
  CHECK(nothing.value == 0);
  CHECK(nothing.residual == 0);
  CHECK(nothing.converged);
  CHECK(nothing.iterations == 1);
  const auto one = diagonal_operator(Tensor::from(std::vector<double>{-3}, {1}));
  const std::vector<PowerResult> single = power_iteration(*one, {.count = 4});
  REQUIRE(single.size() == 1);
  CHECK(single[0].value == doctest::Approx(-3));
  CHECK(single[0].converged);
  const auto nan = diagonal_operator(
      Tensor::from(std::vector<double>{1, std::numeric_limits<double>::quiet_NaN()}, {2}));
  CHECK_THROWS_WITH_AS(
      power_iteration(*nan),
      "power_iteration: the product of iteration 1 is not finite; check the operator at this point",
      Error);
  CHECK_THROWS_AS(power_iteration(*one, {.count = 0}), Error);
  CHECK_THROWS_AS(power_iteration(*one, {.max_iterations = 0}), Error);
}

TEST_CASE("power iteration: a pair of opposite signs never settles to a residual") {
  const auto a = diagonal_operator(Tensor::from(std::vector<double>{1, -1, 0.1}, {3}));
  const PowerResult got = power_iteration(*a, {.tolerance = 0}).front();
  CHECK_FALSE(got.converged);
  CHECK(got.residual > 0.01);
}

}  // namespace
}  // namespace basin
