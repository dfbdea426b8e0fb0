// Row of the op table: networks of coordinates with their derivatives against the composite of
// plain ops: widths that fill the register tiles and such that do not, points that do not fill a
// tile.
#include <cmath>

#include "basin/nn/jet.h"
#include "basin/tests/autograd/op_table.h"

using namespace basin;
using namespace basin::table;

namespace {

Case mlp_jet_case(Rng& rng, int64_t points, const std::vector<int64_t>& widths, JetActivation phi,
                  const std::vector<int>& orders) {
  const size_t layers = widths.size() - 1;
  Case c;
  c.label = str(points, " points, widths");
  for (const int64_t w : widths) c.label += str(" ", w);
  c.label += str(", ", kNonlinearities[static_cast<size_t>(phi)]);
  c.x = {uniform(rng, {points, widths[0]})};
  for (size_t l = 0; l < layers; ++l) {
    const double bound = 1.5 / std::sqrt(static_cast<double>(widths[l]));
    c.x.push_back(uniform(rng, {widths[l + 1], widths[l]}, -bound, bound));
  }
  for (size_t l = 0; l < layers; ++l) c.x.push_back(uniform(rng, {widths[l + 1]}, -0.5, 0.5));
  const auto part = [layers](const Tensors& x, size_t first) {
    const auto at = x.begin() + static_cast<std::ptrdiff_t>(first);
    return Tensors(at, at + static_cast<std::ptrdiff_t>(layers));
  };
  c.f = [=](const Tensors& x) {
    return Tensors{mlp_jet(x[0], part(x, 1), part(x, 1 + layers), phi, orders)};
  };
  c.reference = [=](const Tensors& x) {
    Jet a = jet_seed(x[0], orders);
    for (size_t l = 0; l < layers; ++l) {
      if (l > 0) a = apply(static_cast<Nonlinearity>(phi), a);
      a = linear(a, x[1 + l], x[1 + layers + l]);
    }
    Tensors slots{a.value};
    for (size_t i = 0; i < orders.size(); ++i) {
      if (orders[i] > 0) slots.push_back(a.d(i));
      if (orders[i] > 1) slots.push_back(a.dd(i));
    }
    return Tensors{stack(slots)};
  };
  return c;
}

}  // namespace

OP_ROW(mlp_jet) {
  using enum JetActivation;
  Cases cases;
  cases.push_back(mlp_jet_case(rng, 3, {2, 5, 4, 1}, JetActivation::tanh, {2, 1}));
  cases.front().order = 3;
  cases.push_back(mlp_jet_case(rng, 19, {2, 4, 8, 2}, silu, {2, 2}));
  cases.push_back(mlp_jet_case(rng, 5, {3, 6, 5, 3}, JetActivation::sin, {0, 2, 1}));
  cases.push_back(mlp_jet_case(rng, 4, {2, 3, 1}, JetActivation::tanh, {0, 0}));
  cases.push_back(mlp_jet_case(rng, 1, {1, 1, 1}, silu, {1}));
  cases.push_back(mlp_jet_case(rng, 6, {2, 3}, JetActivation::tanh, {2, 1}));  // linear
  for (const JetActivation phi : {JetActivation::tanh, JetActivation::sin, silu}) {
    cases.push_back(large(mlp_jet_case(rng, 700, {2, 20, 20, 20, 1}, phi, {2, 1})));
  }
  cases.push_back(large(mlp_jet_case(rng, 333, {3, 37, 33, 2}, JetActivation::tanh, {2, 2, 1})));
  return cases;
}

TEST_CASE("mlp_jet: refusals") {
  Rng rng(1, 2);
  const Tensor x = uniform(rng, {5, 2});
  const Tensors w{uniform(rng, {3, 2}), uniform(rng, {1, 3})},
      b{uniform(rng, {3}), uniform(rng, {1})};
  const auto run = [&](const Tensor& at, const Tensors& weights, const Tensors& biases,
                       const std::vector<int>& orders) {
    return mlp_jet(at, weights, biases, JetActivation::tanh, orders);
  };
  CHECK(run(x, w, b, {2, 1}).shape() == Shape{4, 5, 1});
  CHECK_THROWS_WITH_AS(run(x, w, b, {2}), "mlp_jet: expects x [B, 1], got [5, 2]", Error);
  CHECK_THROWS_WITH_AS(run(x, w, b, {3, 0}),
                       "mlp_jet: derivatives of order 0 to 2 along a coordinate, got 3", Error);
  CHECK_THROWS_WITH_AS(run(x, w, {b[0]}, {2, 1}),
                       "mlp_jet: expects a weight and a bias per layer, got 2 and 1", Error);
  CHECK_THROWS_WITH_AS(
      run(x, {w[0], w[0]}, b, {2, 1}),
      "mlp_jet: layer 1 expects a weight [out, 3] and a bias [out], got [3, 2] and [1]", Error);
  CHECK_THROWS_WITH_AS(run(x.to(DType::f32), w, b, {2, 1}),
                       "mlp_jet: layer 0 needs the dtype of x, f32", Error);
}
