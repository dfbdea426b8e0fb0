// DeepONet: names and counts of DeepXDE's, every function at every point and one point each agree,
// derivatives in the place pass through the trunk alone.
#include "basin/models/deeponet.h"

#include <doctest/doctest.h>
#include "basin/autograd/ops.h"

#include "basin/tests/core/errors.h"

namespace basin::test {
namespace {

Tensor some(const Shape& shape, const char* name) {
  return draw(normal_init(), shape, DType::f64, 5, name);
}

double gap(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  return max(abs((a - b).view({a.numel()})), 0).item() / max(abs(b.view({b.numel()})), 0).item();
}

}  // namespace

TEST_CASE("deeponet: parameters of DeepXDE's antiderivative example") {
  const Model model = make_deeponet({});
  std::vector<std::string> names;
  for (const ParamSpec& p : model.layout.params()) names.push_back(p.name);
  CHECK(names == std::vector<std::string>{"branch.linears.0.weight", "branch.linears.0.bias",
                                          "branch.linears.1.weight", "branch.linears.1.bias",
                                          "trunk.linears.0.weight", "trunk.linears.0.bias",
                                          "trunk.linears.1.weight", "trunk.linears.1.bias", "b"});
  // [100, 40, 40] and [1, 40, 40]
  CHECK(model.layout.total_elements() == 100 * 40 + 40 + 40 * 40 + 40 + 40 + 40 + 40 * 40 + 40 + 1);
}

TEST_CASE("deeponet: pairs one by one are the diagonal of all pairs") {
  DeepOnetConfig config{.sensors = 6, .coordinates = 2, .width = 7, .products = 5};
  config.phi = Nonlinearity::tanh;
  const Model all = make_deeponet(config);
  config.aligned = true;
  const Model pairs = make_deeponet(config);
  const ModelState state = init_model(all, 3, DType::f64);
  const Tensor v = some({4, 6}, "v"), y = some({4, 2}, "y");
  const auto run = [&](const Model& m) {
    return m.forward(state.params.values(), {}, {v, y}, ForwardOptions::evaluation()).outputs[0];
  };
  const Tensor table = run(all), column = run(pairs);
  REQUIRE(table.shape() == Shape{4, 4});
  REQUIRE(column.shape() == Shape{4, 1});
  for (int64_t i = 0; i < 4; ++i) {
    CHECK(column.at(i) == doctest::Approx(table.at(5 * i)).epsilon(1e-14));
  }
}

TEST_CASE("deeponet: derivatives in the place equal nested ones, plain, modified and periodic") {
  for (const bool modified : {false, true}) {
    for (const bool periodic : {false, true}) {
      CAPTURE(modified);
      CAPTURE(periodic);
      DeepOnetConfig config{.sensors = 4, .coordinates = 2, .width = 6, .products = 5};
      config.phi = Nonlinearity::tanh;
      config.modified = modified;
      config.periodic = periodic;
      config.aligned = true;  // row b of the output is a function of place b alone
      const Model model = make_deeponet(config);
      const Tensors params = init_model(model, 3, DType::f64).params.values();
      const Tensors inputs{some({5, 4}, "v"), some({5, 2}, "y")};
      const ForwardOptions mode = ForwardOptions::evaluation();
      const Jet fast = jet_of(model, params, {}, inputs, {2, 1}, mode);
      const Jet slow = nested_jet(
          [&](const Tensors& y) {
            return Tensors{model.forward(params, {}, {inputs[0], y[0]}, mode).outputs[0]};
          },
          inputs[1], {2, 1});
      CHECK(gap(fast.value, slow.value) < 1e-12);
      CHECK(gap(fast.d(0), slow.d(0)) < 1e-12);
      CHECK(gap(fast.d(1), slow.d(1)) < 1e-12);
      CHECK(gap(fast.dd(0), slow.dd(0)) < 1e-12);
      // The same for every function at every place.
      config.aligned = false;
      const Jet all = jet_of(make_deeponet(config), params, {}, inputs, {2, 1}, mode);
      CHECK(all.dd(0).at(6) == doctest::Approx(slow.dd(0).at(1)).epsilon(1e-12));
    }
  }
}

TEST_CASE("deeponet: inputs that do not fit are refused") {
  const Model model = make_deeponet({.sensors = 4, .coordinates = 1});
  const Tensors params = init_model(model, 0, DType::f64).params.values();
  const auto run = [&](const Tensors& inputs) {
    return error_of([&] { model.forward(params, {}, inputs, ForwardOptions::evaluation()); });
  };
  CHECK(run({some({2, 3}, "v"), some({2, 1}, "y")}).second ==
        "deeponet: expects functions [N, 4], got [2, 3]");
  CHECK(run({some({2, 4}, "v")}).first == ErrorKind::usage);
}

}  // namespace basin::test
