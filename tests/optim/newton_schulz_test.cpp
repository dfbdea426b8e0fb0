// Newton-Schulz against the numbers of its scalar map, its symmetries and its failure modes.
#include "basin/optim/newton_schulz.h"

#include "basin/core/parallel.h"
#include "basin/kernels/linalg.h"
#include "basin/tests/optim/optim_fixtures.h"

using namespace basin;
using namespace basin::optim_test;

namespace {

struct Range {
  double low, high;
};

// Range of the map after all steps for inputs in [from, 1], on a fine logarithmic grid.
Range range_of(const std::vector<OddQuintic>& steps, double from) {
  constexpr int kPoints = 100001;
  Range r{1e9, -1e9};
  for (int i = 0; i < kPoints; ++i) {
    const double t = std::pow(from, 1 - static_cast<double>(i) / (kPoints - 1));
    const double v = scalar_map(steps, t);
    r = {std::min(r.low, v), std::max(r.high, v)};
  }
  return r;
}

// U diag(s) V^T with random orthogonal U [m, p], V [n, p] from the SVD of a Gaussian.
Tensor with_spectrum(const std::vector<double>& s, int64_t m, int64_t n, uint64_t seed) {
  SvdFactors f = Svd::cpu(random_tensor({m, n}, DType::f64, seed));
  const int64_t p = std::min(m, n);
  double* vt = f.vt.mutable_data<double>();
  for (int64_t i = 0; i < p; ++i) {
    for (int64_t j = 0; j < n; ++j) vt[i * n + j] *= s[i];
  }
  return product(f.u, f.vt);
}

Tensor orthogonal(int64_t n, uint64_t seed) {
  return Svd::cpu(random_tensor({n, n}, DType::f64, seed)).u;
}

}  // namespace

TEST_CASE("newton-schulz: the quintic's scalar map at the listed points") {
  const auto steps = coefficient_set("jordan");
  REQUIRE(steps.size() == 5);
  const double table[][2] = {{1e-4, 0.0484731}, {1e-3, 0.4705440}, {0.01, 0.6989171},
                             {0.05, 0.7581197}, {0.1, 0.7121201},  {0.2, 0.7467689},
                             {0.3, 1.0795923},  {0.5, 0.7654385},  {0.7, 1.1203226},
                             {0.9, 0.6820107},  {1.0, 0.6964364}};
  for (const auto& [t, value] : table)
    CHECK(scalar_map(steps, t) == doctest::Approx(value).epsilon(1e-7));
  const auto one = coefficient_set("jordan", 1);
  CHECK(scalar_map(one, 0.868026) == doctest::Approx(0.868026).epsilon(1e-6));
  CHECK(scalar_map(one, 1.263729) == doctest::Approx(1.263729).epsilon(1e-5));
  CHECK(scalar_map(one, 0.554529) == doctest::Approx(1.202369).epsilon(1e-6));
  CHECK(scalar_map(one, 1.050136) == doctest::Approx(0.681831).epsilon(1e-6));
  CHECK(scalar_map(coefficient_set("jordan", 20), 1.27) > 1e6);  // beyond the last fixed point
  CHECK(scalar_map(steps, 1e-9) / 1e-9 == doctest::Approx(484.9).epsilon(1e-4));
  const double minima[] = {0.034, 0.118, 0.400, 0.682, 0.682};
  for (int n = 1; n <= 5; ++n) {
    CHECK(std::abs(range_of(coefficient_set("jordan", n), 0.01).low - minima[n - 1]) < 6e-4);
  }
  const Range band = range_of(steps, 0.01);
  CHECK(std::abs(band.low - 0.6818) < 5e-5);
  CHECK(std::abs(band.high - 1.1344) < 5e-5);
}

TEST_CASE("newton-schulz: output range of every coefficient set") {
  struct Row {
    const char* set;
    int steps;
    double low, high, low_small, high_small, tolerance;
  };
  const Row rows[] = {
      {"higham", 5, 0.0758, 1, 0.0076, 1, 6e-5},
      {"classic", 5, 0.2285, 1, 0.0232, 1, 6e-5},
      {"tuned5", 5, 0.9778, 1.0318, 0.4750, 1.1450, 6e-5},
      {"cans", 5, 0.8844, 1.1198, 0.8844, 1.1198, 6e-5},
      {"polar_express", 5, 0.870, 1.124, 0.846, 1.124, 6e-4},
      {"polar_express", 6, 0.9974, 1.0012, 0.994, 1.001, 6e-4},
      {"polar_express", 7, 1, 1, 1, 1, 5e-5},
      {"minimax4", 4, 0.6831, 1.1344, 0.2755, 1.1344, 6e-5},
      {"relaxed", 5, 0.774, 1.300, 0.119, 1.300, 6e-4},
      {"jordan8+2", 10, 1, 1.0005, 1, 1.0005, 6e-5},
  };
  for (const Row& row : rows) {
    CAPTURE(row.set);
    CAPTURE(row.steps);
    const auto steps = coefficient_set(row.set, row.steps);
    const Range usual = range_of(steps, 0.01), small = range_of(steps, 0.001);
    CHECK(std::abs(usual.low - row.low) < row.tolerance);
    CHECK(std::abs(usual.high - row.high) < row.tolerance);
    CHECK(std::abs(small.low - row.low_small) < row.tolerance);
    CHECK(std::abs(small.high - row.high_small) < row.tolerance);
  }
}

TEST_CASE("newton-schulz: minimax4 reaches in four steps where jordan gets in five") {
  const OrthogonaliseConfig config{.set = "minimax4"};
  const Range five = range_of(coefficient_set("jordan"), 0.01);
  const auto steps = coefficient_set("minimax4");
  const double factor = safety_factor(config);
  CHECK(factor == 1.01);
  CHECK(safety_factor({}) == 1);
  for (double t = 0.0027; t <= 1; t *= 1.0001) {
    const double v = scalar_map(steps, t / factor);
    REQUIRE(v > five.low - 1e-6);
    REQUIRE(v < five.high + 1e-6);
  }
  CHECK(scalar_map(steps, 1e-9) / 1e-9 / factor == doctest::Approx(275.8).epsilon(1e-3));
}

TEST_CASE("newton-schulz: number of steps beyond the listed ones converges to 1") {
  for (const char* set : {"tuned5", "cans", "polar_express", "minimax4", "relaxed"}) {
    CAPTURE(set);
    const Range r = range_of(coefficient_set(set, 12), 0.01);
    CHECK(r.low > 1 - 1e-4);
    CHECK(r.high < 1 + 1e-4);
  }
  CHECK(coefficient_set("polar_express").size() == 5);
  CHECK(coefficient_set("minimax4").size() == 4);
  CHECK(coefficient_set("jordan8+2").size() == 10);
  CHECK(coefficient_set("jordan", 0).empty());
  CHECK(error_of([] { coefficient_set("jordon"); }, ErrorKind::usage) ==
        "newton-schulz: no coefficient set 'jordon'; did you mean 'jordan'?");
}

TEST_CASE("newton-schulz: a matrix follows the scalar map, singular vectors stay") {
  const std::vector<double> s{1.0, 0.7, 0.4, 0.2, 0.1, 0.05, 0.03, 0.02};
  for (const auto& [m, n] : {std::pair{8, 20}, {20, 8}, {8, 8}}) {
    const Tensor g = with_spectrum(s, m, n, 7);
    const double norm = frobenius_norm(g);
    const SvdFactors f = Svd::cpu(g);
    for (const std::string& set : coefficient_set_names()) {
      CAPTURE(set);
      OrthogonaliseConfig config{.set = set, .eps = 0};
      const double factor = safety_factor(config);
      const Tensor core =
          product(product(transposed(f.u), orthogonalise(g, config)), transposed(f.vt));
      double worst = 0;
      for (int64_t i = 0; i < 8; ++i) {
        for (int64_t j = 0; j < 8; ++j) {
          const double expected =
              i == j ? scalar_map(coefficient_set(set), s[i] / (norm * factor)) : 0.0;
          worst = std::max(worst, std::abs(core.at(i * 8 + j) - expected));
        }
      }
      CHECK(worst < 1e-12);
    }
    const Tensor single = orthogonalise(g.to(DType::f32));
    const Tensor core = product(product(transposed(f.u), single), transposed(f.vt));
    for (int64_t i = 0; i < 64; ++i) {
      if (i / 8 != i % 8) CHECK(std::abs(core.at(i)) < 1e-6);
    }
  }
}

TEST_CASE("newton-schulz: inner product with the gradient lies in the band of the nuclear norm") {
  const Tensor g = with_spectrum({1, 0.9, 0.5, 0.3, 0.2, 0.1}, 6, 30, 3);
  const Tensor o = orthogonalise(g);
  double inner = 0, nuclear = 0;
  for (int64_t i = 0; i < g.numel(); ++i) inner += g.at(i) * o.at(i);
  const Tensor s = SingularValues::cpu(g);
  for (int64_t i = 0; i < s.numel(); ++i) nuclear += s.at(i);
  CHECK(inner / nuclear > 0.68);
  CHECK(inner / nuclear < 1.135);
}

TEST_CASE("newton-schulz: orthogonal equivariance, scale invariance, transposition") {
  const Tensor g = random_tensor({24, 40}, DType::f64, 11);
  const Tensor q1 = orthogonal(24, 12), q2 = orthogonal(40, 13);
  const Tensor rotated = orthogonalise(product(product(q1, g), q2));
  CHECK(max_difference(rotated, product(product(q1, orthogonalise(g)), q2)) < 1e-13);
  const OrthogonaliseConfig no_eps{.eps = 0};
  for (double c : {1e-6, 0.3, 1e8}) {
    CHECK(max_difference(orthogonalise(times(g, c), no_eps), orthogonalise(g, no_eps)) < 1e-13);
  }
  for (DType dtype : {DType::f32, DType::f64}) {
    const Tensor wide = g.to(dtype);
    const double tolerance = dtype == DType::f32 ? 2e-6 : 1e-14;  // the norm sums in memory order
    CHECK(max_difference(transposed(orthogonalise(wide)), orthogonalise(transposed(wide))) <
          tolerance);
  }
}

TEST_CASE("newton-schulz: a row or column is normalised with gain 0.6964") {
  for (const Shape& shape : {Shape{1, 9}, Shape{9, 1}}) {
    const Tensor g = random_tensor(shape, DType::f64, 5);
    const Tensor o = orthogonalise(g, {.eps = 0});
    const double norm = frobenius_norm(g);
    for (int64_t i = 0; i < 9; ++i) {
      CHECK(o.at(i) == doctest::Approx(0.6964364 * g.at(i) / norm).epsilon(1e-7));
    }
  }
}

TEST_CASE("newton-schulz: zero, tiny and non-finite gradients") {
  for (DType dtype : {DType::f32, DType::f64}) {
    for (bool exact : {false, true}) {
      for (const Shape& shape : {Shape{5, 7}, Shape{1, 7}}) {
        OrthogonaliseConfig config;
        config.exact = exact;
        const Tensor o = orthogonalise(Tensor::zeros(shape, dtype), config);
        CHECK(max_difference(o, Tensor::zeros(shape, dtype)) == 0);
      }
    }
    const Tensor g = random_tensor({6, 10}, dtype, 21);
    const Tensor unit = orthogonalise(g, {.eps = 0});
    const double unit_norm = frobenius_norm(g);
    const double tolerance = dtype == DType::f32 ? 2e-5 : 1e-13;
    for (double norm : {1e-10, 1e-20, 1e-30}) {
      const Tensor tiny = times(g, norm / unit_norm);
      CHECK(frobenius_norm(tiny) == doctest::Approx(norm).epsilon(1e-6));
      CHECK(max_difference(orthogonalise(tiny, {.eps = 0}), unit) < tolerance);
      CHECK(max_difference(orthogonalise(tiny, {.norm = NormMode::relative}), unit) < 1e-4);
    }
    // The absolute eps of the reference code: near-orthogonal at 1e-8, faded at 1e-20.
    const double at_1e8 = frobenius_norm(orthogonalise(times(g, 1e-8 / unit_norm)));
    CHECK(at_1e8 > 0.5 * std::sqrt(6.0));
    CHECK(frobenius_norm(orthogonalise(times(g, 1e-20 / unit_norm))) ==
          doctest::Approx(std::pow(3.4445, 5) * 1e-13).epsilon(1e-3));
    const Tensor bad = Tensor::full({3, 4}, dtype, std::nan(""));
    CHECK(std::isnan(orthogonalise(bad).at(0)));
    const std::string message =
        error_of([&] { orthogonalise(bad, {.exact = true}); }, ErrorKind::numerical);
    CHECK(message == "svd: element 0 of the matrix [3, 4] is nan");
  }
  const double huge = frobenius_norm(Tensor::full({2, 2}, DType::f64, 1e200));
  CHECK(huge == doctest::Approx(2e200).epsilon(1e-14));
  CHECK(frobenius_norm(Tensor::full({2, 2}, DType::f64, 1e-300)) ==
        doctest::Approx(2e-300).epsilon(1e-14));
}

TEST_CASE("newton-schulz: add and max normalisers") {
  const Tensor g = random_tensor({4, 6}, DType::f64, 31);
  const double norm = frobenius_norm(g);
  const auto scale_of = [&](NormMode mode) {
    return orthogonalise(g, {.steps = 0, .eps = 0.5, .norm = mode}).at(0) / g.at(0);
  };
  CHECK(scale_of(NormMode::add) == doctest::Approx(1 / (norm + 0.5)).epsilon(1e-14));
  CHECK(scale_of(NormMode::max) == doctest::Approx(1 / norm).epsilon(1e-14));
  CHECK(scale_of(NormMode::relative) == doctest::Approx(1 / (norm * 1.5)).epsilon(1e-14));
}

TEST_CASE("newton-schulz: exact mode is the polar factor") {
  const Tensor g = random_tensor({12, 31}, DType::f64, 41);
  const SvdFactors f = Svd::cpu(g);
  const Tensor o = orthogonalise(g, {.exact = true});
  CHECK(max_difference(o, product(f.u, f.vt)) < 1e-13);
  const Tensor gram = product(o, transposed(o));
  for (int64_t i = 0; i < 144; ++i) CHECK(std::abs(gram.at(i) - (i / 12 == i % 12)) < 1e-12);
  // Rank 2 of 6: only the two directions of the input come out.
  const Tensor low =
      product(random_tensor({6, 2}, DType::f64, 42), random_tensor({2, 9}, DType::f64, 43));
  const Tensor s = SingularValues::cpu(orthogonalise(low, {.exact = true}));
  CHECK(s.at(1) == doctest::Approx(1).epsilon(1e-12));
  CHECK(s.at(2) < 1e-12);
}

TEST_CASE("newton-schulz: f32 does not invent directions on rank-deficient input") {
  const Tensor low =
      product(random_tensor({64, 3}, DType::f64, 51), random_tensor({3, 64}, DType::f64, 52));
  const Tensor s = SingularValues::cpu(orthogonalise(low.to(DType::f32)));
  CHECK(s.at(2) > 0.6);
  CHECK(s.at(3) < 2e-4);
}

TEST_CASE("newton-schulz: precision switch and thread counts") {
  const Tensor g = random_tensor({300, 420}, DType::f64, 61);
  const Tensor g32 = g.to(DType::f32);
  const Tensor o = orthogonalise(g);
  CHECK(max_difference(orthogonalise(g32), o) < 1e-4);
  CHECK(max_difference(orthogonalise(g32, {.precision = NsPrecision::f64}), o) < 2e-6);
  CHECK(orthogonalise(g32, {.precision = NsPrecision::f64}).dtype() == DType::f32);
  const Tensor coarse = orthogonalise(g, {.precision = NsPrecision::f32});
  CHECK(coarse.dtype() == DType::f64);
  CHECK(max_difference(coarse, o) > 1e-10);
  const int threads = num_threads();
  const Tensor batch = random_tensor({5, 20, 33}, DType::f32, 62);
  set_num_threads(1);
  const Tensor one = orthogonalise(g32), one_batch = orthogonalise(batch);
  set_num_threads(2);
  CHECK(same_bits(orthogonalise(g32), one));
  CHECK(same_bits(orthogonalise(batch), one_batch));
  set_num_threads(threads);
}
