// Fisher-Rao norm against the dense Gauss-Newton matrix and Euler's theorem; relative flatness
// against the dense Hessian.
#include "basin/analysis/flatness.h"

#include <doctest/doctest.h>

#include <cmath>

#include "basin/analysis/detail/orthonormal_basis.h"
#include "basin/analysis/symmetry_check.h"
#include "basin/autograd/ops.h"
#include "basin/core/error.h"

namespace basin {
namespace {

using doctest::Approx;

// The class logits of one-hidden-layer ReLU network without biases: homogeneous of degree 2.
struct Homogeneous {
  ParamList params;
  LossBatch batch;
  Tensor x;
};
Homogeneous homogeneous() {
  Homogeneous out;
  out.x = normal_vector(30, 1, 1).view({10, 3});
  out.params.add_matrix("w1", normal_vector(12, 1, 2).view({4, 3}), Role::first);
  out.params.add_matrix("w2", normal_vector(8, 1, 3).view({2, 4}), Role::head);
  out.batch.examples = 10;
  out.batch.outputs = [x = out.x](const Tensors& p) {
    return Tensors{matmul(relu(matmul(x, p[0], false, true)), p[1], false, true)};
  };
  out.batch.loss = [f = out.batch.outputs](const Tensors& p) { return Tensors{mean(f(p)[0])}; };
  return out;
}

TEST_CASE("fisher-rao: w^T G w of the dense Gauss-Newton matrix") {
  const SymmetryProblem problem = relu_mlp_problem(3);
  for (const std::vector<int>& indices : {std::vector<int>{}, std::vector<int>{0, 2, 5}}) {
    const LossSurface surface(problem.batches, problem.params, indices);
    const CurvatureOperator g(problem.batches, problem.params,
                              {.kind = CurvatureKind::gauss_newton, .indices = indices});
    const Tensor w = surface.weights();
    const Tensor gw = g.apply(w.view({1, w.numel()}));
    const Estimate e = fisher_rao_norm(surface);
    CHECK(e.value == Approx(dot_product(w, gw.view({w.numel()}))).epsilon(1e-10));
    CHECK(e.samples == 64);
    CHECK(e.standard_error > 0);
  }
}

TEST_CASE("fisher-rao: Euler's theorem for homogeneous networks, J w = 2 f") {
  Homogeneous h = homogeneous();
  const Tensor f = h.batch.outputs(h.params.values())[0];
  double softmax = 0, gaussian = 0;
  for (int64_t i = 0; i < 10; ++i) {
    const double a = f.at(2 * i), b = f.at(2 * i + 1), p = 1 / (1 + std::exp(b - a));
    softmax += 4 * p * (1 - p) * (a - b) * (a - b) / 10;
    gaussian += 4 * (a * a + b * b) / 10;
  }
  const LossSurface s({h.batch}, h.params);
  CHECK(fisher_rao_norm(s).value == Approx(softmax).epsilon(1e-12));
  CHECK(fisher_rao_norm(s, OutputModel::gaussian).value == Approx(gaussian).epsilon(1e-12));
  // Two batches give the mean over all examples.
  CHECK(fisher_rao_norm(LossSurface({h.batch, h.batch}, h.params)).value ==
        Approx(softmax).epsilon(1e-12));

  h.batch.examples = 9;
  CHECK_THROWS_AS(fisher_rao_norm(LossSurface({h.batch}, h.params)), Error);
  h.batch.outputs = nullptr;
  CHECK_THROWS_AS(fisher_rao_norm(LossSurface({h.batch}, h.params)), Error);
}

// sum over s, s' of <w_s, w_s'> tr(H_ss'), literally.
double kappa(const Tensor& h, const Tensor& w, int64_t at) {
  const int64_t rows = w.size(0), cols = w.size(1), n = h.size(0);
  double sum = 0;
  for (int64_t s = 0; s < rows; ++s) {
    for (int64_t t = 0; t < rows; ++t) {
      double inner = 0, trace = 0;
      for (int64_t i = 0; i < cols; ++i) {
        inner += w.at(s * cols + i) * w.at(t * cols + i);
        trace += h.at((at + s * cols + i) * n + at + t * cols + i);
      }
      sum += inner * trace;
    }
  }
  return sum;
}

TEST_CASE("relative flatness: within its error of the dense Hessian's, joint and by layer") {
  const SymmetryProblem problem = relu_mlp_problem(4);
  const CurvatureOperator hessian(problem.batches, problem.params);
  const Tensor h = dense_matrix(hessian);
  const auto dense = dense_operator(h);
  const int matrices[] = {0, 2, 4};
  for (const bool joint : {true, false}) {
    const RelativeFlatness r = relative_flatness(*dense, hessian.space(), problem.params,
                                                 {.probes = 4000, .joint = joint, .lanes = 500});
    REQUIRE(r.layers.size() == 3);
    CHECK(r.products == (joint ? 4000 : 12000));
    double total = 0;
    for (size_t l = 0; l < 3; ++l) {
      const double truth = kappa(h, problem.params[matrices[l]].value,
                                 hessian.space().offset(static_cast<size_t>(matrices[l])));
      const Estimate& e = r.layers[l].estimate;
      CHECK(r.layers[l].name == problem.params[matrices[l]].name);
      CHECK(std::abs(e.value - truth) < 4 * e.standard_error);
      CHECK(e.standard_error < 0.1 * std::abs(truth));
      total += truth;
    }
    CHECK(std::abs(r.total.value - total) < 4 * r.total.standard_error);
  }
}

TEST_CASE("relative flatness: exact where a neuron has one input; refusals") {
  ParamList params;
  params.add_matrix("w", Tensor::from<double>({2, -3}, {2, 1}), Role::matrix);
  params.add_vector("b", Tensor::from<double>({1}, {1}), Role::bias);
  const ParameterSpace space(params);
  const auto h = dense_operator(Tensor::from<double>({5, 1, 9, 1, 4, 9, 9, 9, 9}, {3, 3}));
  const RelativeFlatness r = relative_flatness(*h, space, params, {.probes = 3});
  CHECK(r.total.value == Approx(4 * 5 - 2 * 6 * 1 + 9 * 4).epsilon(1e-14));
  CHECK(r.total.standard_error == 0);
  CHECK_THROWS_AS(relative_flatness(*h, space, params, {.probes = 1}), Error);
  CHECK_THROWS_AS(relative_flatness(*h, ParameterSpace(params, {0}), params), Error);
  const auto small = dense_operator(Tensor::from<double>({1}, {1, 1}));
  CHECK_THROWS_AS(relative_flatness(*small, ParameterSpace(params, {1}), params), Error);
}

}  // namespace
}  // namespace basin
