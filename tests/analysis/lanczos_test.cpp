// Lanczos against LAPACK on spectra that break careless ones: values, true residuals,
// orthogonality, multiplicities; clipped counts, restarts, NaN, asymmetric products; the quadrature
// rule against moments.
#include "basin/analysis/lanczos.h"

#include <doctest/doctest.h>

#include <limits>

#include "basin/analysis/detail/orthonormal_basis.h"
#include "basin/core/parallel.h"
#include "basin/tests/analysis/spectra.h"

namespace basin {
namespace {

using testing::joined;
using testing::largest_magnitude;
using testing::matrix_with;
using testing::ramp;
using testing::Spectrum;
using testing::synthetic_spectra;

double true_residual(const SymmetricOperator& a, const Eigenpair& pair) {
  Tensor rest = a.apply(pair.vector.view({1, a.size()})).view({a.size()}).clone();
  add_scaled(rest, -pair.value, pair.vector);
  return norm(rest);
}

// Values against LAPACK to 1e-10 of the largest, residuals as reported, vectors orthonormal.
void check_pairs(const Tensor& matrix, const LanczosResult& got, int64_t top, int64_t bottom) {
  const auto a = dense_operator(matrix);
  const int64_t n = a->size();
  const std::vector<double> exact = Eigh::cpu(matrix).values.to_vector<double>();
  const double size = largest_magnitude(exact);
  REQUIRE(static_cast<int64_t>(got.top.size()) == std::min(top, n));
  REQUIRE(static_cast<int64_t>(got.bottom.size()) == std::min(bottom, n));
  CHECK(got.converged);
  CAPTURE(got.note);
  CAPTURE(got.products);
  double error = 0;
  for (size_t i = 0; i < got.top.size(); ++i) {
    error = std::max(error, std::abs(got.top[i].value - exact[exact.size() - 1 - i]));
  }
  for (size_t i = 0; i < got.bottom.size(); ++i) {
    error = std::max(error, std::abs(got.bottom[i].value - exact[i]));
  }
  CHECK(error <= 1e-10 * size);
  std::vector<const Eigenpair*> all;
  for (const Eigenpair& p : got.top) all.push_back(&p);
  if (top + bottom <= n) {
    for (const Eigenpair& p : got.bottom) all.push_back(&p);
  }
  for (size_t i = 0; i < all.size(); ++i) {
    CHECK(all[i]->converged);
    CHECK(true_residual(*a, *all[i]) <= all[i]->residual + 1e-13 * size);
    for (size_t j = 0; j <= i; ++j) {
      const double overlap = dot_product(all[i]->vector, all[j]->vector);
      CHECK(std::abs(overlap - (i == j ? 1 : 0)) < 1e-10);
    }
  }
}

TEST_CASE("lanczos: synthetic spectra against LAPACK") {
  REQUIRE(synthetic_spectra().size() >= 20);
  for (const Spectrum& spectrum : synthetic_spectra()) {
    CAPTURE(spectrum.name);
    const Tensor matrix = matrix_with(spectrum.values);
    const auto a = dense_operator(matrix);
    LanczosOptions options{.top = 5, .bottom = 3, .tolerance = 1e-11, .max_products = 3000};
    options.copies_share = std::numeric_limits<double>::infinity();
    options.seed = 5;
    check_pairs(matrix, lanczos(*a, options), 5, 3);
  }
}

TEST_CASE("lanczos: a small basis with thick restarts gives the same") {
  for (const Spectrum& spectrum : synthetic_spectra()) {
    CAPTURE(spectrum.name);
    const Tensor matrix = matrix_with(spectrum.values, 2);
    const auto a = dense_operator(matrix);
    LanczosOptions options{.top = 4, .bottom = 2, .tolerance = 1e-11, .max_products = 3000};
    options.max_basis = 20;
    options.copies_share = std::numeric_limits<double>::infinity();
    options.seed = 6;
    const LanczosResult got = lanczos(*a, options);
    if (spectrum.name != "powers of ten") {
      check_pairs(matrix, got, 4, 2);
      continue;
    }
    // The lower end lies within 1e-14 of zero over decades: twenty vectors do not resolve it, which
    // is said. The upper end is right all the same.
    CHECK_FALSE(got.converged);
    CHECK(got.note == "stopped at the limit of 3000 products");
    for (int i = 0; i < 4; ++i) CHECK(std::abs(got.top[i].value - spectrum.values[i]) < 1e-12);
  }
}

TEST_CASE("lanczos: more pairs than the operator has are clipped, and said") {
  const Tensor matrix = matrix_with({3, -1, 2});
  const auto a = dense_operator(matrix);
  const LanczosResult got = lanczos(*a, {.top = 7, .bottom = 5});
  CHECK(got.note == "more pairs were asked for than the operator has, 3");
  CHECK(got.products == 3);
  check_pairs(matrix, got, 7, 5);
  const auto one = diagonal_operator(Tensor::from(std::vector<double>{-4}, {1}));
  const LanczosResult single = lanczos(*one, {.top = 1, .bottom = 1});
  CHECK(single.products == 1);
  CHECK(single.top[0].value == -4);
  CHECK(single.bottom[0].value == -4);
  CHECK(single.top[0].residual < 1e-14);
}

TEST_CASE("lanczos: without the search, copies stay hidden; with it, they are found") {
  std::vector<double> values = joined({50, 50, 40}, ramp(250, 0, 1));
  const auto a = diagonal_operator(Tensor::from(values, {static_cast<int64_t>(values.size())}));
  LanczosOptions options{.top = 2, .tolerance = 1e-8};
  options.copies_share = 0;
  const LanczosResult hidden = lanczos(*a, options);
  CHECK(hidden.top[1].value == doctest::Approx(40));
  options.copies_share = 0.25;
  const LanczosResult found = lanczos(*a, options);
  CHECK(found.top[1].value == doctest::Approx(50));
  CHECK(found.converged);
  CHECK(found.products > hidden.products);
}

TEST_CASE("lanczos: a random vector in the null space is not the largest eigenvalue") {
  // As the Hessian of an absolute error may be: one large negative eigenvalue, some of either sign
  // far below it, and a null space that a random vector nearly lies in.
  const std::vector<double> values = joined({-1000, 30, 12, -8}, std::vector<double>(100'000, 0.0));
  const auto a = diagonal_operator(Tensor::from(values, {static_cast<int64_t>(values.size())}));
  LanczosOptions options{.tolerance = 1e-2, .max_products = 20, .copies_share = 0};
  CHECK(std::abs(lanczos(*a, options).top[0].value) < 1);  // far from any limit of its own size
  options.relative = true;
  const LanczosResult found = lanczos(*a, options);
  CHECK(found.converged);
  CHECK(found.top[0].value == doctest::Approx(30).epsilon(1e-3));
  CHECK(found.top[0].residual <= 0.01 * 30);
  // One that is nothing beside the others is not called converged.
  const auto negative =
      diagonal_operator(Tensor::from(joined({-1000, -30}, ramp(1000, -1, -1e-9)), {1002}));
  options.max_products = 6;
  CHECK_FALSE(lanczos(*negative, options).top[0].converged);
}

class PlantedOperator : public SymmetricOperator {
 public:
  PlantedOperator(int64_t n, double noise, int64_t nan_after)
      : n_(n), noise_(noise), nan_after_(nan_after) {}
  int64_t size() const override { return n_; }
  Tensor apply(const Tensor& v) const override {
    Tensor out = v.clone();
    double* y = out.mutable_data<double>();
    const double* x = v.data<double>();
    for (int64_t i = 0; i < v.numel(); ++i) {
      const int64_t j = i % n_;
      y[i] = static_cast<double>(j) * x[i] + noise_ * (j > 0 ? x[i - 1] : 0);
    }
    if (++products_ > nan_after_) y[n_ / 2] = std::numeric_limits<double>::quiet_NaN();
    return out;
  }

 private:
  int64_t n_;
  double noise_;
  int64_t nan_after_;
  mutable int64_t products_ = 0;
};

TEST_CASE("lanczos: a product that is not finite is a numerical error") {
  const PlantedOperator a(40, 0, 4);
  try {
    lanczos(a, {.top = 3, .tolerance = 1e-8});
    FAIL("no error");
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::numerical);
    CHECK(std::string(e.what()) ==
          "lanczos: product 5 is not finite; check the operator at this point");
  }
  const PlantedOperator b(40, 0, 0);
  CHECK_THROWS_AS(lanczos_quadrature(b, normal_vector(40, 1, 1), 5), Error);
}

// What is not symmetric cannot have a residual below the asymmetry, and no pair claims one.
TEST_CASE("lanczos: asymmetric products are found out") {
  const double asymmetry = 1e-3;
  const PlantedOperator a(60, asymmetry, 1 << 20);
  const LanczosResult got = lanczos(a, {.top = 3, .tolerance = 1e-9, .max_basis = 30});
  CHECK_FALSE(got.converged);
  CHECK(got.note.find("symmetric only to rounding above the tolerance") != std::string::npos);
  for (const Eigenpair& p : got.top) {
    CHECK_FALSE(p.converged);
    CHECK(p.residual > 0.1 * asymmetry);
    CHECK(p.residual < 3 * asymmetry);
    CHECK(true_residual(a, p) <= p.residual + 1e-12);
  }
  LanczosOptions loose{.top = 3, .tolerance = 1e-3};
  loose.verify = true;
  const LanczosResult measured = lanczos(a, loose);
  CHECK(measured.converged);
  for (const Eigenpair& p : measured.top) {
    CHECK(p.residual == doctest::Approx(true_residual(a, p)).epsilon(1e-9));
  }
}

TEST_CASE("lanczos: refusals") {
  const auto a = dense_operator(matrix_with(ramp(30, 0, 1)));
  CHECK_THROWS_AS(lanczos(*a, {.top = 0, .bottom = 0}), Error);
  CHECK_THROWS_AS(lanczos(*a, {.top = -1, .bottom = 3}), Error);
  CHECK_THROWS_AS(lanczos(*a, {.top = 5, .max_basis = 10}), Error);
  CHECK_THROWS_AS(lanczos(*a, {.top = 1, .tolerance = -1}), Error);
  CHECK_THROWS_AS(lanczos_quadrature(*a, Tensor::zeros({30}, DType::f64), 4), Error);
  CHECK_THROWS_AS(lanczos_quadrature(*a, normal_vector(29, 1, 1), 4), Error);
  CHECK_THROWS_AS(lanczos_quadrature(*a, normal_vector(30, 1, 1), 0), Error);
}

TEST_CASE("lanczos: the limit of products is kept and said") {
  const auto a = dense_operator(matrix_with(ramp(200, 0, 1)));
  LanczosOptions options{.top = 6, .tolerance = 1e-12, .max_products = 30};
  const LanczosResult got = lanczos(*a, options);
  CHECK(got.products == 30);
  CHECK_FALSE(got.converged);
  CHECK(got.note == "stopped at the limit of 30 products");
  for (const Eigenpair& p : got.top) {
    CHECK(true_residual(*a, p) <= p.residual + 1e-13);
    CHECK(p.residual > 1e-12);
  }
}

TEST_CASE("lanczos: the same bits for any number of threads") {
  const std::vector<double> values = joined(ramp(20, 5, 9), ramp(4980, -1, 1));
  const auto a = diagonal_operator(Tensor::from(values, {5000}));
  const int before = num_threads();
  std::vector<LanczosResult> results;
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    results.push_back(lanczos(*a, {.top = 4, .tolerance = 1e-6, .max_basis = 24}));
  }
  set_num_threads(before);
  CHECK(results[0].converged);
  CHECK(results[0].restarts > 1);
  for (size_t r = 1; r < results.size(); ++r) {
    CHECK(results[r].products == results[0].products);
    for (size_t i = 0; i < 4; ++i) {
      CHECK(results[r].top[i].value == results[0].top[i].value);
      CHECK(results[r].top[i].residual == results[0].top[i].residual);
      CHECK(results[r].top[i].vector.to_vector<double>() ==
            results[0].top[i].vector.to_vector<double>());
    }
  }
}

// sum_j w_j x_j^k against u^T A^k u for k < 2m, which is the definition of the rule.
TEST_CASE("lanczos quadrature: 2m moments, and the lockstep form") {
  const int64_t n = 80, m = 12;
  const auto a = dense_operator(matrix_with(ramp(n, -1, 1), 9));
  Tensor starts = Tensor::empty({3, n}, DType::f64);
  for (int64_t s = 0; s < 3; ++s) {
    const Tensor v = normal_vector(n, 3, static_cast<uint64_t>(s));
    std::copy_n(v.data<double>(), n, starts.mutable_data<double>() + s * n);
  }
  const std::vector<LanczosQuadrature> rules = lanczos_quadratures(*a, starts, m);
  REQUIRE(rules.size() == 3);
  for (int64_t s = 0; s < 3; ++s) {
    const LanczosQuadrature& rule = rules[static_cast<size_t>(s)];
    const Tensor start = copy_row(starts, s);
    CHECK(rule.start_norm == doctest::Approx(norm(start)).epsilon(1e-14));
    CHECK_FALSE(rule.invariant);
    REQUIRE(rule.nodes.numel() == m);
    REQUIRE(rule.beta.numel() == m - 1);
    Tensor power = start.clone();
    for (int64_t k = 0; k < 2 * m; ++k) {
      double moment = 0;
      for (int64_t j = 0; j < m; ++j) {
        moment += rule.weights.at(j) * std::pow(rule.nodes.at(j), static_cast<double>(k));
      }
      const double exact = dot_product(start, power) / dot_product(start, start);
      CHECK(std::abs(moment - exact) < 1e-12);
      power = a->apply(power.view({1, n})).view({n});
    }
    const LanczosQuadrature alone = lanczos_quadrature(*a, start, m);
    CHECK(alone.nodes.to_vector<double>() == rule.nodes.to_vector<double>());
    CHECK(alone.weights.to_vector<double>() == rule.weights.to_vector<double>());
    CHECK(alone.alpha.to_vector<double>() == rule.alpha.to_vector<double>());
    CHECK(alone.beta.to_vector<double>() == rule.beta.to_vector<double>());
  }
}

TEST_CASE("lanczos quadrature: spaces that close") {
  const auto two =
      dense_operator(matrix_with(joined(testing::constant(30, 1), testing::constant(10, 4))));
  const Tensor start = normal_vector(40, 2, 0);
  const LanczosQuadrature rule = lanczos_quadrature(*two, start, 25);
  REQUIRE(rule.nodes.numel() == 2);
  CHECK(rule.invariant);
  CHECK(rule.nodes.at(0) == doctest::Approx(1).epsilon(1e-13));
  CHECK(rule.nodes.at(1) == doctest::Approx(4).epsilon(1e-13));
  CHECK(rule.weights.at(0) + rule.weights.at(1) == doctest::Approx(1).epsilon(1e-14));
  const auto zero = diagonal_operator(Tensor::zeros({9}, DType::f64));
  const LanczosQuadrature flat = lanczos_quadrature(*zero, normal_vector(9, 2, 0), 5);
  REQUIRE(flat.nodes.numel() == 1);
  CHECK(flat.nodes.at(0) == 0);
  CHECK(flat.weights.at(0) == 1);
  // More steps than dimensions: the whole spectrum.
  const LanczosQuadrature whole =
      lanczos_quadrature(*dense_operator(matrix_with(ramp(6, 0, 5))), normal_vector(6, 2, 0), 50);
  REQUIRE(whole.nodes.numel() == 6);
  CHECK(whole.invariant);
  for (int64_t j = 0; j < 6; ++j) CHECK(std::abs(whole.nodes.at(j) - double(j)) < 1e-12);
}

}  // namespace
}  // namespace basin
