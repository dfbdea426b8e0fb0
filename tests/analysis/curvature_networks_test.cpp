// The curvature of tiny PointNet, EGNN and DGCNN: the operators against the matrices in full, their
// extreme eigenpairs against LAPACK.
#include <doctest/doctest.h>

#include "basin/analysis/lanczos.h"
#include "basin/analysis/power_iteration.h"
#include "basin/kernels/linalg.h"
#include "basin/tests/analysis/tiny_networks.h"

namespace basin {
namespace {

using testing::largest_entry;
using testing::TinyProblem;

// Top 10 and bottom 5 within 1e-8 of LAPACK's, relative to the largest magnitude.
void check_ends(const SymmetricOperator& a, const Tensor& matrix) {
  const std::vector<double> exact = Eigh::cpu(matrix).values.to_vector<double>();
  const double size = std::max(std::abs(exact.front()), std::abs(exact.back()));
  LanczosOptions options{.top = 10, .bottom = 5, .tolerance = 1e-9};
  const LanczosResult got = lanczos(a, options);
  CAPTURE(got.note);
  CAPTURE(got.products);
  CHECK(got.converged);
  CHECK(got.largest_magnitude == doctest::Approx(size).epsilon(1e-8));
  REQUIRE(got.top.size() == 10);
  REQUIRE(got.bottom.size() == 5);
  double error = 0, residual = 0;
  for (size_t i = 0; i < 10; ++i) {
    error = std::max(error, std::abs(got.top[i].value - exact[exact.size() - 1 - i]));
    residual = std::max(residual, got.top[i].residual);
  }
  for (size_t i = 0; i < 5; ++i) {
    error = std::max(error, std::abs(got.bottom[i].value - exact[i]));
    residual = std::max(residual, got.bottom[i].residual);
  }
  CHECK(error <= 1e-8 * size);
  CHECK(residual <= 1e-9 * size);
  const PowerResult power =
      power_iteration(a, {.max_iterations = 2000, .tolerance = 1e-13}).front();
  const double dominant = exact.back() > -exact.front() ? exact.back() : exact.front();
  CHECK(std::abs(power.value - dominant) <= 1e-6 * size);
}

void check_network(size_t which, CurvatureKind kind) {
  const TinyProblem problem(testing::tiny_networks()[which]);
  const Tensors params = problem.state.params.values();
  const CurvatureOperator a({problem.batch()}, problem.state.params, {.kind = kind});
  REQUIRE(a.size() < 300);
  const Tensor exact = kind == CurvatureKind::hessian
                           ? testing::full_hessian(problem.batch(), params)
                           : testing::full_gauss_newton(problem.batch(), params);
  const double size = largest_entry(exact);
  CHECK(size > 1e-3);
  const Tensor got = dense_matrix(a);
  CHECK(testing::gap(got.to_vector<double>(), exact.to_vector<double>()) < 1e-10 * size);
  check_ends(a, exact);
}

TEST_CASE("curvature networks: the Hessian of PointNet") {
  check_network(0, CurvatureKind::hessian);
}
TEST_CASE("curvature networks: the Hessian of EGNN") { check_network(1, CurvatureKind::hessian); }
TEST_CASE("curvature networks: the Hessian of DGCNN") { check_network(2, CurvatureKind::hessian); }
TEST_CASE("curvature networks: the Gauss-Newton matrix of PointNet") {
  check_network(0, CurvatureKind::gauss_newton);
}
TEST_CASE("curvature networks: the Gauss-Newton matrix of EGNN") {
  check_network(1, CurvatureKind::gauss_newton);
}
TEST_CASE("curvature networks: the Gauss-Newton matrix of DGCNN") {
  check_network(2, CurvatureKind::gauss_newton);
}

// Three unequal batches are one batch; a layer is a block of the whole.
TEST_CASE("curvature networks: batches and layers") {
  for (const CurvatureKind kind : {CurvatureKind::hessian, CurvatureKind::gauss_newton}) {
    for (const Model& model : testing::tiny_networks()) {
      CAPTURE(model.name);
      CAPTURE(name_of(kind));
      const TinyProblem problem(model);
      const ParamList& params = problem.state.params;
      const CurvatureOperator whole({problem.batch()}, params, {.kind = kind});
      const CurvatureOperator parts(problem.unequal_batches(), params, {.kind = kind});
      const Tensor full = dense_matrix(whole);
      const double size = largest_entry(full);
      const std::vector<double> entries = full.to_vector<double>();
      CHECK(testing::gap(dense_matrix(parts).to_vector<double>(), entries) < 1e-12 * size);
      CHECK(std::abs(parts.loss() - whole.loss()) < 1e-13);
      CHECK(testing::gap(parts.gradient().to_vector<double>(),
                         whole.gradient().to_vector<double>()) < 1e-13);
      const int first = static_cast<int>(params.size()) / 3, second = first + 2;
      const CurvatureOperator block(problem.unequal_batches(), params,
                                    {.kind = kind, .indices = {first, second}});
      const ParameterSpace &inner = block.space(), &outer = whole.space();
      const std::vector<double> got = dense_matrix(block).to_vector<double>();
      std::vector<int64_t> place;
      for (const int p : {first, second}) {
        const int64_t count = params[static_cast<size_t>(p)].value.numel();
        for (int64_t i = 0; i < count; ++i) {
          place.push_back(outer.offset(static_cast<size_t>(p)) + i);
        }
      }
      REQUIRE(static_cast<int64_t>(place.size()) == inner.size());
      double worst = 0;
      for (size_t i = 0; i < place.size(); ++i) {
        for (size_t j = 0; j < place.size(); ++j) {
          worst = std::max(worst, std::abs(got[i * place.size() + j] -
                                           full.at(place[i] * outer.size() + place[j])));
        }
      }
      CHECK(worst < 1e-12 * size);
    }
  }
}

}  // namespace
}  // namespace basin
