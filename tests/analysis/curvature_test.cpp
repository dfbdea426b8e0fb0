// The curvature operator's own duties: the parameter space, what it records and keeps, the same
// bits however it is run, and what it refuses. Its matrices are tested on networks beside this.
#include "basin/analysis/curvature.h"

#include <doctest/doctest.h>

#include <limits>

#include "basin/analysis/detail/orthonormal_basis.h"
#include "basin/core/parallel.h"
#include "basin/tests/analysis/tiny_networks.h"

namespace basin {
namespace {

using testing::TinyProblem;

ParamList three_parameters(DType dtype) {
  ParamList params;
  params.add_matrix("a", testing::random_tensor({2, 3}, 1).to(dtype), Role::matrix);
  params.add_vector("b", testing::random_tensor({4}, 2).to(dtype), Role::bias);
  params.add_matrix("c", testing::random_tensor({1, 2}, 3).to(dtype), Role::head);
  return params;
}

Tensor vectors(int64_t lanes, int64_t n, uint64_t seed) {
  return normal_vector(lanes * n, seed, 0).view({lanes, n});
}

TEST_CASE("parameter space: flatten and unflatten") {
  const ParamList params = three_parameters(DType::f32);
  const ParameterSpace all(params), some(params, {0, 2});
  CHECK(all.size() == 12);
  CHECK(some.size() == 8);
  CHECK(some.names() == std::vector<std::string>{"a", "c"});
  CHECK(some.offset(1) == 6);
  const Tensor v = some.flatten(params.values());
  CHECK(v.dtype() == DType::f64);
  CHECK(v.at(6) == params[2].value.at(0));
  const Tensors back = some.unflatten(v);
  REQUIRE(back.size() == 3);
  CHECK_FALSE(back[1].defined());
  CHECK(back[0].dtype() == DType::f32);
  CHECK(back[0].shape() == Shape{2, 3});
  CHECK(back[0].to_vector<double>() == params[0].value.to_vector<double>());
  CHECK(back[2].to_vector<double>() == params[2].value.to_vector<double>());
  CHECK(all.flatten({params[0].value, Tensor{}, params[2].value}).at(7) == 0);  // undefined: zero
  const Tensors second = some.members_of(vectors(3, 8, 1), 1);
  CHECK(second[1].at(1) == static_cast<float>(vectors(3, 8, 1).at(8 + 7)));
}

TEST_CASE("parameter space: refusals") {
  const ParamList params = three_parameters(DType::f64);
  CHECK_THROWS_AS(ParameterSpace(params, {3}), Error);
  CHECK_THROWS_AS(ParameterSpace(params, {-1}), Error);
  CHECK_THROWS_AS(ParameterSpace(params, {1, 1}), Error);
  CHECK_THROWS_AS(ParameterSpace(params, {2, 0}), Error);
  CHECK_THROWS_AS(ParameterSpace(ParamList{}), Error);
  const ParameterSpace space(params);
  CHECK_THROWS_AS(space.flatten({params[0].value}), Error);
  CHECK_THROWS_AS(space.flatten({params[1].value, params[1].value, params[2].value}), Error);
  CHECK_THROWS_AS(space.unflatten(Tensor::zeros({11}, DType::f64)), Error);
}

// 1/2 sum a^2 b_0 + ... by hand: a quadratic whose Hessian is known.
TEST_CASE("curvature: a quadratic, its loss and gradient") {
  ParamList params;
  params.add_vector("x", Tensor::from(std::vector<double>{1, 2}, {2}), Role::bias);
  params.add_vector("unused", Tensor::from(std::vector<double>{7}, {1}), Role::bias);
  const auto batch = [](double weight, int64_t examples) {
    LossBatch out;
    out.loss = [weight](const Tensors& p) {
      const Tensor c = Tensor::from(std::vector<double>{weight, 3 * weight}, {2});
      return Tensors{sum(p[0] * p[0] * c)};
    };
    out.examples = examples;
    return out;
  };
  const CurvatureOperator a({batch(1, 1), batch(2, 3)}, params);
  const double mean = 0.25 * 1 + 0.75 * 2;
  CHECK(a.loss() == doctest::Approx(mean * (1 + 12)).epsilon(1e-15));
  CHECK(a.gradient().to_vector<double>() == std::vector<double>{2 * mean, 12 * mean, 0});
  CHECK(dense_matrix(a).to_vector<double>() ==
        std::vector<double>{2 * mean, 0, 0, 0, 6 * mean, 0, 0, 0, 0});
  CHECK(a.products() == 6);
}

TEST_CASE("curvature: one recording serves all vectors of a call, kept ones serve further calls") {
  for (const CurvatureKind kind : {CurvatureKind::hessian, CurvatureKind::gauss_newton}) {
    for (const Model& model : testing::tiny_networks()) {
      CAPTURE(model.name);
      const TinyProblem problem(model);
      int recorded = 0;
      std::vector<LossBatch> batches = problem.unequal_batches();
      for (LossBatch& batch : batches) {
        for (Fn* f : {&batch.loss, &batch.outputs}) {
          *f = [inner = *f, &recorded](const Tensors& p) {
            ++recorded;
            return inner(p);
          };
        }
      }
      const ParamList& params = problem.state.params;
      const CurvatureOperator fresh(batches, params, {.kind = kind});
      const Tensor v = vectors(4, fresh.size(), 3);
      const std::vector<double> expected = fresh.apply(v).to_vector<double>();
      CHECK(recorded == 3);
      CHECK(fresh.apply(v).to_vector<double>() == expected);
      CHECK(recorded == 6);
      CHECK(fresh.kept_bytes() == 0);
      CHECK(fresh.products() == 24);

      recorded = 0;
      const CurvatureOperator kept(batches, params, {.kind = kind, .keep_bytes = 1 << 30});
      for (int call = 0; call < 3; ++call) CHECK(kept.apply(v).to_vector<double>() == expected);
      CHECK(recorded == 3);
      CHECK(kept.kept_bytes() > 10000);

      // A budget of less than all of them keeps some and records the others anew.
      recorded = 0;
      const int64_t budget = kept.kept_bytes() * 2 / 3;
      const CurvatureOperator part(batches, params, {.kind = kind, .keep_bytes = budget});
      for (int call = 0; call < 3; ++call) CHECK(part.apply(v).to_vector<double>() == expected);
      CHECK(part.kept_bytes() > 0);
      CHECK(part.kept_bytes() <= budget);
      CHECK(recorded > 3);
      CHECK(recorded < 9);
    }
  }
}

TEST_CASE("curvature: a vector has the same bits alone and among more than one sweep takes") {
  for (const CurvatureKind kind : {CurvatureKind::hessian, CurvatureKind::gauss_newton}) {
    for (const Model& model : testing::tiny_networks()) {
      CAPTURE(model.name);
      const TinyProblem problem(model, DType::f32);
      const CurvatureOperator a(problem.unequal_batches(), problem.state.params, {.kind = kind});
      const int64_t n = a.size();
      const Tensor v = vectors(11, n, 4);
      const std::vector<double> together = a.apply(v).to_vector<double>();
      for (int64_t l = 0; l < 11; ++l) {
        CAPTURE(l);
        const std::vector<double> alone = a.apply(copy_row(v, l).view({1, n})).to_vector<double>();
        CHECK(std::equal(alone.begin(), alone.end(), together.begin() + l * n));
      }
    }
  }
}

TEST_CASE("curvature: what a recording holds is given back") {
  const TinyProblem problem(testing::tiny_networks()[0]);
  const size_t before = allocator_stats().live_bytes;
  {
    const CurvatureOperator a({problem.batch()}, problem.state.params, {.keep_bytes = 1 << 30});
    a.apply(vectors(1, a.size(), 1));
    CHECK(allocator_stats().live_bytes >= before + static_cast<size_t>(a.kept_bytes()));
  }
  CHECK(allocator_stats().live_bytes == before);
}

TEST_CASE("curvature: the same bits for any number of threads, f32 near f64") {
  const int before = num_threads();
  for (const Model& model : testing::tiny_networks()) {
    CAPTURE(model.name);
    const TinyProblem exact(model), problem(model, DType::f32);
    const CurvatureOperator reference(exact.unequal_batches(), exact.state.params);
    const Tensor v = vectors(2, reference.size(), 5);
    std::vector<std::vector<double>> bits;
    for (const int threads : {1, 2, 3}) {
      set_num_threads(threads);
      const CurvatureOperator a(problem.unequal_batches(), problem.state.params);
      bits.push_back(a.apply(v).to_vector<double>());
    }
    set_num_threads(before);
    CHECK(bits[1] == bits[0]);
    CHECK(bits[2] == bits[0]);
    const Tensor expected = reference.apply(v);
    const double size = testing::largest_entry(expected);
    const double error = testing::gap(bits[0], expected.to_vector<double>());
    CHECK(error < 1e-4 * size);
    CHECK(error > 1e-10 * size);  // f32 indeed
  }
}

// A copy of the parameters is kept: the operator stays that of the point where it was made.
TEST_CASE("curvature: later steps of the parameters do not move the operator") {
  TinyProblem problem(testing::tiny_networks()[1]);
  const CurvatureOperator a({problem.batch()}, problem.state.params, {.keep_bytes = 1 << 30});
  const Tensor v = vectors(1, a.size(), 1);
  const std::vector<double> expected = a.apply(v).to_vector<double>();
  for (Param& p : problem.state.params) p.value.fill(0.5);
  CHECK(a.apply(v).to_vector<double>() == expected);
}

TEST_CASE("curvature: a product that is not finite names its batch") {
  ParamList params;
  params.add_vector("scale", Tensor::from(std::vector<double>{1}, {1}), Role::gain);
  params.add_vector("x", Tensor::from(std::vector<double>{0, 1}, {2}), Role::bias);
  const auto batch = [](double shift) {
    LossBatch out;
    out.loss = [shift](const Tensors& p) { return Tensors{sum(log(p[1] + shift)) * 1.0}; };
    out.outputs = [](const Tensors& p) { return Tensors{p[1]}; };
    out.loss_of_outputs = [shift](const Tensors& y) { return Tensors{-sum(log(y[0] + shift))}; };
    out.examples = 2;
    return out;
  };
  for (const CurvatureKind kind : {CurvatureKind::hessian, CurvatureKind::gauss_newton}) {
    const CurvatureOperator a({batch(1), batch(0)}, params, {.kind = kind});
    try {
      a.apply(Tensor::full({1, 3}, DType::f64, 1));
      FAIL("no error");
    } catch (const Error& e) {
      CHECK(e.kind() == ErrorKind::numerical);
      CHECK(std::string(e.what()) ==
            "curvature: the " + std::string(name_of(kind)) +
                " product with batch 2 of 2 (2 examples) is not finite, first in x; the loss or "
                "its derivatives overflow at these parameters");
    }
    CHECK_THROWS_WITH_AS(
        a.loss(),
        "curvature: loss or gradient of batch 2 of 2 (2 examples) is not finite (loss -inf)",
        Error);
  }
}

TEST_CASE("curvature: refusals") {
  const TinyProblem problem(testing::tiny_networks()[1]);
  const ParamList& params = problem.state.params;
  CHECK_THROWS_AS(CurvatureOperator({}, params), Error);
  LossBatch batch = problem.batch();
  batch.examples = 0;
  CHECK_THROWS_AS(CurvatureOperator({batch}, params), Error);
  batch = problem.batch();
  batch.outputs = nullptr;
  CHECK_THROWS_AS(CurvatureOperator({batch}, params, {.kind = CurvatureKind::gauss_newton}), Error);
  const CurvatureOperator a({batch}, params);  // the Hessian does not need them
  CHECK_THROWS_AS(a.apply(Tensor::zeros({a.size()}, DType::f64)), Error);
  CHECK_THROWS_AS(a.apply(Tensor::zeros({1, a.size() + 1}, DType::f64)), Error);
  CHECK_THROWS_AS(a.apply(Tensor::zeros({1, a.size()}, DType::f32)), Error);
  CHECK_THROWS_AS(CurvatureOperator({batch}, params, {.indices = {999}}), Error);
}

}  // namespace
}  // namespace basin
