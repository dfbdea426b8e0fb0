// Sharpness in balls: closed forms on linear and quadratic losses, bounds, failures; the loss
// surface underneath.
#include "basin/analysis/sharpness.h"

#include <doctest/doctest.h>

#include <cmath>

#include "basin/analysis/detail/orthonormal_basis.h"
#include "basin/analysis/lanczos.h"
#include "basin/core/error.h"
#include "basin/kernels/linalg.h"
#include "basin/tests/analysis/quadratic.h"

namespace basin {
namespace {

using doctest::Approx;
using testing::diagonal_matrix;
using testing::one_vector;
using testing::quadratic_batch;
using testing::vector_of;

const Tensor kA = Tensor::from<double>({4, 1, 0, 1, 3, -1, 0, -1, 2}, {3, 3});

TEST_CASE("loss surface: batches by their shares, subsets, displacement and gradient") {
  ParamList params;
  params.add_vector("a", vector_of({1, 2}), Role::bias);
  params.add_vector("b", vector_of({3}), Role::bias);
  auto batch = [](double factor, int64_t examples) {
    LossBatch b;
    b.examples = examples;
    b.loss = [factor](const Tensors& p) {
      return Tensors{factor * sum(square(p[0])) + sum(p[0]) * sum(p[1])};
    };
    return b;
  };
  const LossSurface all({batch(1, 1), batch(2, 3)}, params);
  CHECK(all.loss() == Approx(1.75 * 5 + 9).epsilon(1e-14));
  CHECK(all.loss_at(vector_of({1, 0, -3})) == Approx(1.75 * 8).epsilon(1e-14));
  const LossSurface::Point p = all.gradient_at(vector_of({1, 0, -1}));
  CHECK(p.loss == Approx(1.75 * 8 + 8).epsilon(1e-14));
  CHECK(p.gradient.at(0) == Approx(3.5 * 2 + 2).epsilon(1e-14));
  CHECK(p.gradient.at(2) == Approx(4).epsilon(1e-14));

  const LossSurface part({batch(1, 1)}, params, {1});  // only b moves
  CHECK(part.size() == 1);
  CHECK(part.loss_at(vector_of({1})) == Approx(5 + 12).epsilon(1e-14));
  CHECK(part.gradient_at(vector_of({1})).gradient.at(0) == Approx(3).epsilon(1e-14));
  CHECK(part.evaluations() == 3);
  CHECK_THROWS_AS(part.loss_at(vector_of({1, 2})), Error);
  CHECK_THROWS_AS(LossSurface({}, params), Error);
  CHECK_THROWS_AS(LossSurface({batch(std::nan(""), 1)}, params), Error);
}

TEST_CASE("worst case: a linear loss, where the first-order point is the answer") {
  const Tensor b = vector_of({3, -4, 1});
  const LossSurface s({quadratic_batch(diagonal_matrix({0, 0, 0}), b, b)}, one_vector({2, 1, 0}));
  // c b = (6, -4, 0)
  const WorstCase l2 = worst_case_sharpness(s, {.norm = BallNorm::l2, .rho = 0.5});
  CHECK(l2.rise == Approx(0.5 * std::sqrt(52)).epsilon(1e-12));
  CHECK(l2.small_rho == Approx(l2.rise).epsilon(1e-12));
  CHECK(l2.first_order == Approx(l2.rise).epsilon(1e-12));
  CHECK(l2.gap == Approx(0).epsilon(1e-10));
  CHECK(l2.displacement.at(0) == Approx(0.5 * 2 * 6 / std::sqrt(52)).epsilon(1e-12));
  CHECK(l2.displacement.at(2) == 0);  // a weight of 0 has no room
  const WorstCase linf = worst_case_sharpness(s, {.norm = BallNorm::linf, .rho = 0.5});
  CHECK(linf.rise == Approx(5).epsilon(1e-12));
  CHECK(linf.small_rho == Approx(5).epsilon(1e-12));
  const WorstCase plain = worst_case_sharpness(s, {.rho = 0.5, .shape = BallShape::plain});
  CHECK(plain.rise == Approx(0.5 * std::sqrt(26)).epsilon(1e-12));
  CHECK(worst_case_sharpness(s, {.norm = BallNorm::linf, .rho = 0.5, .shape = BallShape::plain})
            .rise == Approx(4).epsilon(1e-12));
}

TEST_CASE("worst case: at a minimum it is rho^2 / 2 lambda_max(C A C)") {
  const std::vector<double> w{1, -2, 0.5};
  const Tensor zero = Tensor::zeros({3}, DType::f64);
  const LossSurface s({quadratic_batch(kA, vector_of(w), zero)}, one_vector(w));
  Tensor scaled = kA.clone();
  for (int i = 0; i < 9; ++i) {
    scaled.mutable_data<double>()[i] *= std::abs(w[i / 3]) * std::abs(w[i % 3]);
  }
  const double top = Eigh::cpu(scaled).values.at(2);
  const WorstCase r = worst_case_sharpness(s, {.rho = 0.1, .steps = 200, .random_starts = 2});
  CHECK(r.small_rho == 0);
  CHECK(r.first_order == 0);  // no gradient: only the random starts find it
  CHECK(r.rise == Approx(0.005 * top).epsilon(1e-9));
  CHECK(r.gap <= 1e-6 * r.rise);
  CHECK(r.steps > 0);

  // The same through the operator.
  const auto a = dense_operator(kA);
  const auto cac = scaled_operator(*a, vector_of({1, 2, 0.5}));
  CHECK(lanczos(*cac, {.tolerance = 1e-12}).top[0].value == Approx(top).epsilon(1e-12));
  const Tensor dense = dense_matrix(*cac);
  for (int i = 0; i < 9; ++i) CHECK(dense.at(i) == Approx(scaled.at(i)).epsilon(1e-14));

  // A diagonal A in the cube: every corner, sum_i a_i c_i^2.
  const LossSurface d({quadratic_batch(diagonal_matrix({1, 2, 3}), vector_of(w), zero)},
                      one_vector(w));
  CHECK(worst_case_sharpness(d, {.norm = BallNorm::linf, .rho = 0.1}).rise ==
        Approx(0.005 * (1 + 8 + 0.75)).epsilon(1e-12));
}

TEST_CASE("worst case: never below the first-order point, above it where curvature turns") {
  const std::vector<double> w{1, 1, 1};
  // Gradient along the first axis, high curvature along the second.
  const LossSurface s(
      {quadratic_batch(diagonal_matrix({0, 100, 0}), vector_of(w), vector_of({1, 1e-6, 0}))},
      one_vector(w));
  const WorstCase none = worst_case_sharpness(
      s, {.rho = 1, .shape = BallShape::plain, .steps = 0, .random_starts = 0});
  CHECK(none.rise == none.first_order);
  CHECK(none.rise == Approx(1).epsilon(1e-6));
  const WorstCase r = worst_case_sharpness(s, {.rho = 1, .shape = BallShape::plain, .steps = 60});
  // max over the circle of cos t + 50 sin^2 t: at cos t = 1 / 100.
  CHECK(r.rise == Approx(0.01 + 50 * (1 - 1e-4)).epsilon(1e-6));
  CHECK(r.first_order == none.first_order);

  // Where the loss only falls the worst point is w itself.
  const LossSurface down({quadratic_batch(diagonal_matrix({-1, -1, -1}), vector_of(w),
                                          Tensor::zeros({3}, DType::f64))},
                         one_vector(w));
  const WorstCase d = worst_case_sharpness(down, {.rho = 0.1});
  CHECK(d.rise == 0);
  CHECK(d.displacement.at(0) == 0);
  CHECK_THROWS_AS(worst_case_sharpness(s, {.rho = 0}), Error);
}

TEST_CASE("worst case: points that overflow are counted, not used") {
  LossBatch wall;
  wall.examples = 1;
  wall.loss = [](const Tensors& p) { return Tensors{sum(exp(1000.0 * p[0]))}; };
  const LossSurface s({wall}, one_vector({-0.1, -0.2}));
  const WorstCase r =
      worst_case_sharpness(s, {.norm = BallNorm::linf, .rho = 1, .shape = BallShape::plain});
  CHECK(r.failed >= 1);
  CHECK(std::isfinite(r.rise));
  CHECK(r.rise > 1e10);  // drawn in, and climbing from there
  CHECK_THROWS_AS(average_case_sharpness(s, {.rho = 10, .shape = BallShape::plain}), Error);
}

TEST_CASE("ball chart: adjoints, and the products' closed forms on a linear loss") {
  ParamList params;
  params.add_matrix("w", normal_vector(6, 1, 1).view({2, 3}), Role::matrix);
  params.add_vector("b", vector_of({2, -1}), Role::bias);
  const Tensor g = normal_vector(8, 1, 2);
  const LossSurface s({quadratic_batch(Tensor::zeros({8, 8}, DType::f64), g, g)}, params);
  const int64_t sizes[] = {8, 8, 9 + 1, 4 + 4};
  for (int k = 0; k < 4; ++k) {
    const BallChart chart(s, static_cast<BallShape>(k));
    REQUIRE(chart.size() == sizes[k]);
    const Tensor u = normal_vector(chart.size(), 2, 1);
    CHECK(dot_product(chart.displacement(u), g) ==
          Approx(dot_product(u, chart.adjoint(g))).epsilon(1e-13));
    const WorstCase r = worst_case_sharpness(s, {.rho = 0.3, .shape = static_cast<BallShape>(k)});
    CHECK(r.rise == Approx(0.3 * norm(chart.adjoint(g))).epsilon(1e-12));
  }
  // W X by hand: X = e_0 e_1^T copies column 0 of W into column 1; b scales by the last number.
  Tensor u = Tensor::zeros({10}, DType::f64);
  u.mutable_data<double>()[1] = 1;
  u.mutable_data<double>()[9] = 3;
  const Tensor d = BallChart(s, BallShape::right_product).displacement(u);
  CHECK(d.at(1) == params[0].value.at(0));
  CHECK(d.at(4) == params[0].value.at(3));
  CHECK(d.at(0) == 0);
  CHECK(d.at(6) == 6);
  CHECK(d.at(7) == -3);
  CHECK_THROWS_AS(
      worst_case_sharpness(s, {.norm = BallNorm::linf, .shape = BallShape::left_product}), Error);
  CHECK_THROWS_AS(BallChart(s, BallShape::plain).displacement(u), Error);
}

TEST_CASE("average case: rho^2 / 2 sum c_i^2 A_ii, with the error of chi-squares") {
  const std::vector<double> w{1, -2, 0.5};
  const LossSurface s(
      {quadratic_batch(diagonal_matrix({4, 3, 2}), vector_of({0, 0, 0}), vector_of({5, 5, 5}))},
      one_vector(w));  // far from a minimum: the gradient's part must cancel
  const Estimate e = average_case_sharpness(s, {.rho = 0.2, .pairs = 2000});
  const double terms[] = {0.02 * 4, 0.02 * 3 * 4, 0.02 * 2 * 0.25};
  double value = 0, variance = 0;
  for (const double t : terms) {
    value += t;
    variance += 2 * t * t;
  }
  CHECK(std::abs(e.value - value) < 4 * e.standard_error);
  CHECK(e.standard_error == Approx(std::sqrt(variance / 2000)).epsilon(0.1));
  CHECK(e.samples == 2000);
  const Estimate plain =
      average_case_sharpness(s, {.rho = 0.2, .shape = BallShape::plain, .pairs = 2000});
  CHECK(std::abs(plain.value - 0.02 * 9) < 4 * plain.standard_error);
  CHECK(plain.value ==
        average_case_sharpness(s, {.rho = 0.2, .shape = BallShape::plain, .pairs = 2000}).value);
}

}  // namespace
}  // namespace basin
