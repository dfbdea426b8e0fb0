// PAC-Bayes scales of quadratics, where both the scale and its error are known.
#include "basin/analysis/pac_bayes.h"

#include <doctest/doctest.h>

#include <cmath>

#include "basin/core/error.h"
#include "basin/tests/analysis/quadratic.h"

namespace basin {
namespace {

using doctest::Approx;
using testing::diagonal_matrix;
using testing::one_vector;
using testing::quadratic_batch;
using testing::vector_of;

LossSurface bowl(const std::vector<double>& a, const std::vector<double>& w) {
  const Tensor zero = Tensor::zeros({static_cast<int64_t>(w.size())}, DType::f64);
  return LossSurface({quadratic_batch(diagonal_matrix(a), zero, zero)}, one_vector(w));
}

TEST_CASE("pac-bayes: sigma of a quadratic is sqrt(2 rise / tr A)") {
  const LossSurface s = bowl({4, 3, 2}, {1, -2, 0.5});
  const Tensor w0 = vector_of({0.5, 0, 0});
  const PacBayes p = pac_bayes_sharpness(
      s, 1000, w0, {.rise = 0.3, .magnitude_aware = false, .pairs = 400, .tolerance = 1e-5});
  const double sigma = std::sqrt(2 * 0.3 / 9);
  CHECK(std::abs(p.scale.value - sigma) < 4 * p.scale.standard_error);
  CHECK(p.scale.standard_error < 0.05 * sigma);
  CHECK(p.rise.value == Approx(0.3).epsilon(1e-4));
  CHECK(p.rise.value <= 0.3);
  // sigma goes as rise^(1/2), so its relative error is half that of the mean rise.
  CHECK(p.scale.standard_error / p.scale.value ==
        Approx(0.5 * p.rise.standard_error / p.rise.value).epsilon(0.02));
  const double kl = (0.25 + 4 + 0.25) / (2 * p.scale.value * p.scale.value);
  CHECK(p.kl == Approx(kl).epsilon(1e-12));
  CHECK(p.bound == Approx(std::sqrt((kl + std::log(2000 / 0.05)) / (2 * 999.0))).epsilon(1e-12));
  CHECK(p.evaluations > 800);
}

TEST_CASE("pac-bayes: alpha of a quadratic, and the divergence with the best prior") {
  const std::vector<double> a{4, 3, 2}, w{1, -2, 0.5};
  const LossSurface s = bowl(a, w);
  const double epsilon = 0.1;
  const PacBayes p = pac_bayes_sharpness(
      s, 500, {}, {.rise = 0.3, .epsilon = epsilon, .pairs = 400, .tolerance = 1e-5});
  // 1/2 sum a_i (alpha^2 w_i^2 + epsilon^2) = rise
  const double alpha = std::sqrt((2 * 0.3 - 9 * epsilon * epsilon) / (4 + 12 + 0.5));
  CHECK(std::abs(p.scale.value - alpha) < 4 * p.scale.standard_error);
  double v[3], mean = 0;
  for (int i = 0; i < 3; ++i) {
    v[i] = p.scale.value * p.scale.value * w[i] * w[i] + epsilon * epsilon;
    mean += (v[i] + w[i] * w[i]) / 3;
  }
  // The general divergence of two diagonal Gaussians at that prior.
  double kl = 0;
  for (int i = 0; i < 3; ++i) kl += 0.5 * ((v[i] + w[i] * w[i]) / mean - 1 - std::log(v[i] / mean));
  CHECK(p.kl == Approx(kl).epsilon(1e-10));
}

TEST_CASE("pac-bayes: losses that never rise, always rise, or are refused") {
  const PacBayes flat = pac_bayes_sharpness(bowl({0, 0}, {1, 1}), 100, {}, {.pairs = 2});
  CHECK(std::isinf(flat.scale.value));
  CHECK(flat.kl == 0);
  const PacBayes wall = pac_bayes_sharpness(bowl({1e60, 1e60}, {0, 0}), 100, {},
                                            {.magnitude_aware = false, .pairs = 2});
  CHECK(wall.scale.value == 0);
  CHECK(std::isinf(wall.bound));
  const LossSurface s = bowl({1, 1}, {1, 1});
  CHECK_THROWS_AS(pac_bayes_sharpness(s, 100, {}, {.rise = 0}), Error);
  CHECK_THROWS_AS(pac_bayes_sharpness(s, 1), Error);
  CHECK_THROWS_AS(pac_bayes_sharpness(s, 100, {}, {.epsilon = 0}), Error);
  CHECK_THROWS_AS(pac_bayes_sharpness(s, 100, vector_of({1})), Error);
}

}  // namespace
}  // namespace basin
