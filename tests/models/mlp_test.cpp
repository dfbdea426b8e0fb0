// The network of coordinates: its parameters, and its jets - by the fused op and by the rules of
// nn/jet.h - as nested forward mode has them: in value, gradient and Hessian-vector product of the
// residual of Burgers' equation.
#include "basin/models/mlp.h"

#include <doctest/doctest.h>

#include <cmath>

#include "basin/autograd/ops.h"
#include "basin/core/log.h"
#include "basin/core/parallel.h"
#include "basin/core/random.h"

namespace basin {
namespace {

Tensor random_values(Rng& rng, const Shape& shape, double bound) {
  std::vector<double> v(static_cast<size_t>(shape.numel()));
  for (double& x : v) x = rng.uniform(-bound, bound);
  return Tensor::from(v, shape);
}

// Relative to the largest element of each tensor of b.
double relative_gap(const Tensors& a, const Tensors& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (size_t k = 0; k < a.size(); ++k) {
    const auto p = a[k].to_vector<double>(), q = b[k].to_vector<double>();
    REQUIRE(p.size() == q.size());
    double off = 0, largest = 1e-3;
    for (size_t i = 0; i < p.size(); ++i) {
      off = std::max(off, std::abs(p[i] - q[i]));
      largest = std::max(largest, std::abs(q[i]));
    }
    worst = std::max(worst, off / largest);
  }
  return worst;
}

using JetOf = std::function<Jet(const Tensors& params)>;

// mean (u_t + u u_x - nu u_xx)^2
Fn burgers(const JetOf& jet) {
  return [jet](const Tensors& params) {
    const Jet u = jet(params);
    return Tensors{mean(square(u.d(1) + u.value * u.d(0) - scale(u.dd(0), 0.01 / M_PI)))};
  };
}

// The network's jet and, with the same parameters, nested forward mode of its values.
struct Pair {
  JetOf jet, nested;
  Tensors params, along;
};

Pair jet_pair(const MlpConfig& config, int64_t points, const JetOrders& orders) {
  const Model model = make_mlp(config);
  Rng rng(3, stream_id("mlp jets"));
  const Tensor x = random_values(rng, {points, config.inputs}, 1);
  Pair pair;
  for (const Tensor& p : init_model(model, 1, DType::f64).params.values()) {
    pair.params.push_back(p + random_values(rng, p.shape(), 0.1));  // biases too
    pair.along.push_back(random_values(rng, p.shape(), 1));
  }
  pair.jet = [=](const Tensors& params) { return model.jet(params, {}, {x}, orders, {}); };
  pair.nested = [=](const Tensors& params) {
    const Fn net = [&](const Tensors& in) { return model.forward(params, {}, in, {}).outputs; };
    return nested_jet(net, x, orders);
  };
  return pair;
}

void check_jet_pair(const Pair& pair) {
  const Fn loss = burgers(pair.jet), expected = burgers(pair.nested);
  CHECK(relative_gap(loss(pair.params), expected(pair.params)) <= 1e-12);
  const auto [slope, bend] = jvp(grad(loss), pair.params, pair.along);
  const auto [slope_too, bend_too] = jvp(grad(expected), pair.params, pair.along);
  CHECK(relative_gap(slope, slope_too) <= 1e-12);
  CHECK(relative_gap(bend, bend_too) <= 1e-12);
  CHECK(relative_gap(grad(loss)(pair.params), slope_too) <= 1e-12);  // without tangents
  CHECK(relative_gap(linearize(grad(loss), pair.params)(pair.along), bend_too) <= 1e-12);
}

TEST_CASE("mlp: parameters and their names") {
  const Model model = make_model({"mlp", "plain", 1, {}});
  CHECK(model.layout.total_elements() == 921);  // 2 - 20 x 3 - 1
  const ModelState state = init_model(model, 1, DType::f64);
  for (int l = 0; l < 4; ++l) {
    CHECK(state.params.find(str("linears.", l, ".weight")) >= 0);
    CHECK(state.params.find(str("linears.", l, ".bias")) >= 0);
  }
  const Model gated = make_model({"mlp", "modified", 1, {}});
  CHECK(gated.layout.total_elements() == 921 + 2 * 60);
}

TEST_CASE("mlp: jets of every nonlinearity and variant as nested forward mode has them") {
  // relu warns once of its second derivative: tests/nn/jet_test.cpp
  const LogSink previous = set_log_sink([](LogLevel, const std::string&) {});
  for (size_t k = 0; k < std::size(kNonlinearities); ++k) {
    for (const bool modified : {false, true}) {
      for (const int64_t fourier : {0, 3}) {
        for (const bool fused : {true, false}) {
          CAPTURE(kNonlinearities[k]);
          CAPTURE(modified);
          CAPTURE(fourier);
          CAPTURE(fused);
          MlpConfig config;
          config.width = 9;
          config.phi = static_cast<Nonlinearity>(k);
          config.modified = modified;
          config.fourier = fourier;
          config.fourier_sigma = 0.5;
          config.fused = fused;
          check_jet_pair(jet_pair(config, 13, {2, 1}));
        }
      }
    }
  }
  set_log_sink(previous);
}

TEST_CASE("mlp: the fused jet of widths that fill a tile, of several outputs and coordinates") {
  MlpConfig config;
  config.width = 20;
  check_jet_pair(jet_pair(config, 70, {2, 1}));
  config.inputs = 3;
  config.outputs = 2;
  config.width = 52;  // more groups of points
  check_jet_pair(jet_pair(config, 45, {2, 1, 2}));
}

TEST_CASE("mlp: gradients of fused jets have the same bits for any number of threads") {
  const Pair pair = jet_pair(MlpConfig{}, 700, {2, 1});
  const int before = num_threads();
  set_num_threads(1);
  const Tensors one = grad(burgers(pair.jet))(pair.params);
  set_num_threads(3);
  const Tensors three = grad(burgers(pair.jet))(pair.params);
  set_num_threads(before);
  CHECK(relative_gap(three, one) == 0);
}

TEST_CASE("mlp: a third derivative by nesting over the fused jet") {
  const Model model = make_mlp(MlpConfig{});
  const ModelState state = init_model(model, 2, DType::f64);
  Rng rng(4, stream_id("mlp third"));
  const Tensor x = random_values(rng, {6, 2}, 1);
  const Tensor along = broadcast_to(Tensor::from(std::vector<double>{1, 0}, {1, 2}), x.shape());
  const auto third = [&](const Fn& second) { return jvp(second, {x}, {along}).second; };
  const Tensors params = state.params.values();
  const Fn by_jet = [&](const Tensors& in) {
    return Tensors{model.jet(params, {}, in, {2, 0}, {}).dd(0)};
  };
  const Fn by_nesting = [&](const Tensors& in) {
    const Fn net = [&](const Tensors& at) { return model.forward(params, {}, at, {}).outputs; };
    return Tensors{nested_jet(net, in[0], {2, 0}).dd(0)};
  };
  CHECK(relative_gap(third(by_jet), third(by_nesting)) <= 1e-12);
}

TEST_CASE("mlp: refusals") {
  const Model model = make_mlp(MlpConfig{});
  const Tensors params = init_model(model, 1, DType::f64).params.values();
  const Tensor x = Tensor::zeros({4, 3}, DType::f64);
  CHECK_THROWS_WITH_AS(model.forward(params, {}, {x}, {}), "mlp: expects points [B, 2], got [4, 3]",
                       Error);
  CHECK_THROWS_AS(model.jet(params, {}, {x}, {2, 1}, {}), Error);
  CHECK_THROWS_AS(model.jet(params, {}, {x, x}, {2, 1}, {}), Error);
  CHECK_THROWS_AS(make_model({"mlp", "plain", 1, {{"activation", "abs"}}}), Error);
  CHECK_THROWS_AS(make_model({"mlp", "plain", 1, {{"depth", "0"}}}), Error);
}

}  // namespace
}  // namespace basin
