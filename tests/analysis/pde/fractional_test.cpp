// Fractional derivatives against exact ones, their errors as published and their orders;
// Mittag-Leffler values; manufactured solutions.
#include "basin/analysis/pde/fractional.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <numbers>

#include "basin/analysis/pde/fractional_solutions.h"
#include "basin/analysis/pde/sampling.h"
#include "basin/tests/core/files.h"

using namespace basin;
using std::numbers::pi;
using test::check_error;

namespace {

// Row `row` of a matrix times f at low + i h.
double row_times(const Tensor& matrix, int64_t row, double low, double h,
                 const std::function<double(double)>& f) {
  double sum = 0;
  for (int64_t j = 0; j < matrix.size(1); ++j) {
    sum += matrix.at(row * matrix.size(1) + j) * f(low + h * static_cast<double>(j));
  }
  return sum;
}

double squared(double t) { return t * t; }

// `value` to the digits that were printed, of which the last is worth `unit`.
void check_printed(double value, double printed, double unit) {
  INFO(value, " was printed as ", printed);
  CHECK(std::abs(value - printed) <= 0.5 * unit * (1 + 1e-9));
}

}  // namespace

TEST_CASE("pde: Caputo L1 has its published errors and order 2 - a") {
  constexpr double kExact = 1.50450556, kErrors[] = {5.01e-3, 1.80e-3, 6.41e-4, 2.28e-4};
  const double exact = 2 / std::tgamma(2.5);
  CHECK(std::abs(exact - kExact) < 5e-9);
  double before = 0;
  for (int i = 0; i < 4; ++i) {
    const int64_t n = 20 << i;
    const double dt = 1.0 / static_cast<double>(n);
    const Tensor matrix = caputo_l1(0.5, n, dt);
    const double error = std::abs(row_times(matrix, n, 0, dt, squared) - exact);
    check_printed(error, kErrors[i], i < 2 ? 1e-5 : 1e-6);
    if (before > 0) CHECK(std::log2(before / error) == doctest::Approx(1.48).epsilon(0.02));
    before = error;
    // Exact for linear functions, at every time: D t = t^{1-a} / Gamma(2 - a).
    for (const int64_t row : {int64_t{1}, n / 2, n}) {
      const double t = dt * static_cast<double>(row);
      const double linear = row_times(matrix, row, 0, dt, [](double s) { return 3 - 2 * s; });
      CHECK(linear == doctest::Approx(-2 * std::sqrt(t) / std::tgamma(1.5)).epsilon(1e-12));
    }
    CHECK(row_times(matrix, 0, 0, dt, squared) == 0);
  }
}

TEST_CASE("pde: Caputo L2 has its published errors and order 1") {
  constexpr double kErrors[] = {2.86e-2, 1.42e-2, 7.07e-3, 3.53e-3};
  const double exact = 2 / std::tgamma(1.5);  // D^1.5 t^2 at 1
  for (int i = 0; i < 4; ++i) {
    const int64_t n = 20 << i;
    const double dt = 1.0 / static_cast<double>(n);
    const CaputoL2 l2 = caputo_l2(1.5, n, dt);
    check_printed(std::abs(row_times(l2.matrix, n, 0, dt, squared) - exact), kErrors[i],
                  i < 2 ? 1e-4 : 1e-5);
    // Of a linear function nothing is left once its slope is known.
    for (const int64_t row : {int64_t{1}, n / 2, n}) {
      const double rest = row_times(l2.matrix, row, 0, dt, [](double s) { return 3 - 2 * s; });
      CHECK(std::abs(rest - 2 * l2.slope.at(row)) < 1e-10);
    }
  }
}

TEST_CASE("pde: Caputo weights do not cancel") {
  const std::vector<double> w = caputo_weights(0.5, 1'000'001);
  CHECK(w[0] == 1);
  CHECK(w[1] == doctest::Approx(std::sqrt(2) - 1).epsilon(1e-15));
  const long double k = 1e6L;
  const auto last = static_cast<double>(1 / (std::sqrt(k + 1) + std::sqrt(k)));
  CHECK(w[1'000'000] == doctest::Approx(last).epsilon(1e-14));
}

TEST_CASE("pde: Gruenwald-Letnikov weights, matrices and errors") {
  CHECK(grunwald_weights(1.5, 5) == std::vector<double>{1, -1.5, .375, .0625, .0234375});
  CHECK(grunwald_weights(2, 5) == std::vector<double>{1, -2, 1, 0, 0});
  const Tensor left = grunwald_matrix(1.5, 5, 1, 1, Side::left);
  const Tensor right = grunwald_matrix(1.5, 5, 1, 1, Side::right);
  CHECK(left.at(2 * 5 + 3) == 1);  // g_0 above the diagonal
  CHECK(left.at(2 * 5 + 2) == -1.5);
  CHECK(left.at(2 * 5 + 4) == 0);
  CHECK(left.at(4 * 5 + 4) == -1.5);
  for (int64_t i = 0; i < 5; ++i) {
    for (int64_t j = 0; j < 5; ++j) CHECK(right.at(i * 5 + j) == left.at((4 - i) * 5 + 4 - j));
  }
  CHECK(grunwald_matrix(0.5, 3, 1, 0, Side::left).at(1) == 0);
  // Half a derivative of x from 0 is 2 sqrt(x / pi); of order 1 in h.
  double before = 0;
  for (const int64_t n : {100, 200, 400}) {
    const double h = 1.0 / static_cast<double>(n);
    const Tensor half = grunwald_matrix(0.5, n + 1, h, 0, Side::left);
    const double error =
        std::abs(row_times(half, n, 0, h, [](double x) { return x; }) - 2 / std::sqrt(pi));
    if (before > 0) CHECK(std::log2(before / error) == doctest::Approx(1).epsilon(0.02));
    before = error;
  }
}

TEST_CASE("pde: manufactured solution 1, the errors of Gruenwald and Letnikov as published") {
  constexpr double kErrors[] = {6.5e-3, 3.3e-3, 1.7e-3};
  for (int i = 0; i < 3; ++i) {
    const int64_t n = 50 << i;
    const double h = 1.0 / static_cast<double>(n), alpha = 1.5;
    const Tensor left = grunwald_matrix(alpha, n + 1, h, 1, Side::left);
    const Tensor right = grunwald_matrix(alpha, n + 1, h, 1, Side::right);
    double worst = 0;
    for (int64_t row = 1; row < n; ++row) {
      const double sum =
          row_times(left, row, 0, h, [](double x) { return cubic_bump(std::min(x, 1.0)); }) +
          row_times(right, row, 0, h, [](double x) { return cubic_bump(std::min(x, 1.0)); });
      const double exact = cubic_bump_derivative(alpha, h * static_cast<double>(row));
      worst = std::max(worst, std::abs(sum - exact));
    }
    check_printed(worst, kErrors[i], 1e-4);
  }
}

TEST_CASE("pde: manufactured solution 2 solves its equation") {
  const double alpha = 1.8, x = 0.3, t = 0.7, h = 1e-5;
  const double u_t = (decaying_bump(x, t + h) - decaying_bump(x, t - h)) / (2 * h);
  const double space = std::exp(-t) * cubic_bump_derivative(alpha, x);
  CHECK(u_t == doctest::Approx(space + decaying_bump_source(alpha, x, t)).epsilon(1e-8));
  check_error(ErrorKind::usage, {"x in [0, 1]"}, [] { decaying_bump(1.5, 0); });
}

TEST_CASE("pde: manufactured solution 3, the fractional Laplacian") {
  CHECK(std::abs(ball_bump_laplacian(1.5, 0) - 2.32635) < 5e-6);
  CHECK(ball_profile_laplacian(1) == doctest::Approx(1).epsilon(1e-14));
  CHECK(ball_profile_laplacian(1.3) == doctest::Approx(std::tgamma(2.3)).epsilon(1e-14));
  CHECK(ball_bump(1.5, 1.25) == 0);
  for (const double alpha : {0.4, 1.5}) {
    double before = 0;
    for (const int64_t n : {200, 400, 800}) {
      const double h = 2.0 / static_cast<double>(n);
      const Tensor matrix = fractional_laplacian_matrix(alpha, n + 1, h);
      const auto u = [&](double x) { return ball_bump(alpha, x); };
      double error = 0;  // half way inside, away from the singular ends
      for (int64_t row = n / 4; row <= 3 * n / 4; ++row) {
        const double x = -1 + h * static_cast<double>(row);
        error = std::max(
            error, std::abs(row_times(matrix, row, -1, h, u) - ball_bump_laplacian(alpha, x)));
      }
      INFO("order ", alpha, ", n ", n, ", error ", error);
      if (before > 0) CHECK(std::log2(before / error) > 0.8);
      before = error;
      const auto profile = [&](double x) { return ball_profile(alpha, x); };
      const double centre = row_times(matrix, n / 2, -1, h, profile);
      CHECK(std::abs(centre - ball_profile_laplacian(alpha)) < 20 * h);
    }
    CHECK(before < 0.02);
  }
  for (const double alpha : {0.5, 1.3, 1.9}) {
    CHECK(directional_constant(alpha, 1) ==
          doctest::Approx(1 / (2 * std::cos(pi * alpha / 2))).epsilon(1e-13));
  }
  // In two dimensions a plane wave exp(i k x) has the symbol |k|^a: the directional derivatives
  // give C |k|^a int |cos|^a cos(pi a / 2) dtheta (both senses of a direction together).
  const double alpha = 1.4;
  const double angular =
      2 * std::sqrt(pi) * std::tgamma((alpha + 1) / 2) / std::tgamma(alpha / 2 + 1);
  CHECK(directional_constant(alpha, 2) * std::cos(pi * alpha / 2) * angular ==
        doctest::Approx(1).epsilon(1e-13));
}

TEST_CASE("pde: manufactured solution 4 under Caputo L1") {
  const double alpha = 0.6, x = 0.3;
  const int64_t n = 640;
  const double dt = 1.0 / static_cast<double>(n);
  const Tensor matrix = caputo_l1(alpha, n, dt);
  const double derivative =
      row_times(matrix, n, 0, dt, [&](double t) { return quadratic_growth(x, t); });
  const double u_xx = -pi * pi * quadratic_growth(x, 1);
  CHECK(std::abs(derivative - u_xx - quadratic_growth_source(alpha, x, 1)) < 1e-3);
}

TEST_CASE("pde: Mittag-Leffler") {
  CHECK(std::abs(mittag_leffler(.5, -1) - .427583576156) < 1e-12);
  CHECK(std::abs(mittag_leffler(.8, -1) - .386948578619) < 1e-12);
  CHECK(std::abs(mittag_leffler(.8, -pi * pi) - .025279561325) < 1e-12);
  CHECK(std::abs(mittag_leffler(.3, -2) - .290232226168) < 1e-12);
  for (const double x : {1e-6, 1e-3, .2, 1., 3., 5.}) {  // E_{1/2}(-x) = e^{x^2} erfc x
    CHECK(mittag_leffler(.5, -x) == doctest::Approx(std::exp(x * x) * std::erfc(x)).epsilon(1e-11));
  }
  // The power series, where it converges at once, for every order.
  for (const double alpha : {.02, .1, .25, .7, .95, .99, .999}) {
    for (const double x : {.01, .3}) {
      double series = 0;
      for (int k = 0; k < 60; ++k) series += std::pow(-x, k) / std::tgamma(alpha * k + 1);
      INFO("order ", alpha, ", argument ", -x);
      CHECK(std::abs(mittag_leffler(alpha, -x) - series) < 1e-11);
    }
    // Far out: 1 / (x Gamma(1 - a)) - 1 / (x^2 Gamma(1 - 2a)) ..
    const double x = 1e8, far = 1 / (x * std::tgamma(1 - alpha));
    CHECK(mittag_leffler(alpha, -x) == doctest::Approx(far).epsilon(1e-5));
  }
  CHECK(mittag_leffler(1, -2) == std::exp(-2));
  CHECK(mittag_leffler(.5, 0) == 1);
  check_error(ErrorKind::usage, {"z <= 0"}, [] { mittag_leffler(.5, 1); });
  check_error(ErrorKind::usage, {"mittag_leffler", "1.2"}, [] { mittag_leffler(1.2, -1); });
}

TEST_CASE("pde: manufactured solution 5, subdiffusion, which an L1 stepper approaches in order 1") {
  const double alpha = .6;
  const Tensor c = Tensor::from(std::vector<double>{1, 0, 0, .5, 0, -2}, {2, 3});
  const Tensor x = linspace(0, 1, 5), t = linspace(0, .5, 3);
  const Tensor u = subdiffusion(alpha, c, x, t);
  CHECK(u.shape() == Shape{2, 3, 5});
  for (int64_t j = 0; j < 3; ++j) {
    const double decay = mittag_leffler(alpha, -pi * pi * std::pow(t.at(j), alpha));
    const double third = mittag_leffler(alpha, -9 * pi * pi * std::pow(t.at(j), alpha));
    for (int64_t i = 0; i < 5; ++i) {
      const double s1 = std::sin(pi * x.at(i)), s3 = std::sin(3 * pi * x.at(i));
      CHECK(std::abs(u.at(j * 5 + i) - decay * s1) < 1e-15);
      CHECK(std::abs(u.at(15 + j * 5 + i) - .5 * decay * s1 + 2 * third * s3) < 1e-15);
    }
  }
  double before = 0;
  for (const int64_t n : {100, 200, 400}) {  // D^a y = -pi^2 y, y(0) = 1
    const Tensor l1 = caputo_l1(alpha, n, 1.0 / static_cast<double>(n));
    std::vector<double> y{1};
    for (int64_t i = 1; i <= n; ++i) {
      double history = 0;
      for (int64_t j = 0; j < i; ++j) history += l1.at(i * (n + 1) + j) * y[static_cast<size_t>(j)];
      y.push_back(-history / (l1.at(i * (n + 1) + i) + pi * pi));
    }
    const double error = std::abs(y.back() - mittag_leffler(alpha, -pi * pi));
    if (before > 0) CHECK(std::log2(before / error) == doctest::Approx(1).epsilon(0.05));
    before = error;
  }
  check_error(ErrorKind::usage, {"subdiffusion", "[0, 1]"},
              [&] { subdiffusion(alpha, c, linspace(0, 2, 3), t); });
}

TEST_CASE("pde: fractional derivatives refuse orders that they are not") {
  check_error(ErrorKind::usage, {"caputo_l1", "(0, 1)"}, [] { caputo_l1(1, 10, .1); });
  check_error(ErrorKind::usage, {"caputo_l2", "(1, 2)"}, [] { caputo_l2(.5, 10, .1); });
  check_error(ErrorKind::usage, {"positive distance"}, [] { caputo_l1(.5, 10, 0); });
  check_error(ErrorKind::usage, {"shift 0 or 1"}, [] { grunwald_matrix(.5, 3, 1, 2, Side::left); });
  check_error(ErrorKind::usage, {"order 1"}, [] { fractional_laplacian_matrix(1, 3, 1); });
  check_error(ErrorKind::usage, {"dimensions"}, [] { directional_constant(.5, 0); });
}
