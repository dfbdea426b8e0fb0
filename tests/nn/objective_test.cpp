// The ways to read an objective: terms, penalty, batch statistics, and one term that is the loss
// itself to the bit.
#include "basin/nn/objective.h"

#include <doctest/doctest.h>

#include "basin/autograd/ops.h"
#include "basin/core/error.h"
#include "basin/core/random.h"

using namespace basin;

namespace {

Tensor drawn(uint64_t seed, const Shape& shape) {
  Rng rng(seed, stream_id("objective"));
  std::vector<double> values(static_cast<size_t>(shape.numel()));
  for (double& v : values) v = rng.normal();
  return Tensor::from(values, shape);
}

const Tensor& x() {
  static const Tensor value = drawn(1, {5, 3});
  return value;
}
const Tensor& y() {
  static const Tensor value = drawn(2, {5, 2});
  return value;
}

// outputs = x w, a penalty 0.1 |w|^2, and a "batch statistic".
Objective linear(bool penalty, std::vector<std::string> names) {
  Objective out;
  out.outputs = [penalty](const Tensors& params) {
    Tensors all{matmul(x(), params[0])};
    if (penalty) all.push_back(scale(sum(square(params[0])), 0.1));
    all.push_back(mean(all[0], 0));
    return all;
  };
  out.penalty = penalty;
  out.term_names = std::move(names);
  out.terms = [count = out.term_names.size()](const Tensors& outputs) {
    const Tensor gap = outputs.front() - y();
    Tensors terms{mean(square(gap))};
    if (count > 1) terms.push_back(scale(mean(square(outputs.front())), 0.5));
    return terms;
  };
  out.examples = 5;
  return out;
}

double value_of(const Fn& f, const Tensors& params) { return f(params).front().item(); }

}  // namespace

TEST_CASE("objective: one term is the data loss, to the bit, with the same gradient") {
  const Tensors w{drawn(3, {3, 2})};
  const Objective one = linear(false, {"mse"});
  const double loss = mean(square(matmul(x(), w[0]) - y())).item();
  CHECK(value_of(training_loss(one), w) == loss);
  CHECK(value_of(data_loss(one), w) == loss);
  CHECK(value_of(loss_of_outputs(one), outputs_only(one)(w)) == loss);
  const Fn plain = [](const Tensors& params) {
    return Tensors{mean(square(matmul(x(), params[0]) - y()))};
  };
  CHECK(value_and_grad(training_loss(one))(w).grads[0].to_vector<double>() ==
        value_and_grad(plain)(w).grads[0].to_vector<double>());
  // Nothing stands between the loss and the outputs.
  const LossParts parts = parts_of(one, value_and_grad(training_loss(one))(w).aux);
  CHECK(parts.terms.empty());
  REQUIRE(parts.outputs.size() == 1);
  CHECK(parts.outputs[0].shape() == Shape{5, 2});
  REQUIRE(parts.batch_statistics.size() == 1);
  CHECK(parts.batch_statistics[0].shape() == Shape{2});
}

TEST_CASE("objective: terms add up, the penalty belongs to the training alone") {
  const Tensors w{drawn(4, {3, 2})};
  const Objective both = linear(true, {"mse", "size"});
  const double mse = mean(square(matmul(x(), w[0]) - y())).item();
  const double size = 0.5 * mean(square(matmul(x(), w[0]))).item();
  const double penalty = 0.1 * sum(square(w[0])).item();
  CHECK(value_of(data_loss(both), w) == doctest::Approx(mse + size).epsilon(1e-14));
  CHECK(value_of(training_loss(both), w) == doctest::Approx(mse + size + penalty).epsilon(1e-14));
  CHECK(outputs_only(both)(w).size() == 1);
  const ValueGrad result = value_and_grad(training_loss(both))(w);
  const LossParts parts = parts_of(both, result.aux);
  REQUIRE(parts.terms.size() == 2);
  CHECK(parts.terms[0].item() == doctest::Approx(mse).epsilon(1e-14));
  CHECK(parts.terms[1].item() == doctest::Approx(size).epsilon(1e-14));
  REQUIRE(parts.outputs.size() == 1);
  REQUIRE(parts.batch_statistics.size() == 1);  // the penalty is in the loss, not among them
  CHECK(parts.batch_statistics[0].to_vector<double>() ==
        mean(parts.outputs[0], 0).to_vector<double>());
  CHECK_THROWS_AS(parts_of(both, {}), Error);
}

TEST_CASE("objective: a forward pass that gives too little, a loss of no terms") {
  const Tensors w{drawn(5, {3, 2})};
  Objective wrong = linear(false, {"mse"});
  wrong.penalty = true;
  wrong.outputs = [](const Tensors& params) { return Tensors{matmul(x(), params[0])}; };
  CHECK_THROWS_AS(training_loss(wrong)(w), Error);
  Objective none = linear(false, {"mse"});
  none.terms = [](const Tensors&) { return Tensors{}; };
  CHECK_THROWS_AS(data_loss(none)(w), Error);
}
