// The search for the first non-finite op: both sweeps, the parameters that are named, what was not
// finite before, and what nested derivatives and errors do to it.
#include "basin/autograd/non_finite.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "basin/autograd/ops.h"
#include "basin/autograd/transform.h"

using namespace basin;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

Tensor vec(const std::vector<double>& v) {
  return Tensor::from(v, {static_cast<int64_t>(v.size())});
}
Tensor filled(const Shape& shape, double value) { return Tensor::full(shape, DType::f64, value); }

// sum log(w2 relu(w1 x)): the logarithm reads no parameter itself.
Fn two_layers(const Tensor& x) {
  return [x](const Tensors& w) -> Tensors {
    const Tensor hidden = relu(linear(x, w[0], {}));
    return {sum(log(linear(hidden, w[1], {})))};
  };
}

}  // namespace

TEST_CASE("non_finite: the first element and the count of one tensor") {
  CHECK_FALSE(first_non_finite(vec({1, -2, 0})));
  CHECK_FALSE(first_non_finite(Tensor{}));
  CHECK_FALSE(first_non_finite(Tensor::zeros({3}, DType::i64)));
  const auto found = first_non_finite(vec({1, -kInf, 2, std::nan(""), kInf}));
  REQUIRE(found);
  CHECK(found->element == 1);
  CHECK(found->value == -kInf);
  CHECK(found->count == 3);
  CHECK(std::isnan(first_non_finite(vec({0, std::nan("")}).to(DType::f32))->value));
}

TEST_CASE("non_finite: a finite computation has nothing to show, and is undisturbed") {
  const Fn f = two_layers(filled({5, 3}, 1));
  const Tensors w{filled({4, 3}, 1), filled({2, 4}, 0.5)};
  const Tensors before = grad(f)(w);
  CHECK_FALSE(find_non_finite(f, w));
  const Tensors after = grad(f)(w);
  for (size_t i = 0; i < w.size(); ++i) {
    CHECK(before[i].to_vector<double>() == after[i].to_vector<double>());
  }
}

TEST_CASE("non_finite: forward, the op and the nearest parameter upstream of it") {
  Tensor w2 = filled({2, 4}, 0.5);
  for (int64_t i = 4; i < 8; ++i) w2.mutable_data<double>()[i] = -1;
  const auto found = find_non_finite(two_layers(filled({5, 3}, 1)), {filled({4, 3}, 1), w2});
  REQUIRE(found);
  CHECK(found->sweep == Sweep::forward);
  CHECK(name_of(found->sweep) == "forward");
  CHECK(found->op == "log");
  CHECK(found->position == 0);
  CHECK(found->shape == Shape{5, 2});
  CHECK(found->first.element == 1);
  CHECK(std::isnan(found->first.value));
  CHECK(found->first.count == 5);
  CHECK_FALSE(found->from_inputs);
  CHECK(found->parameters == std::vector<int>{1});
  CHECK(found->bad.empty());
}

TEST_CASE("non_finite: forward, an op that reads parameters itself names them all") {
  const Fn f = [](const Tensors& w) -> Tensors { return {sum(exp(w[2]) + div(w[0], w[1]))}; };
  const auto found = find_non_finite(f, {vec({1, 1}), vec({1, 0}), vec({0, 0})});
  REQUIRE(found);
  CHECK(found->op == "div");
  CHECK(found->parameters == std::vector<int>{0, 1});
  CHECK(found->first.element == 1);
  CHECK(found->first.value == kInf);
}

TEST_CASE("non_finite: backward, the node whose cotangent leaves the finite numbers") {
  // sqrt is finite at 0, its derivative is not; the sweep comes from the other side of `scale`.
  const Fn f = [](const Tensors& w) -> Tensors {
    return {sum(scale(sqrt(mul(w[0], w[1])), 2)), w[0]};
  };
  const auto found = find_non_finite(f, {vec({4, 0, 1}), vec({1, 1, 1})});
  REQUIRE(found);
  CHECK(found->sweep == Sweep::backward);
  CHECK(found->op == "sqrt");
  CHECK(found->position == 0);
  CHECK(found->first.element == 1);
  CHECK(found->first.value == kInf);
  CHECK(found->first.count == 1);
  CHECK(found->parameters == std::vector<int>{0, 1});
}

TEST_CASE("non_finite: two finite cotangents whose sum overflows") {
  const Fn f = [](const Tensors& w) -> Tensors {
    return {sum(scale(w[0], 1e308)) + sum(scale(scale(w[0], 1.5e308), 1))};
  };
  const auto found = find_non_finite(f, {vec({0, 0})});
  REQUIRE(found);
  CHECK(found->sweep == Sweep::backward);
  CHECK(found->op == "scale");
  CHECK(found->first.count == 2);
  CHECK(found->parameters == std::vector<int>{0});
}

TEST_CASE("non_finite: what was not finite before is told apart from what an op makes") {
  const Fn f = [](const Tensors& w) -> Tensors { return {sum(mul(w[0], w[1]))}; };
  const auto parameter = find_non_finite(f, {vec({1, 2}), vec({3, std::nan("")})});
  REQUIRE(parameter);
  CHECK(parameter->op == "mul");
  CHECK(parameter->from_inputs);
  CHECK(parameter->bad == std::vector<int>{1});

  const Tensor data = vec({1, kInf});
  const Fn g = [data](const Tensors& w) -> Tensors { return {sum(mul(data, w[0]))}; };
  const auto constant = find_non_finite(g, {vec({1, 1})});
  REQUIRE(constant);
  CHECK(constant->from_inputs);
  CHECK(constant->bad.empty());

  // An op on constants alone is seen too; no parameter leads to it.
  const Fn h = [data](const Tensors& w) -> Tensors { return {sum(mul(neg(data), w[0]))}; };
  const auto before = find_non_finite(h, {vec({1, 1})});
  REQUIRE(before);
  CHECK(before->op == "neg");
  CHECK(before->parameters.empty());

  const Fn unused = [](const Tensors& w) -> Tensors { return {sum(w[0])}; };
  const auto aside = find_non_finite(unused, {vec({1}), vec({std::nan("")})});
  REQUIRE(aside);
  CHECK(aside->sweep == Sweep::none);
  CHECK(aside->bad == std::vector<int>{1});
}

TEST_CASE("non_finite: through a derivative inside the function") {
  // d/dx sqrt(w x) = w / (2 sqrt(w x)) is infinite at x = 0.
  const Tensor x = vec({1, 0});
  const Fn f = [x](const Tensors& w) -> Tensors {
    const Fn u = [&](const Tensors& in) -> Tensors { return {sum(sqrt(mul(w[0], in[0])))}; };
    return {sum(square(grad(u)({x})[0]))};
  };
  const auto found = find_non_finite(f, {vec({1, 1})});
  REQUIRE(found);
  CHECK(found->sweep == Sweep::forward);
  CHECK(found->first.element == 1);
  CHECK(found->parameters == std::vector<int>{0});
}

TEST_CASE("non_finite: an error after the finding is part of it, one before is an error") {
  const Fn late = [](const Tensors& w) -> Tensors {
    log(w[0]);
    fail(ErrorKind::numerical, "the function gives up");
  };
  const auto found = find_non_finite(late, {vec({-1})});
  REQUIRE(found);
  CHECK(found->op == "log");
  CHECK_THROWS_AS(find_non_finite(late, {vec({1})}), Error);
}
