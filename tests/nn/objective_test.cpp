// Objectives: one function of the parameters for training, probes and evaluation, by hand.
#include "basin/nn/objective.h"

#include <doctest/doctest.h>

#include "basin/autograd/ops.h"

namespace basin {
namespace {

Tensor scalar(double value) { return Tensor::full({}, DType::f64, value); }

// One parameter w; outputs 2 w and w^2, a penalty 10 w, one statistic 7.
Objective example(bool penalty) {
  Objective objective;
  objective.n_outputs = 2;
  objective.penalty = penalty;
  objective.outputs = [penalty](const Tensors& p) {
    Tensors out{scale(p[0], 2), square(p[0])};
    if (penalty) out.push_back(scale(p[0], 10));
    out.push_back(scalar(7));
    return out;
  };
  objective.terms = [](const Tensors& y) { return Tensors{scale(y[0], 3), y[1] + y[0]}; };
  objective.term_names = {"first", "second"};
  objective.examples = 1;
  return objective;
}

std::vector<double> items(const Tensors& tensors) {
  std::vector<double> out;
  for (const Tensor& t : tensors) out.push_back(t.item());
  return out;
}

TEST_CASE("objective: the training loss adds the penalty and hands everything on") {
  const Tensors w{scalar(5)};  // outputs 10 and 25, terms 30 and 35, penalty 50
  for (const bool penalty : {false, true}) {
    CAPTURE(penalty);
    const Objective objective = example(penalty);
    const ValueGrad vg = value_and_grad(training_loss(objective))(w);
    CHECK(vg.value.item() == (penalty ? 115 : 65));
    CHECK(vg.grads[0].item() == 3 * 2 + 2 + 2 * 5 + (penalty ? 10 : 0));
    const LossParts parts = parts_of(objective, vg.aux);
    CHECK(items(parts.terms) == std::vector<double>{30, 35});
    CHECK(items(parts.outputs) == std::vector<double>{10, 25});
    CHECK(items(parts.batch_statistics) == std::vector<double>{7});
    CHECK(items(data_loss(objective)(w)) == std::vector<double>{65});
    CHECK(items(outputs_only(objective)(w)) == std::vector<double>{10, 25});
    CHECK(items(loss_of_outputs(objective)({scalar(1), scalar(2)})) == std::vector<double>{6});
  }
}

TEST_CASE("objective: a single term is the data loss and no part of its own") {
  Objective objective = example(true);
  objective.terms = [](const Tensors& y) { return Tensors{y[0]}; };
  objective.term_names = {"only"};
  const Tensors all = training_loss(objective)({scalar(5)});
  CHECK(items(all) == std::vector<double>{60, 10, 25, 7});
  const LossParts parts = parts_of(objective, {all.begin() + 1, all.end()});
  CHECK(parts.terms.empty());
  CHECK(items(parts.outputs) == std::vector<double>{10, 25});
}

TEST_CASE("objective: too few tensors are refused") {
  Objective objective = example(true);
  objective.outputs = [](const Tensors& p) { return Tensors{p[0], p[0]}; };
  CHECK_THROWS_WITH(training_loss(objective)({scalar(5)}),
                    "objective: the forward pass gave 2 tensors, expected 2 outputs and a penalty");
  CHECK_THROWS_WITH(parts_of(objective, {scalar(1)}),
                    doctest::Contains("expects the 4 or more further outputs"));
  objective.terms = [](const Tensors&) { return Tensors{}; };
  CHECK_THROWS_WITH(loss_of_outputs(objective)({scalar(1)}),
                    "objective: expects at least one term of the loss, got none");
}

}  // namespace
}  // namespace basin
