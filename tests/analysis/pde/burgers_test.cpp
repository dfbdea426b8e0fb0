// Gauss rules against moments, the solution of Cole and Hopf against published and printed values.
#include "basin/analysis/pde/burgers.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "basin/analysis/pde/quadrature.h"
#include "basin/analysis/pde/sampling.h"
#include "basin/tests/core/files.h"

using namespace basin;
using std::numbers::pi;
using test::check_error;

namespace {

// The mean of z^power, to rounding in the mean of |z|^power.
void check_moment(const GaussRule& rule, int power, double expected) {
  double sum = 0, scale = 0;
  for (size_t i = 0; i < rule.nodes.size(); ++i) {
    const double term = rule.weights[i] * std::pow(rule.nodes[i], power);
    sum += term;
    scale += std::abs(term);
  }
  CHECK(std::abs(sum - expected) <= 1e-13 * scale);
}

}  // namespace

TEST_CASE("pde: Gauss rules are exact up to degree 2 n - 1") {
  for (const int n : {1, 2, 5, 20}) {
    const GaussRule hermite = gauss_hermite(n), legendre = gauss_legendre(n);
    double moment = 1;  // of z^power under exp(-z^2) / sqrt(pi)
    for (int power = 0; power < 2 * n; power += 2) {
      check_moment(hermite, power, moment);
      check_moment(hermite, power + 1, 0);
      check_moment(legendre, power, 1.0 / (power + 1));
      moment *= 0.5 * (power + 1);
    }
  }
  const GaussRule two = gauss_hermite(2);
  CHECK(two.nodes[1] == doctest::Approx(std::sqrt(0.5)).epsilon(1e-15));
}

TEST_CASE("pde: many nodes keep their order, their symmetry and their smallest weights") {
  const GaussRule rule = gauss_hermite(300);
  CHECK(std::is_sorted(rule.nodes.begin(), rule.nodes.end()));
  double sum = 0;
  for (size_t i = 0; i < 300; ++i) {
    CHECK(rule.nodes[i] == -rule.nodes[299 - i]);
    CHECK(rule.weights[i] == rule.weights[299 - i]);
    CHECK(rule.weights[i] > 0);
    sum += rule.weights[i];
  }
  CHECK(sum == doctest::Approx(1).epsilon(1e-13));
  // The outermost node and weight of 100, as tables have them (weight function exp(-z^2)).
  const GaussRule hundred = gauss_hermite(100);
  CHECK(hundred.nodes[99] == doctest::Approx(13.4064873381449101).epsilon(1e-14));
  CHECK(hundred.weights[99] * std::sqrt(pi) == doctest::Approx(5.90806786503e-79).epsilon(1e-10));
  check_error(ErrorKind::usage, {"gauss_hermite", "300", "301"}, [] { gauss_hermite(301); });
  check_error(ErrorKind::usage, {"gauss_legendre", "0"}, [] { gauss_legendre(0); });
}

TEST_CASE("pde: Burgers by Cole and Hopf, 21 values") {
  constexpr double kX[] = {.01, .05, .1, .25, .5, .75, .9};
  constexpr double kT[] = {.25, .5, 1};
  constexpr double kU[3][7] = {{-.1264047020, -.5315978594, -.7949743591, -.9920815616,
                                -.8031984208, -.4305162642, -.1750095002},
                               {-.8980496423, -.9789821784, -.9581595534, -.8473545245,
                                -.5927695344, -.3028427083, -.1217894269},
                               {-.5942561676, -.7000270809, -.6654815677, -.5591962931,
                                -.3761813957, -.1889980953, -.0756959445}};
  for (int j = 0; j < 3; ++j) {
    for (int i = 0; i < 7; ++i) {
      CHECK(std::abs(burgers_solution(kX[i], kT[j]) - kU[j][i]) < 1e-9);
      CHECK(burgers_solution(-kX[i], kT[j]) == doctest::Approx(-kU[j][i]).epsilon(1e-9));
    }
    CHECK(std::abs(burgers_solution(1, kT[j])) < 1e-13);
    CHECK(std::abs(burgers_solution(0, kT[j])) < 1e-13);
  }
  CHECK(burgers_solution(0.3, 0) == -std::sin(pi * 0.3));
}

TEST_CASE("pde: the slope of the Burgers layer") {
  double steepest = 0, when = 0;
  for (int i = 0; i <= 4000; ++i) {
    const double t = 0.4 + 0.2 * i / 4000;
    const double slope = std::abs(burgers_slope(0, t));
    if (slope > steepest) steepest = slope, when = t;
  }
  CHECK(std::abs(steepest - 152.00516) < 5e-6);
  CHECK(std::abs(pi * when - 1.6036) < 2e-4);
  CHECK(std::abs(burgers_slope(0, .5) + 151.829647) < 5e-7);
  CHECK(std::abs(burgers_slope(0, 1) + 83.964676) < 5e-7);
  CHECK(burgers_slope(0.25, 0) == doctest::Approx(-pi * std::sqrt(0.5)));
  const double h = 1e-6;  // and elsewhere, against differences
  for (const double x : {-.7, -.2, .1, .6}) {
    const double difference = (burgers_solution(x + h, .4) - burgers_solution(x - h, .4)) / (2 * h);
    CHECK(burgers_slope(x, .4) == doctest::Approx(difference).epsilon(1e-7));
  }
}

TEST_CASE("pde: the grid of the Burgers benchmark") {
  const Tensor x = linspace(-1, 1, 256), t = linspace(0, 0.99, 100);
  const Tensor u = burgers_grid(x, t);
  CHECK(u.shape() == Shape{100, 256});
  double squares = 0;
  for (int64_t i = 0; i < u.numel(); ++i) squares += u.at(i) * u.at(i);
  CHECK(std::abs(std::sqrt(squares / 25600) - .61434) < 5e-6);
  CHECK(u.at(40 * 256 + 100) == burgers_solution(x.at(100), t.at(40)));
  check_error(ErrorKind::usage, {"burgers_grid", "f64"},
              [&] { burgers_grid(x.to(DType::f32), t); });
  check_error(ErrorKind::usage, {"t >= 0"}, [] { burgers_solution(0, -1); });
  check_error(ErrorKind::usage, {"nu > 0"}, [] { burgers_slope(0, 1, 0); });
}
