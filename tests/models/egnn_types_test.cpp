// EGNN on points of several types, as atoms are: what the second input does to the outputs, that it
// moves with its points, and what is refused.
#include <doctest/doctest.h>

#include "basin/models/egnn.h"
#include "basin/models/symmetry.h"
#include "basin/tests/models/pointnet_fixture.h"

namespace basin {
namespace {

using testing::difference;
using testing::generic_state;
using testing::random_clouds;
using testing::random_tensor;

EgnnConfig three_types() {
  EgnnConfig config;
  config.classes = 2;
  config.hidden = 3;
  config.layers = 2;
  config.k = 3;
  config.types = 3;
  return config;
}

// Types as a molecule has them: every cloud its own.
Tensor some_types(int64_t clouds, int64_t points, int64_t kinds) {
  std::vector<int64_t> types;
  Rng rng(5, 5);
  for (int64_t i = 0; i < clouds * points; ++i) types.push_back(rng.below(kinds));
  return Tensor::from(types, {clouds, points});
}

TEST_CASE("egnn: points of several types") {
  EgnnConfig config = three_types();
  config.radius = true;
  const Model model = make_egnn(config);
  REQUIRE(model.inputs.size() == 2);
  CHECK(model.inputs[1].name == "types");
  CHECK(model.inputs[1].rows == Rows::point);
  CHECK(model.inputs[1].kind == SlotKind::feature);
  const ModelState state = generic_state(model, 9);
  CHECK(state.params.at("embedding_in.weight").value.size(1) == 5);
  const Tensors params = state.params.values();
  const Tensor points = random_clouds(2, 9, 6), types = some_types(2, 9, 3);
  const auto outputs = [&](const Tensor& x, const Tensor& kinds) {
    return model.forward(params, {}, {x, kinds}, {}).outputs[0];
  };
  const Tensor plain = outputs(points, types);
  const std::vector<int64_t> order = random_permutation(9, 4);
  CHECK(difference(outputs(permuted(points, order), permuted(types, order)), plain) < 1e-12);
  CHECK(difference(outputs(permuted(points, order), types), plain) > 1e-4);
  CHECK(difference(outputs(points, Tensor::zeros({2, 9}, DType::i64)), plain) > 1e-4);
  for (const SymmetryError& e : measure_symmetry(model, state, {points, types}, {2, 1}).layers) {
    CAPTURE(e.layer);
    CHECK(e.declared);
    CHECK(e.largest() < (e.dtype == DType::f64 ? 1e-9 : 1e-4));
  }

  // One type for all points is a constant that the bias can take over: embedding_in's columns are
  // the constant, the radius, then the types.
  config.types = 0;
  const Model untyped = make_egnn(config);
  const Tensor& w = state.params.at("embedding_in.weight").value;
  Tensor narrow = Tensor::empty({w.size(0), 2}, DType::f64);
  for (int64_t r = 0; r < w.size(0); ++r) {
    narrow.mutable_data<double>()[2 * r] = w.at(5 * r) + w.at(5 * r + 2 + 1);
    narrow.mutable_data<double>()[2 * r + 1] = w.at(5 * r + 1);
  }
  Tensors fewer = params;
  fewer[static_cast<size_t>(state.params.find("embedding_in.weight"))] = narrow;
  CHECK(difference(outputs(points, Tensor::full({2, 9}, DType::i64, 1)),
                   untyped.forward(fewer, {}, {points}, {}).outputs[0]) < 1e-12);
}

TEST_CASE("egnn: types that are none are refused") {
  EgnnConfig config = three_types();
  const Model model = make_egnn(config);
  const Tensors params = generic_state(model, 9).params.values();
  const Tensor points = random_clouds(2, 9, 6), types = some_types(2, 9, 3);
  for (const int64_t bad : {int64_t{-1}, int64_t{3}}) {
    Tensor wrong = types.clone();
    wrong.mutable_data<int64_t>()[9 + 4] = bad;
    try {
      model.forward(params, {}, {points, wrong}, {});
      FAIL("accepted");
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::data);
      CHECK(std::string(error.what()) == str("egnn: point 4 of example 1 has the type ", bad,
                                             ", expected 0 to 2; raise the option types?"));
    }
  }
  CHECK_THROWS_WITH(model.forward(params, {}, {points}, {}), "egnn: expects 2 inputs, got 1");
  CHECK_THROWS_WITH(model.forward(params, {}, {points, types.to(DType::i32)}, {}),
                    "egnn: expects types i64 [B, N] beside points [2, 9, 3], got i32 [2, 9]");
  CHECK_THROWS_WITH(model.forward(params, {}, {points, some_types(2, 8, 3)}, {}),
                    "egnn: expects types i64 [B, N] beside points [2, 9, 3], got i64 [2, 8]");
  config.types = -1;
  CHECK_THROWS_WITH(make_egnn(config), "egnn: types must be from 0 to 1000, got -1");
}

TEST_CASE("egnn: a regression of typed points has a gradient everywhere") {
  const Model model = make_model({.name = "egnn",
                                  .outputs = 1,
                                  .options = {{"types", "4"}, {"hidden", "5"}, {"k", "3"}},
                                  .output_name = "prediction"});
  const ModelState state = generic_state(model, 2);
  const Tensor points = random_clouds(3, 8, 6), types = some_types(3, 8, 4);
  const Tensor target = random_tensor({3, 1}, 8);
  const Objective objective = supervised(
      model, {}, {points, types}, ForwardOptions::evaluation(),
      {{"squared"}, [target](const Tensors& y) { return Tensors{mse_loss(y.front(), target)}; }},
      3);
  const ValueGrad g = value_and_grad(data_loss(objective))(state.params.values());
  CHECK(g.value.item() > 0);
  const Tensor& columns = g.grads[0];  // of embedding_in.weight [5, 1 + 4]
  REQUIRE(columns.shape() == Shape{5, 5});
  for (int64_t i = 0; i < 25; ++i) CHECK(columns.at(i) != 0);
}

}  // namespace
}  // namespace basin
