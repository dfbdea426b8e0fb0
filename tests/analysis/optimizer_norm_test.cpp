// Curvature in the norms of Muon and Adam: closed forms, brute force over O(2), gauges.
#include "basin/analysis/optimizer_norm.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "basin/analysis/detail/orthonormal_basis.h"
#include "basin/analysis/lanczos.h"
#include "basin/autograd/ops.h"
#include "basin/core/error.h"
#include "basin/kernels/linalg.h"

namespace basin {
namespace {

using doctest::Approx;

ParamList matrices(const std::vector<Shape>& shapes) {
  ParamList params;
  for (size_t i = 0; i < shapes.size(); ++i) {
    const std::string name = "p" + std::to_string(i);
    const Tensor value = Tensor::zeros(shapes[i], DType::f64);
    if (shapes[i].rank() == 2) {
      params.add_matrix(name, value, Role::matrix);
    } else {
      params.add_vector(name, value, Role::bias);
    }
  }
  return params;
}

double nuclear_norm(const Tensor& a) {
  const Tensor s = SingularValues::cpu(a);
  double sum = 0;
  for (int64_t i = 0; i < s.numel(); ++i) sum += s.at(i);
  return sum;
}

Tensor rows_of(const Tensor& v, int64_t from, const Shape& shape) {
  return slice(v, 0, from, from + shape.numel()).view(shape);
}

TEST_CASE("spectral ball: the identity gives the rank bound, a rank-one H the nuclear norm") {
  const ParamList params = matrices({{3, 5}, {4, 2}, {6}});
  const ParameterSpace space(params);
  const int64_t n = space.size();
  const auto identity = diagonal_operator(Tensor::full({n}, DType::f64, 7));
  const SpectralBallCurvature i = spectral_ball_curvature(*identity, space, params);
  CHECK(i.value == Approx(7 * (3 + 2)).epsilon(1e-12));
  CHECK(i.converged);
  CHECK(i.shift == 0);
  CHECK(i.direction.at(n - 1) == 0);  // no ball for the vector

  const Tensor a = normal_vector(n, 5, 1);
  const auto rank_one = dense_operator(matmul(a.view({n, 1}), a.view({n, 1}), false, true));
  const double blocks = nuclear_norm(rows_of(a, 0, {3, 5})) + nuclear_norm(rows_of(a, 15, {4, 2}));
  double l1 = 0, l2 = 0;
  for (int64_t k = 23; k < n; ++k) {
    l1 += std::abs(a.at(k));
    l2 += a.at(k) * a.at(k);
  }
  for (const VectorBall kind : {VectorBall::none, VectorBall::l2, VectorBall::linf}) {
    const double sum = blocks + (kind == VectorBall::none ? 0
                                 : kind == VectorBall::l2 ? std::sqrt(l2)
                                                          : l1);
    const SpectralBallCurvature r = spectral_ball_curvature(
        *rank_one, space, params,
        {.vectors = kind, .random_starts = 4, .starts = {a}, .max_iterations = 200});
    CHECK(r.value == Approx(sum * sum).epsilon(1e-10));
    CHECK(r.values.size() == 5);
    CHECK(r.values[0] == Approx(sum * sum).epsilon(1e-10));
    CHECK(r.converged);
  }
}

// max of <u, H u> over O(2): rotations and reflections by angle.
double brute_force(const Tensor& h) {
  double best = -1e300;
  for (int k = 0; k < 40000; ++k) {
    const double t = 2 * std::acos(-1.0) * k / 40000, c = std::cos(t), s = std::sin(t);
    for (const double sign : {1.0, -1.0}) {
      const double u[4] = {c, -s * sign, s, c * sign};
      double value = 0;
      for (int i = 0; i < 16; ++i) value += u[i / 4] * h.at(i) * u[i % 4];
      best = std::max(best, value);
    }
  }
  return best;
}

TEST_CASE("spectral ball: brute force over O(2), positive and indefinite; every value a maximum") {
  const ParamList params = matrices({{2, 2}});
  const ParameterSpace space(params);
  for (uint64_t seed = 0; seed < 6; ++seed) {
    const Tensor g = normal_vector(16, seed, 2).view({4, 4});
    Tensor h = seed % 2 == 0 ? matmul(g, g, true, false) : g + transpose(g);
    if (seed == 5)
      h = -1.0 * matmul(g, g, true, false);  // negative: the least curved extreme point
    const auto op = dense_operator(h);
    const SpectralBallCurvature r = spectral_ball_curvature(
        *op, space, params, {.random_starts = 8, .max_iterations = 3000, .tolerance = 1e-9});
    CHECK(r.value == Approx(brute_force(h)).epsilon(1e-6));
    if (seed % 2 == 0) {
      CHECK(r.shift == 0);
      CHECK(r.converged);
    }
    const Tensor s = SingularValues::cpu(r.direction.view({2, 2}));
    CHECK(s.at(0) == Approx(1).epsilon(1e-12));
    CHECK(s.at(1) == Approx(1).epsilon(1e-12));
    // The value is that of the direction.
    const Tensor hu = op->apply(r.direction.view({1, 4}));
    CHECK(r.value == Approx(dot_product(r.direction, hu.view({4}))).epsilon(1e-12));
  }
}

TEST_CASE("spectral ball: a rotation of the rows moves nothing, from corresponding starts") {
  const ParamList params = matrices({{3, 4}});
  const ParameterSpace space(params);
  const Tensor g = normal_vector(144, 9, 1).view({12, 12});
  const Tensor h = matmul(g, g, true, false);
  const Tensor q = Svd::cpu(normal_vector(9, 9, 2).view({3, 3})).u;
  Tensor big = Tensor::zeros({12, 12}, DType::f64);  // Q (x) I
  for (int64_t i = 0; i < 3; ++i) {
    for (int64_t j = 0; j < 3; ++j) {
      for (int64_t k = 0; k < 4; ++k) {
        big.mutable_data<double>()[(i * 4 + k) * 12 + j * 4 + k] = q.at(i * 3 + j);
      }
    }
  }
  const Tensor start = normal_vector(12, 9, 3);
  const Tensor turned = matmul(big, start.view({12, 1})).view({12});
  const auto a = dense_operator(h);
  const auto b = dense_operator(matmul(matmul(big, h), big, false, true));
  const double va =
      spectral_ball_curvature(*a, space, params,
                              {.random_starts = 0, .starts = {start}, .max_iterations = 400})
          .value;
  const double vb =
      spectral_ball_curvature(*b, space, params,
                              {.random_starts = 0, .starts = {turned}, .max_iterations = 400})
          .value;
  CHECK(va == Approx(vb).epsilon(1e-10));
  CHECK(va <= 3 * Eigh::cpu(h).values.at(11));
  CHECK_THROWS_AS(spectral_ball_curvature(*a, space, params, {.random_starts = 0}), Error);
  const ParamList vectors = matrices({{12}});
  CHECK_THROWS_AS(spectral_ball_curvature(*a, ParameterSpace(vectors), vectors), Error);
}

TEST_CASE("adam: the preconditioner and lambda_max in its metric") {
  const Tensor v = Tensor::from<double>({4, 0, 9}, {3});
  const Tensor p = adam_preconditioner(v, 0.9, 2, 0.5);
  const double correction = 1 - 0.81;
  CHECK(p.at(0) == Approx(2 / std::sqrt(correction) + 0.5).epsilon(1e-14));
  CHECK(p.at(1) == Approx(0.5).epsilon(1e-14));
  const auto diagonal = diagonal_operator(Tensor::from<double>({10, 2, 30}, {3}));
  const auto scaled = preconditioned_operator(*diagonal, p);
  const double expected = std::max({10 / p.at(0), 2 / p.at(1), 30 / p.at(2)});
  CHECK(lanczos(*scaled, {.tolerance = 1e-12}).top[0].value == Approx(expected).epsilon(1e-12));

  // A generalised eigenvalue: H x = lambda P x.
  const Tensor g = normal_vector(9, 3, 1).view({3, 3});
  const Tensor h = g + transpose(g);
  const auto op = dense_operator(h);
  const auto in_metric = preconditioned_operator(*op, p);
  const Tensor m = dense_matrix(*in_metric);
  for (int64_t i = 0; i < 9; ++i) {
    CHECK(m.at(i) == Approx(h.at(i) / std::sqrt(p.at(i / 3) * p.at(i % 3))).epsilon(1e-13));
  }
  // Where P is infinite the parameter holds still: what is left is the matrix of the others.
  Tensor held = p.clone();
  held.mutable_data<double>()[1] = std::numeric_limits<double>::infinity();
  const auto without = preconditioned_operator(*op, held);
  const Tensor rest = dense_matrix(*without);
  for (int64_t i = 0; i < 9; ++i) {
    CHECK(rest.at(i) == (i / 3 == 1 || i % 3 == 1 ? 0.0 : m.at(i)));
  }
  CHECK_THROWS_AS(adam_preconditioner(Tensor::from<double>({-1}, {1}), 0.9, 1, 0), Error);
  CHECK_THROWS_AS(preconditioned_operator(*op, v), Error);
}

}  // namespace
}  // namespace basin
