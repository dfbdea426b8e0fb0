// Real harmonics of degrees 1 to 3: unit norm, the addition theorem, parity, and how they turn.
#include "basin/models/harmonics.h"

#include <doctest/doctest.h>

#include <cmath>

#include "basin/autograd/ops.h"
#include "basin/core/random.h"

namespace basin {
namespace {

Tensor directions(int64_t n, uint64_t seed) {
  Rng rng(seed, 1);
  std::vector<double> u;
  for (int64_t i = 0; i < n; ++i) {
    double v[3], length = 0;
    for (double& c : v) c = rng.normal();
    length = std::hypot(v[0], v[1], v[2]);
    for (const double c : v) u.push_back(c / length);
  }
  return Tensor::from(u, {n, 3});
}

double legendre(int64_t l, double t) {
  return l == 1 ? t : l == 2 ? 1.5 * t * t - 0.5 : 2.5 * t * t * t - 1.5 * t;
}

Tensor of_degree(const Tensor& u, int64_t l) {
  return slice(harmonics(u, l), 1, l * l - 1, (l + 1) * (l + 1) - 1);
}

double largest(const Tensor& t) {
  double worst = 0;
  for (const double v : t.to_vector<double>()) worst = std::max(worst, std::abs(v));
  return worst;
}

TEST_CASE("harmonics: unit norm, addition theorem, parity, zero at zero") {
  const Tensor u = directions(200, 3), v = directions(200, 4);
  for (int64_t l = 1; l <= kLargestDegree; ++l) {
    const Tensor yu = of_degree(u, l), yv = of_degree(v, l);
    const Tensor t = sum(u * v, 1), product = sum(yu * yv, 1), norm = sum(square(yu), 1);
    for (int64_t i = 0; i < 200; ++i) {
      CHECK(std::abs(norm.at(i) - 1) < 1e-14);
      CHECK(std::abs(product.at(i) - legendre(l, t.at(i))) < 1e-14);
    }
    const Tensor mirrored = l % 2 ? yu + of_degree(-u, l) : yu - of_degree(-u, l);
    CHECK(largest(mirrored) == 0);
  }
  CHECK(largest(harmonics(Tensor::zeros({2, 3}, DType::f64), 3)) == 0);
  CHECK(harmonics(u, 2).shape() == Shape{200, 8});
  CHECK_THROWS_AS(harmonics(u, 4), Error);
}

TEST_CASE("harmonics: they turn by an orthogonal matrix of their degree") {
  const Tensor u = directions(50, 5);
  for (const bool reflection : {false, true}) {
    const Matrix3 q = random_orthogonal(8, reflection);
    const Tensor turned_u = moved(u, q, {0, 0, 0});
    for (int64_t l = 1; l <= kLargestDegree; ++l) {
      CHECK(largest(of_degree(turned_u, l) - turned(of_degree(u, l), q, l)) < 1e-13);
      const int64_t n = 2 * l + 1;
      const Tensor d = Tensor::from(rotation_of_degree(q, l), {n, n});
      const Tensor product = matmul(d, d, false, true);
      for (int64_t i = 0; i < n * n; ++i) {
        CHECK(std::abs(product.at(i) - (i % (n + 1) ? 0 : 1)) < 1e-13);
      }
    }
  }
}

}  // namespace
}  // namespace basin
