// The fractional Laplacian in the ball of one to three dimensions against exact values: of plane
// waves the constant and the line rules, of the ball's own solutions the matrix and its order.
#include "basin/analysis/pde/fractional_ball.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <functional>
#include <numbers>

#include "basin/analysis/pde/fractional.h"
#include "basin/analysis/pde/fractional_solutions.h"
#include "basin/tests/core/files.h"

using namespace basin;
using std::numbers::pi;
using test::check_error;

namespace {

double radius(const Tensor& x, int64_t row) {
  double sum = 0;
  for (int64_t j = 0; j < x.size(1); ++j) sum += std::pow(x.at(row * x.size(1) + j), 2);
  return std::sqrt(sum);
}

// Places of the first `d` coordinates, at 0, 0.2 and about 0.5 from the centre.
Tensor some_places(int64_t d) {
  const double rows[3][3] = {{0, 0, 0}, {0.12, -0.16, 0}, {-0.3, 0.2, 0.35}};
  std::vector<double> x;
  for (const auto& row : rows) x.insert(x.end(), row, row + d);
  return Tensor::from(x, {3, d});
}

double largest_error(double alpha, const Tensor& x, double step, const LineRule& rule,
                     const std::function<double(double)>& u,
                     const std::function<double(double)>& f) {
  const BallLaplacian made = ball_laplacian(alpha, x, step, rule);
  const int64_t columns = made.points.size(0);
  REQUIRE(made.matrix.shape() == Shape{x.size(0), columns});
  double worst = 0;
  for (int64_t i = 0; i < x.size(0); ++i) {
    double sum = 0;
    for (int64_t j = 0; j < columns; ++j) {
      const double weight = made.matrix.at(i * columns + j);
      if (weight != 0) sum += weight * u(radius(made.points, j));
    }
    worst = std::max(worst, std::abs(sum - f(radius(x, i))));
  }
  return worst;
}

}  // namespace

TEST_CASE("pde: line rules integrate even functions over the half sphere") {
  // x_1^m of even m: half the area of the sphere times its mean, 1/2 and 3/8, or 1/3 and 1/5.
  for (const int d : {2, 3}) {
    const LineRule rule = line_rule(d, 5);
    double area = 0, second = 0, fourth = 0, eighth = 0;
    for (size_t k = 0; k < rule.shares.size(); ++k) {
      const auto row = static_cast<int64_t>(k);
      const double c = rule.directions.at(row * d);
      CHECK(radius(rule.directions, row) == doctest::Approx(1).epsilon(1e-15));
      area += rule.shares[k];
      second += rule.shares[k] * c * c;
      fourth += rule.shares[k] * std::pow(c, 4);
      eighth += rule.shares[k] * std::pow(c, 8);
    }
    CHECK(area == doctest::Approx(d == 2 ? pi : 2 * pi).epsilon(1e-14));
    CHECK(second / area == doctest::Approx(d == 2 ? 1. / 2 : 1. / 3).epsilon(1e-14));
    CHECK(fourth / area == doctest::Approx(d == 2 ? 3. / 8 : 1. / 5).epsilon(1e-14));
    CHECK(eighth / area == doctest::Approx(d == 2 ? 35. / 128 : 1. / 9).epsilon(1e-14));
  }
  check_error(ErrorKind::usage, {"1, 2 or 3", "4"}, [] { line_rule(4, 3); });
  check_error(ErrorKind::usage, {"angles", "0"}, [] { line_rule(2, 0); });
}

// Of a plane wave exp(i k x) the directional derivatives have the symbol |k|^a; their sum over the
// sphere with C is to give |k|^a itself.
TEST_CASE("pde: the directional constant in three dimensions") {
  const double alpha = 1.4;
  const double mean = 1 / (alpha + 1);  // of |cos|^a over the sphere
  CHECK(directional_constant(alpha, 3) * std::cos(pi * alpha / 2) * 4 * pi * mean ==
        doctest::Approx(1).epsilon(1e-13));
}

TEST_CASE("pde: the fractional Laplacian in the ball is exact to order 2 in the step") {
  for (const int d : {1, 2, 3}) {
    const Tensor x = some_places(d);
    const LineRule rule = line_rule(d, d == 3 ? 8 : 20);
    for (const double alpha : {0.6, 1.5, 1.8}) {
      double before = 0, error = 0, order = 0;
      for (const double step : {0.04, 0.02, 0.01}) {
        error = largest_error(
            alpha, x, step, rule, [=](double r) { return ball_bump(alpha, r); },
            [=](double r) { return ball_bump_laplacian(alpha, r, d); });
        if (before > 0) order = std::log2(before / error);
        before = error;
      }
      std::printf("fractional ball: d %d, order %.1f: error %.1e at step 0.01, order %.2f\n", d,
                  alpha, error, order);
      INFO("dimension ", d, ", order ", alpha, ", error ", error);
      CHECK(order > 1.8);
      CHECK(error < 3e-3);
      // (1 - |x|^2)^{a/2} is less smooth at the boundary, where the lines are cut.
      const double profile = largest_error(
          alpha, x, 0.01, rule, [=](double r) { return ball_profile(alpha, r); },
          [=](double) { return ball_profile_laplacian(alpha, d); });
      CHECK(profile < 0.05);
    }
  }
}

// (1 - |x|^2)_+^p of any p > 0: 2^{2s} Gamma(p + 1) Gamma(d/2 + s) / (Gamma(p + 1 - s) Gamma(d/2))
// 2F1(s + d/2, s - p; d/2; |x|^2) with s = a / 2 (Dyda 2012), by its series.
double power_laplacian(double alpha, double p, int d, double r) {
  const double s = alpha / 2, half = 0.5 * d;
  double term = 1, sum = 1;
  for (int k = 0; k < 400; ++k) {
    term *= (s + half + k) * (s - p + k) / ((half + k) * (k + 1)) * r * r;
    sum += term;
  }
  return std::pow(2, alpha) * std::tgamma(p + 1) * std::tgamma(half + s) /
         (std::tgamma(p + 1 - s) * std::tgamma(half)) * sum;
}

// Along a line (1 - |x|^2)^{1 + a/2} has a derivative that is a polynomial of the angle, so few
// lines are exact; (1 - |x|^2)^3 has not.
TEST_CASE("pde: more lines make the fractional Laplacian in the ball exact") {
  CHECK(power_laplacian(1.5, 1.75, 2, 0.6) ==
        doctest::Approx(ball_bump_laplacian(1.5, 0.6, 2)).epsilon(1e-13));
  CHECK(power_laplacian(1.5, 0.75, 3, 0.6) ==
        doctest::Approx(ball_profile_laplacian(1.5, 3)).epsilon(1e-13));
  const auto u = [](double r) { return r < 1 ? std::pow(1 - r * r, 3) : 0.0; };
  for (const int d : {2, 3}) {
    const Tensor x = Tensor::from(
        d == 2 ? std::vector<double>{0.7, 0.3} : std::vector<double>{0.5, 0.3, 0.5}, {1, d});
    const auto f = [=](double r) { return power_laplacian(1.5, 3, d, r); };
    const double few = largest_error(1.5, x, 0.005, line_rule(d, 2), u, f);
    const double more = largest_error(1.5, x, 0.005, line_rule(d, 10), u, f);
    std::printf("fractional ball: d %d, error %.1e with 2 angles, %.1e with 10\n", d, few, more);
    CHECK(more < 1e-3);
    CHECK(more < 0.1 * few);
  }
}

TEST_CASE("pde: exact fractional Laplacians in the ball") {
  CHECK(ball_bump_laplacian(1.5, 0.3, 1) == ball_bump_laplacian(1.5, 0.3));
  CHECK(ball_profile_laplacian(1.2, 2) ==
        doctest::Approx(std::pow(2, 1.2) * std::pow(std::tgamma(1.6), 2)));
  // As a tends to 2 the Laplacian itself: of (1 - r^2)^2 it is 4 d - (8 + 4 d) r^2, less signs.
  for (const int d : {1, 2, 3}) {
    for (const double r : {0.0, 0.5}) {
      CHECK(ball_bump_laplacian(2 - 1e-9, r, d) ==
            doctest::Approx(4 * d - (8 + 4 * d) * r * r).epsilon(1e-8));
    }
    CHECK(ball_profile_laplacian(2 - 1e-9, d) == doctest::Approx(2 * d).epsilon(1e-8));
  }
  check_error(ErrorKind::usage, {"dimensions"}, [] { ball_profile_laplacian(1.5, 0); });
}

TEST_CASE("pde: the fractional Laplacian in the ball refuses what it cannot be") {
  const LineRule lines = line_rule(2, 4);
  const Tensor x = some_places(2);
  check_error(ErrorKind::usage, {"order 1"}, [&] { ball_laplacian(1, x, 0.1, lines); });
  check_error(ErrorKind::usage, {"step"}, [&] { ball_laplacian(1.5, x, 0, lines); });
  check_error(ErrorKind::usage, {"[n, 2]"},
              [&] { ball_laplacian(1.5, some_places(3), 0.1, lines); });
  const Tensor outside = Tensor::from(std::vector<double>{0, 0, 1, 0.1}, {2, 2});
  check_error(ErrorKind::usage, {"place 1"}, [&] { ball_laplacian(1.5, outside, 0.1, lines); });
  check_error(ErrorKind::usage, {"elements"}, [&] {
    ball_laplacian(1.5, Tensor::zeros({3000, 2}, DType::f64), 0.01, lines);
  });
}
