// The periodic Burgers flow against Cole and Hopf's solution, against heat, and in its order.
#include "basin/analysis/pde/spectral.h"

#include <doctest/doctest.h>

#include <cmath>
#include <complex>
#include <numbers>

#include "basin/analysis/detail/fourier.h"
#include "basin/analysis/pde/burgers.h"
#include "basin/analysis/pde/random_field.h"
#include "basin/analysis/pde/sampling.h"
#include "basin/core/parallel.h"
#include "basin/core/random.h"
#include "basin/tests/core/files.h"

using namespace basin;
using std::numbers::pi;
using test::check_error;

namespace {

// i / n, the grid of the initial values.
Tensor nodes(int64_t n) { return linspace(0, 1 - 1.0 / static_cast<double>(n), n); }

Tensor sine(int64_t n, double amplitude) {
  Tensor u = Tensor::empty({1, n}, DType::f64);
  for (int64_t i = 0; i < n; ++i) {
    u.mutable_data<double>()[i] = amplitude * std::sin(2 * pi * static_cast<double>(i) / n);
  }
  return u;
}

double largest_difference(const Tensor& a, const Tensor& b) {
  double worst = 0;
  for (int64_t i = 0; i < a.numel(); ++i) worst = std::max(worst, std::abs(a.at(i) - b.at(i)));
  return worst;
}

}  // namespace

TEST_CASE("pde: the Fourier transform is the sum that defines it, and comes back") {
  for (const int64_t n : {2, 4, 8, 64}) {
    detail::ComplexLanes z(n), scratch(n);
    Rng rng(n, 1);
    for (size_t i = 0; i < z.re.size(); ++i) z.re[i] = rng.normal(), z.im[i] = rng.normal();
    const detail::ComplexLanes start = z;
    const detail::Fourier fourier(n);
    fourier.forward(z, scratch);
    for (int64_t k = 0; k < n; ++k) {
      for (int64_t lane = 0; lane < detail::kLanes; ++lane) {
        std::complex<double> sum = 0;
        for (int64_t j = 0; j < n; ++j) {
          const auto i = static_cast<size_t>(j * detail::kLanes + lane);
          sum += std::complex<double>(start.re[i], start.im[i]) *
                 std::polar(1.0, -2 * pi * static_cast<double>(j * k % n) / static_cast<double>(n));
        }
        const auto i = static_cast<size_t>(k * detail::kLanes + lane);
        CHECK(std::abs(sum - std::complex<double>(z.re[i], z.im[i])) < 1e-13);
      }
    }
    fourier.inverse(z, scratch);
    for (size_t i = 0; i < z.re.size(); ++i) {
      CHECK(std::abs(z.re[i] - start.re[i]) < 1e-14);
      CHECK(std::abs(z.im[i] - start.im[i]) < 1e-14);
    }
  }
}

// With y = (x + 1) / 2 and v = u / 2 the benchmark on [-1, 1] becomes this equation with nu / 4 and
// v(y, 0) = sin(2 pi y) / 2.
TEST_CASE("pde: Burgers flow agrees with the solution of Cole and Hopf") {
  const int64_t n = 512;
  const double nu = 0.02;
  const BurgersFlow options{.nu = nu / 4, .duration = 1, .outputs = 5, .largest_step = 1e-3};
  const Tensor points = Tensor::from(std::vector<double>{0, 0.13, 0.4, 0.505, 0.77, 1}, {6});
  const Tensor flow = burgers_flow(sine(n, 0.5), points, options);
  CHECK(flow.shape() == Shape{1, 5, 6});
  for (int64_t j = 0; j < 5; ++j) {
    for (int64_t i = 0; i < 6; ++i) {
      const double exact =
          burgers_solution(2 * points.at(i) - 1, 0.25 * static_cast<double>(j), nu);
      CHECK(std::abs(flow.at(j * 6 + i) - exact / 2) < 1e-10);
    }
  }
}

TEST_CASE("pde: Burgers flow is of order 4 in the step") {
  const Tensor start = sine(128, 1), points = nodes(128);
  BurgersFlow options{.nu = 0.02, .duration = 0.4, .outputs = 2, .largest_step = 0.4 / 2048};
  const Tensor exact = burgers_flow(start, points, options);
  double before = 0;
  for (const int steps : {32, 64, 128, 256}) {
    options.largest_step = 0.4 / steps;
    const double error = largest_difference(burgers_flow(start, points, options), exact);
    if (before > 0) {
      INFO("steps ", steps, ", error ", error, ", order ", std::log2(before / error));
      CHECK(std::log2(before / error) > 3.7);
      CHECK(std::log2(before / error) < 4.6);
    }
    before = error;
  }
}

TEST_CASE("pde: a faint Burgers flow is the heat of its start") {
  const FieldSpectrum faint{.sigma = 625e-9, .modes = 20};
  const PeriodicFields fields = spectral_field(faint, {.seed = 2, .count = 3});
  const Tensor x = nodes(64), y = linspace(0, 1, 11);
  const BurgersFlow options{.nu = 0.05, .duration = 0.5, .outputs = 2, .largest_step = 0.5};
  const Tensor flow = burgers_flow(fields.values(x.view({64, 1})), y, options);
  const Tensor heat = fields.heat(0.05, 0.5).values(y.view({11, 1}));
  for (int64_t f = 0; f < 3; ++f) {
    for (int64_t i = 0; i < 11; ++i) {
      CHECK(std::abs(flow.at((f * 2 + 1) * 11 + i) - heat.at(f * 11 + i)) < 1e-17);
    }
  }
}

TEST_CASE("pde: Burgers flow keeps the mean, loses energy, and does not mind threads") {
  const Tensor x = nodes(256);
  const PeriodicFields fields = spectral_field({.modes = 64}, {.seed = 8, .count = 11});
  const Tensor start = fields.values(x.view({256, 1}));
  const BurgersFlow options{.duration = 0.2, .outputs = 3, .largest_step = 2e-3};
  const Tensor flow = burgers_flow(start, x, options);
  for (int64_t f = 0; f < 11; ++f) {
    double energy = 1e300;
    for (int64_t j = 0; j < 3; ++j) {
      double sum = 0, squares = 0;
      for (int64_t i = 0; i < 256; ++i) {
        const double u = flow.at((f * 3 + j) * 256 + i);
        sum += u, squares += u * u;
      }
      CHECK(std::abs(sum) / 256 < 1e-14);
      CHECK(squares < energy);
      energy = squares;
    }
  }
  const int threads = num_threads();
  set_num_threads(threads == 1 ? 3 : 1);
  CHECK(burgers_flow(start, x, options).to_vector<double>() == flow.to_vector<double>());
  set_num_threads(threads);
}

TEST_CASE("pde: Burgers flow refuses what it cannot follow") {
  const Tensor x = nodes(64);
  check_error(ErrorKind::numerical, {"burgers_flow", "functions 0 to 0", "largest_step"}, [&] {
    burgers_flow(sine(64, 1e4), x, {.nu = 1e-4, .duration = 10, .outputs = 2, .largest_step = 0.1});
  });
  check_error(ErrorKind::usage, {"power of two", "60"}, [&] { burgers_flow(sine(60, 1), x); });
  check_error(ErrorKind::usage, {"at least 2 outputs"},
              [&] { burgers_flow(sine(64, 1), x, {.outputs = 1}); });
}
