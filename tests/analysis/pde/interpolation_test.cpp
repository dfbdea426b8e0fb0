// Interpolants: exact on the polynomials and waves they should be exact on, orders elsewhere, exact
// integrals; trigonometric sums under heat and shifts.
#include "basin/analysis/pde/interpolation.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <numbers>

#include "basin/analysis/pde/periodic_fields.h"
#include "basin/analysis/pde/quadrature.h"
#include "basin/analysis/pde/sampling.h"
#include "basin/tests/core/files.h"

using namespace basin;
using std::numbers::pi;
using test::check_error;

namespace {

Tensor tabulated(int64_t n, double low, double step, const std::function<double(double)>& f) {
  Tensor out = Tensor::empty({1, n}, DType::f64);
  for (int64_t i = 0; i < n; ++i) {
    out.mutable_data<double>()[i] = f(low + step * static_cast<double>(i));
  }
  return out;
}

double largest_error(const Tensor& values, const Tensor& x,
                     const std::function<double(double)>& f) {
  double worst = 0;
  for (int64_t i = 0; i < x.numel(); ++i) {
    worst = std::max(worst, std::abs(values.at(i) - f(x.at(i))));
  }
  return worst;
}

// int_low^x of the interpolant by Gauss-Legendre on each of its cells.
double integral_by_rule(const Interpolant& f, double low, double x, int cells, double step) {
  const GaussRule rule = gauss_legendre(4);
  double sum = 0;
  for (int c = 0; c < cells; ++c) {
    const double from = low + c * step, to = std::min(from + step, x);
    for (size_t i = 0; from < x && i < 4; ++i) {
      const double at = 0.5 * (from + to) + 0.5 * (to - from) * rule.nodes[i];
      sum += (to - from) * rule.weights[i] * f(Tensor::from(std::vector{at}, {1})).item();
    }
  }
  return sum;
}

}  // namespace

TEST_CASE("pde: a cubic spline reproduces cubics, a straight one lines") {
  const auto cubic = [](double x) { return 2 - x + 3 * x * x - 0.5 * x * x * x; };
  const auto primitive = [](double x) { return 2 * x - x * x / 2 + x * x * x - x * x * x * x / 8; };
  const Tensor x = linspace(-1, 2, 37);
  for (const int64_t n : {4, 5, 6, 20}) {
    const double step = 3.0 / static_cast<double>(n - 1);
    const auto f = Interpolant::on_line(tabulated(n, -1, step, cubic), -1, 2, Interpolation::cubic);
    CHECK(largest_error(f(x), x, cubic) < 1e-13);
    CHECK(largest_error(f.antiderivative(x), x,
                        [&](double at) { return primitive(at) - primitive(-1); }) < 1e-13);
  }
  const auto line = [](double at) { return 1 - 2 * at; };
  const auto f = Interpolant::on_line(tabulated(2, -1, 3, line), -1, 2, Interpolation::linear);
  CHECK(largest_error(f(x), x, line) < 1e-14);
}

TEST_CASE("pde: interpolants have order 2 and 4, and integrals of their own") {
  const auto wave = [](double x) { return std::sin(3 * x) + std::cos(x); };
  const Tensor x = linspace(0, 1, 401);
  double before[2] = {};
  for (const int64_t n : {21, 41}) {
    for (const auto kind : {Interpolation::linear, Interpolation::cubic}) {
      const double step = 1.0 / static_cast<double>(n - 1);
      const auto f = Interpolant::on_line(tabulated(n, 0, step, wave), 0, 1, kind);
      const double error = largest_error(f(x), x, wave);
      double& last = before[static_cast<int>(kind)];
      if (last > 0) CHECK(std::log2(last / error) > (kind == Interpolation::linear ? 1.9 : 3.6));
      last = error;
      for (const double at : {0.0, 0.013, 0.5, 1.0}) {
        const double own = f.antiderivative(Tensor::from(std::vector{at}, {1})).item();
        CHECK(std::abs(own - integral_by_rule(f, 0, at, static_cast<int>(n - 1), step)) < 1e-14);
      }
    }
  }
}

TEST_CASE("pde: periodic interpolants close, and go on for ever") {
  const auto wave = [](double x) { return std::sin(pi * x) + 0.25; };  // period 2
  double before = 0;
  for (const int64_t n : {16, 32}) {
    const Tensor values = tabulated(n, -1, 2.0 / static_cast<double>(n), wave);
    const auto f = Interpolant::periodic(values, -1, 2, Interpolation::cubic);
    const Tensor x = linspace(-7, 9, 333);
    const double error = largest_error(f(x), x, wave);
    if (before > 0) CHECK(std::log2(before / error) > 3.8);
    before = error;
    // The integral over a period is 1/2, over three more of them 3/2 more.
    const Tensor ends = Tensor::from(std::vector<double>{1, 7, -3}, {3});
    const Tensor integral = f.antiderivative(ends);
    CHECK(integral.at(0) == doctest::Approx(0.5));
    CHECK(integral.at(1) == doctest::Approx(2));
    CHECK(integral.at(2) == doctest::Approx(-0.5));
    const Tensor own = f.at_own_points(x.view({1, 333}));
    CHECK(own.to_vector<double>() == f(x).to_vector<double>());
  }
  check_error(ErrorKind::usage, {"n >= 4"}, [] {
    Interpolant::on_line(Tensor::zeros({1, 3}, DType::f64), 0, 1, Interpolation::cubic);
  });
  check_error(ErrorKind::usage, {"within [0, 1]", "1.5"}, [] {
    Interpolant::on_line(Tensor::zeros({1, 3}, DType::f64), 0, 1,
                         Interpolation::linear)(Tensor::from(std::vector{1.5}, {1}));
  });
}

TEST_CASE("pde: heat and shifts of trigonometric sums are exact, on the line and on the square") {
  PeriodicFields f{line_waves(3), Tensor::from(std::vector<double>{1, 0, -2}, {1, 3}),
                   Tensor::from(std::vector<double>{0.5, 3, 0}, {1, 3})};
  const auto u = [](double x, double nu_t) {
    const auto decay = [&](int k) { return std::exp(-nu_t * std::pow(2 * pi * k, 2)); };
    return decay(1) * (std::cos(2 * pi * x) + 0.5 * std::sin(2 * pi * x)) +
           decay(2) * 3 * std::sin(4 * pi * x) - decay(3) * 2 * std::cos(6 * pi * x);
  };
  const Tensor x = linspace(-1, 2, 301);
  CHECK(largest_error(f.values(x.view({301, 1})), x, [&](double at) { return u(at, 0); }) < 1e-13);
  CHECK(largest_error(f.heat(0.01, 0.7).shifted({0.3}).values(x.view({301, 1})), x,
                      [&](double at) { return u(at - 0.3, 0.007); }) < 1e-13);

  PeriodicFields square{square_waves(2), Tensor::zeros({1, 12}, DType::f64),
                        Tensor::zeros({1, 12}, DType::f64)};
  int64_t place = -1;
  for (int64_t l = 0; l < 12; ++l) {
    if (square.waves.at(2 * l) == 1 && square.waves.at(2 * l + 1) == -2) place = l;
  }
  REQUIRE(place >= 0);
  square.sine.mutable_data<double>()[place] = 2;
  const Tensor points = grid_points({7, 9}, {0, 0}, {1, 1});
  const Tensor values = square.heat(0.02, 0.5).shifted({0.1, 0.2}).values(points);
  for (int64_t i = 0; i < 63; ++i) {
    const double angle = 2 * pi * ((points.at(2 * i) - 0.1) - 2 * (points.at(2 * i + 1) - 0.2));
    CHECK(std::abs(values.at(i) - 2 * std::exp(-0.01 * 4 * pi * pi * 5) * std::sin(angle)) < 1e-13);
  }
  check_error(ErrorKind::usage, {"shift of 1 numbers"}, [&] { f.shifted({1, 2}); });
  check_error(ErrorKind::usage, {"t >= 0"}, [&] { f.heat(1, -1); });
  check_error(ErrorKind::usage, {"points [n, 1]"}, [&] { f.values(points); });
}
