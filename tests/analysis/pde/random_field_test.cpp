// Random fields: their covariance by a statistical test, and that (seed, index) decides alone.
#include "basin/analysis/pde/random_field.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>

#include "basin/analysis/pde/sampling.h"
#include "basin/core/parallel.h"
#include "basin/tests/core/files.h"

using namespace basin;
using std::numbers::pi;
using test::check_error;

namespace {

// values [count, n] of a Gaussian field: the mean of u_i u_j is k_ij with variance
// (k_ii k_jj + k_ij^2) / count. Of the n (n + 1) / 2 deviations in units of that error the largest
// stays below 5 and their mean square near 1.
void check_covariance(const Tensor& values, const std::function<double(int64_t, int64_t)>& k) {
  const int64_t count = values.size(0), n = values.size(1);
  const double* u = values.data<double>();
  double largest = 0, squares = 0;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = i; j < n; ++j) {
      double sum = 0;
      for (int64_t f = 0; f < count; ++f) sum += u[f * n + i] * u[f * n + j];
      const double error =
          std::sqrt((k(i, i) * k(j, j) + k(i, j) * k(i, j)) / static_cast<double>(count));
      const double deviation = (sum / static_cast<double>(count) - k(i, j)) / error;
      largest = std::max(largest, std::abs(deviation));
      squares += deviation * deviation;
    }
  }
  CHECK(largest < 5);
  CHECK(squares / (0.5 * static_cast<double>(n * (n + 1))) < 2.5);
  CHECK(squares / (0.5 * static_cast<double>(n * (n + 1))) > 0.2);
}

}  // namespace

TEST_CASE("pde: kernel fields have their covariance") {
  const int64_t n = 12;
  const auto rbf = KernelField::rbf(n, 0.2);
  CHECK(rbf.jitter() == 1e-13);
  CHECK(rbf.points().at(11) == doctest::Approx(1));
  check_covariance(rbf.draw({.seed = 1, .count = 20000}), [](int64_t i, int64_t j) {
    const double r = static_cast<double>(i - j) / 11;
    return std::exp(-r * r / (2 * 0.04));
  });
  const auto periodic = KernelField::periodic(n, 1, 0, 2);
  CHECK(periodic.points().at(6) == doctest::Approx(1));
  check_covariance(periodic.draw({.seed = 2, .count = 20000}), [](int64_t i, int64_t j) {
    const double s = std::sin(pi * static_cast<double>(i - j) / 12);
    return std::exp(-2 * s * s);
  });
}

TEST_CASE("pde: a function of a kernel field depends on its seed and its number alone") {
  const auto field = KernelField::rbf(50, 0.1, -1, 1);
  const Tensor all = field.draw({.seed = 5, .count = 21});
  const std::vector<double> values = all.to_vector<double>();
  const Tensor some = field.draw({.seed = 5, .first = 9, .count = 3});
  CHECK(some.to_vector<double>() ==
        std::vector<double>(values.begin() + 9 * 50, values.begin() + 12 * 50));
  const int threads = num_threads();
  set_num_threads(threads == 1 ? 3 : 1);
  CHECK(field.draw({.seed = 5, .count = 21}).to_vector<double>() == values);
  set_num_threads(threads);
  CHECK(field.draw({.seed = 6, .count = 21}).to_vector<double>() != values);
  const Tensor sensors = linspace(-1, 1, 50);
  const Tensor at = field.functions({.seed = 5, .count = 21}, Interpolation::cubic)(sensors);
  for (int64_t i = 0; i < at.numel(); ++i) CHECK(std::abs(at.at(i) - all.at(i)) < 1e-12);
}

TEST_CASE("pde: a smooth kernel on a fine grid is factorised with the smallest jitter") {
  for (const double length : {0.2, 1.0}) {
    const auto field = KernelField::rbf(1000, length);
    CHECK(field.jitter() <= 1e-12);
    const Tensor u = field.draw({.seed = 3, .count = 2});
    for (int64_t i = 1; i < 1000; ++i) CHECK(std::abs(u.at(i) - u.at(i - 1)) < 0.1);
  }
  const auto closed = KernelField::periodic(1000, 1);
  const Tensor u = closed.draw({.seed = 3});
  CHECK(std::abs(u.at(999) - u.at(0)) < 0.05);
}

TEST_CASE("pde: the spectral field of the Burgers operator") {
  const FieldSpectrum spectrum{.modes = 16};
  const PeriodicFields fields = spectral_field(spectrum, {.seed = 4, .count = 20000});
  CHECK(fields.waves.shape() == Shape{16, 1});
  const auto amplitude = [](double k) {
    return std::sqrt(2) * 625 * std::pow(4 * pi * pi * k * k + 25, -2.0);
  };
  CHECK(amplitude(1) == doctest::Approx(.2126).epsilon(1e-3));
  const int64_t n = 10;
  const Tensor values = fields.values(linspace(0, 0.9, n).view({n, 1}));
  check_covariance(values, [&](int64_t i, int64_t j) {
    double sum = 0;
    for (int k = 1; k <= 16; ++k) {
      sum += std::pow(amplitude(k), 2) * std::cos(2 * pi * k * static_cast<double>(i - j) / 10);
    }
    return sum;
  });
  const PeriodicFields one = spectral_field(spectrum, {.seed = 4, .first = 17});
  for (int64_t l = 0; l < 16; ++l) CHECK(one.sine.at(l) == fields.sine.at(17 * 16 + l));
}

TEST_CASE("pde: the spectral field on the square") {
  const FieldSpectrum spectrum{.sigma = 50, .tau = 3, .gamma = 2.5, .modes = 3};
  const PeriodicFields fields = spectral_field_2d(spectrum, {.seed = 9, .count = 20000});
  CHECK(fields.waves.shape() == Shape{24, 2});
  const Tensor points = grid_points({3, 3}, {0, 0}, {0.6, 0.5});
  check_covariance(fields.values(points), [&](int64_t i, int64_t j) {
    double sum = 0;
    for (int64_t l = 0; l < 24; ++l) {
      const double k = fields.waves.at(2 * l), m = fields.waves.at(2 * l + 1);
      const double angle = 2 * pi *
                           (k * (points.at(2 * i) - points.at(2 * j)) +
                            m * (points.at(2 * i + 1) - points.at(2 * j + 1)));
      sum += 2 * 2500 * std::pow(4 * pi * pi * (k * k + m * m) + 9, -2.5) * std::cos(angle);
    }
    return sum;
  });
}

TEST_CASE("pde: random fields refuse what makes none") {
  check_error(ErrorKind::usage, {"KernelField::rbf", "positive length"},
              [] { KernelField::rbf(10, 0); });
  check_error(ErrorKind::usage, {"4 to 20000"}, [] { KernelField::periodic(3, 1); });
  check_error(ErrorKind::usage, {"domain"}, [] { KernelField::rbf(10, 1, 1, 0); });
  check_error(ErrorKind::usage, {"at least one mode"}, [] { spectral_field({.modes = 0}, {}); });
  check_error(ErrorKind::usage, {"sigma > 0"}, [] { spectral_field({.sigma = 0}, {}); });
  check_error(ErrorKind::usage, {"at least one function"},
              [] { spectral_field_2d({.modes = 1}, {.count = 0}); });
}
