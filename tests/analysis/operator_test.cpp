// Operators given in full, and the long-vector algebra of the Krylov methods.
#include "basin/analysis/operator.h"

#include <doctest/doctest.h>

#include <cmath>

#include "basin/analysis/detail/orthonormal_basis.h"
#include "basin/core/parallel.h"
#include "basin/tests/analysis/spectra.h"

namespace basin {
namespace {

TEST_CASE("operator: dense and diagonal products, several rows at once") {
  const Tensor matrix = Tensor::from(std::vector<double>{2, -1, 0, -1, 3, 4, 0, 4, -5}, {3, 3});
  const Tensor v = Tensor::from(std::vector<double>{1, 2, 3, 0, -1, 1}, {2, 3});
  CHECK(dense_operator(matrix)->apply(v).to_vector<double>() ==
        std::vector<double>{0, 17, -7, 1, 1, -9});
  const auto d = diagonal_operator(Tensor::from(std::vector<double>{2, -1, 0.5}, {3}));
  CHECK(d->apply(v).to_vector<double>() == std::vector<double>{2, -2, 1.5, 0, 1, 0.5});
  CHECK(dense_matrix(*dense_operator(matrix)).to_vector<double>() == matrix.to_vector<double>());
  CHECK(dense_matrix(*d).to_vector<double>() == std::vector<double>{2, 0, 0, 0, -1, 0, 0, 0, 0.5});
  const auto wide = dense_operator(testing::matrix_with(testing::ramp(150, -1, 3)));
  CHECK(dense_matrix(*wide).at(149 * 150 + 3) == dense_matrix(*wide).at(3 * 150 + 149));
}

TEST_CASE("operator: refusals") {
  CHECK_THROWS_AS(dense_operator(Tensor::zeros({2, 3}, DType::f64)), Error);
  CHECK_THROWS_AS(dense_operator(Tensor{}), Error);
  CHECK_THROWS_AS(diagonal_operator(Tensor::zeros({0}, DType::f64)), Error);
  const auto d = diagonal_operator(Tensor::zeros({4}, DType::f64));
  CHECK_THROWS_AS(d->apply(Tensor::zeros({4}, DType::f64)), Error);
  CHECK_THROWS_AS(d->apply(Tensor::zeros({1, 4}, DType::f32)), Error);
  CHECK_THROWS_AS(dense_operator(Tensor::zeros({2, 2}, DType::f64))->apply(Tensor{}), Error);
  CHECK_THROWS_AS(dense_matrix(*diagonal_operator(Tensor::zeros({4097}, DType::f64))), Error);
}

TEST_CASE("orthonormal basis: projection, rotation, combination, bits for any threads") {
  const int64_t n = 5003, m = 7;
  std::vector<std::vector<double>> rotated, projected;
  const int before = num_threads();
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    OrthonormalBasis basis(n);
    for (int64_t i = 0; i < m; ++i) {
      Tensor v = normal_vector(n, 11, static_cast<uint64_t>(i));
      // Nearly dependent vectors are what makes the second pass necessary.
      if (i > 0) add_scaled(v, 1e7, basis[0]);
      const double length = basis.project_out(v).after;
      basis.append(std::move(v), length);
    }
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        CHECK(std::abs(dot_product(basis[i], basis[j]) - (i == j ? 1 : 0)) < 1e-14);
      }
    }
    Tensor w = normal_vector(n, 12, 0);
    const Tensor original = w.clone();
    const OrthonormalBasis::Projection p = basis.project_out(w);
    CHECK(p.before == doctest::Approx(norm(original)).epsilon(1e-13));
    CHECK(p.after == doctest::Approx(norm(w)).epsilon(1e-13));
    add_scaled(w, 1, basis.combine(p.coefficients));
    add_scaled(w, -1, original);
    CHECK(norm(w) < 1e-12);
    projected.push_back(p.coefficients);
    // Columns 1 and 3 of the identity, the second with its sign turned.
    std::vector<double> s(m * 2, 0.0);
    s[1 * 2 + 0] = 1;
    s[3 * 2 + 1] = -1;
    const Tensor first = basis[1].clone(), second = basis[3].clone();
    basis.rotate(s, 2);
    REQUIRE(basis.size() == 2);
    CHECK(basis[0].to_vector<double>() == first.to_vector<double>());
    CHECK(dot_product(basis[1], second) == doctest::Approx(-1));
    rotated.push_back(basis[1].to_vector<double>());
  }
  set_num_threads(before);
  for (size_t i = 1; i < 3; ++i) {
    CHECK(rotated[i] == rotated[0]);
    CHECK(projected[i] == projected[0]);
  }
}

}  // namespace
}  // namespace basin
