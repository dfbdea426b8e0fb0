// EGNN: parameter counts, names, invariance of the logits and equivariance of the coordinates under
// O(3), translations and permutations, before and after training; an evaluation by scalar loops,
// second order at coinciding points, fused against plain, and the dense Hessian of a tiny network.
#include "basin/models/egnn.h"

#include <doctest/doctest.h>

#include "basin/datasets/shapes.h"
#include "basin/models/symmetry.h"
#include "basin/optim/registry.h"
#include "basin/tests/models/egnn_loops.h"

namespace basin {
namespace {

using testing::difference;
using testing::generic_state;
using testing::random_clouds;
using testing::random_tensor;
using testing::tiny_egnn;

int64_t parameters(std::map<std::string, std::string> options, const std::string& preset = "") {
  return make_model({.name = "egnn", .preset = preset, .options = std::move(options)})
      .layout.total_elements();
}

TEST_CASE("egnn: parameter counts") {
  CHECK(parameters({}) == 127464);
  CHECK(parameters({{"last_coordinates", "false"}}) == 123240);
  CHECK(parameters({{"hidden", "128"}}) == 500648);
  CHECK(parameters({}, "wide") == 500648);
  CHECK(make_model({.name = "egnn", .preset = "wide"}).preset == "wide");
  CHECK(parameters({{"attention", "true"}}) == 127464 + 4 * 65);
  CHECK(parameters({{"radius", "true"}}) == 127464 + 64);
  CHECK(parameters({{"layers", "1"}}) == 127464 - 3 * 29120);
}

TEST_CASE("egnn: names, shapes, roles and initial values") {
  const Model model =
      make_model({.name = "egnn", .options = {{"layers", "1"}, {"attention", "true"}}});
  const ModelState state = init_model(model, 1, DType::f32);
  std::vector<std::string> names, first, head;
  for (const Param& p : state.params) {
    names.push_back(p.name);
    if (p.role == Role::first) first.push_back(p.name);
    if (p.role == Role::head) head.push_back(p.name);
  }
  CHECK(names == std::vector<std::string>{
                     "embedding_in.weight", "embedding_in.bias", "gcl_0.edge_mlp.0.weight",
                     "gcl_0.edge_mlp.0.bias", "gcl_0.edge_mlp.2.weight", "gcl_0.edge_mlp.2.bias",
                     "gcl_0.node_mlp.0.weight", "gcl_0.node_mlp.0.bias", "gcl_0.node_mlp.2.weight",
                     "gcl_0.node_mlp.2.bias", "gcl_0.coord_mlp.0.weight", "gcl_0.coord_mlp.0.bias",
                     "gcl_0.coord_mlp.2.weight", "gcl_0.att_mlp.0.weight", "gcl_0.att_mlp.0.bias",
                     "readout.0.weight", "readout.0.bias", "embedding_out.weight",
                     "embedding_out.bias"});
  CHECK(first == std::vector<std::string>{"embedding_in.weight"});
  CHECK(head == std::vector<std::string>{"gcl_0.coord_mlp.2.weight", "gcl_0.att_mlp.0.weight",
                                         "embedding_out.weight"});
  CHECK(state.params.at("gcl_0.edge_mlp.0.weight").reference_shape == Shape{64, 129});
  CHECK(state.params.at("gcl_0.coord_mlp.2.weight").reference_shape == Shape{1, 64});
  CHECK(state.buffers.size() == 0);
  const Tensor& small = state.params.at("gcl_0.coord_mlp.2.weight").value;
  double largest = 0;
  for (int64_t i = 0; i < 64; ++i) largest = std::max(largest, std::abs(small.at(i)));
  const double bound = 0.001 * std::sqrt(6.0 / 65);
  CHECK(largest < bound);
  CHECK(largest > 0.9 * bound);
}

const Tensor& activation(const ForwardResult& result, const std::string& name) {
  for (const Activation& a : result.activations) {
    if (a.name == name) return a.value;
  }
  FAIL("no activation ", name);
  return result.outputs[0];
}

ForwardOptions keeping() {
  ForwardOptions options;
  options.keep_activations = true;
  return options;
}

// Coordinates must move in this test, so phi_x ends at a generic row, not near zero.
TEST_CASE("egnn: invariant logits and equivariant coordinates under O(3), shifts, permutations") {
  for (const char* switched : {"", "attention", "radius"}) {
    ModelConfig config{.name = "egnn", .options = {{"hidden", "6"}, {"layers", "3"}, {"k", "5"}}};
    if (*switched) config.options[switched] = "true";
    const Model model = make_model(config);
    const ModelState state = generic_state(model, 3);
    const Tensors params = state.params.values();
    const Tensor points = random_clouds(3, 30, 8);
    const ForwardResult plain = model.forward(params, {}, {points}, keeping());
    REQUIRE(plain.outputs[0].shape() == Shape{3, 40});
    REQUIRE(difference(slice(plain.outputs[0], 0, 0, 1), slice(plain.outputs[0], 0, 1, 2)) > 1e-3);
    REQUIRE(difference(activation(plain, "coordinates3"), points) > 1e-2);
    for (const bool reflection : {false, true}) {
      CAPTURE(switched);
      CAPTURE(reflection);
      const Matrix3 q = random_orthogonal(9, reflection);
      const std::array<double, 3> shift{0.7, -1.3, 0.4};
      const Tensor other = moved(points, q, shift);
      const ForwardResult result = model.forward(params, {}, {other}, keeping());
      CHECK(difference(result.outputs[0], plain.outputs[0]) < 1e-9);
      for (const char* layer : {"1", "2", "3"}) {
        const std::string x = str("coordinates", layer), h = str("features", layer);
        CHECK(difference(activation(result, x), moved(activation(plain, x), q, shift)) < 1e-9);
        CHECK(difference(activation(result, h), activation(plain, h)) < 1e-9);
      }
    }
    const std::vector<int64_t> order = random_permutation(30, 4);
    const ForwardResult result = model.forward(params, {}, {permuted(points, order)}, keeping());
    CHECK(difference(result.outputs[0], plain.outputs[0]) < 1e-9);
    CHECK(difference(activation(result, "coordinates3"),
                     permuted(activation(plain, "coordinates3"), order)) < 1e-9);
  }
}

TEST_CASE("egnn: invariance in f32 at the size of the preset") {
  const Model model = make_model({.name = "egnn"});
  const ModelState state = init_model(model, 2, DType::f64);
  const Tensor points = random_clouds(2, 64, 6);
  const Tensor other = moved(points, random_orthogonal(5, true), {0.1, 0.2, -0.3});
  const auto gap = [&](DType dtype) {
    const Tensors params = state.to(dtype).params.values();
    const Tensor a = model.forward(params, {}, {points.to(dtype)}, {}).outputs[0];
    return difference(model.forward(params, {}, {other.to(dtype)}, {}).outputs[0], a);
  };
  CHECK(gap(DType::f64) < 1e-9);
  CHECK(gap(DType::f32) < 1e-4);
}

TEST_CASE("egnn: the definition, evaluated in scalar loops") {
  testing::check_loops(tiny_egnn(), 3);
}

TEST_CASE("egnn: one layer with constant inputs sees only the neighbour distances") {
  EgnnConfig config = tiny_egnn();
  config.layers = 1;
  config.k = 2;
  const Model model = make_egnn(config);
  const Tensors params = generic_state(model, 7).params.values();
  // Two triangles 3-4-5 far apart, alike but for the side on which the second one is folded out.
  const std::vector<double> left{0, 0, 0, 3, 0, 0, 0, 4, 0, 100, 0, 0, 103, 0, 0, 100, 4, 0};
  std::vector<double> right = left;
  right[16] = -4;
  const Tensor a = Tensor::from(left, {1, 6, 3}), b = Tensor::from(right, {1, 6, 3});
  CHECK(difference(model.forward(params, {}, {a}, {}).outputs[0],
                   model.forward(params, {}, {b}, {}).outputs[0]) < 1e-12);
}

TEST_CASE("egnn: the last coordinate map is no part of the function") {
  EgnnConfig config = tiny_egnn();
  const Model full = make_egnn(config);
  config.last_coordinates = false;
  const Model part = make_egnn(config);
  const ModelState a = init_model(full, 3, DType::f64), b = init_model(part, 3, DType::f64);
  const Tensor points = random_clouds(2, 8, 1);
  const Tensor labels = Tensor::from(std::vector<int64_t>{0, 1}, {2});
  CHECK(difference(full.forward(a.params.values(), {}, {points}, {}).outputs[0],
                   part.forward(b.params.values(), {}, {points}, {}).outputs[0]) == 0);
  const Tensors g = grad(classification_loss(full, {}, points, labels, {}))(a.params.values());
  for (size_t i = 0; i < g.size(); ++i) {
    const bool unused = a.params[i].name.starts_with("gcl_1.coord_mlp");
    REQUIRE(g[i].shape() == a.params[i].value.shape());
    CHECK((difference(g[i], Tensor::zeros(g[i].shape(), DType::f64)) == 0) == unused);
  }
}

TEST_CASE("egnn: first and second derivatives exist at coinciding points") {
  const Model model = make_egnn(tiny_egnn());
  const Tensors params = generic_state(model, 5).params.values();
  const Tensor some = random_clouds(2, 4, 3);
  const Tensor labels = Tensor::from(std::vector<int64_t>{0, 1}, {2});
  Tensors direction;
  for (size_t i = 0; i < params.size(); ++i) {
    direction.push_back(random_tensor(params[i].shape(), 40 + i));
  }
  const Tensor clouds[] = {concat({some, some, some}, 1), Tensor::zeros({2, 7, 3}, DType::f64)};
  for (const Tensor& points : clouds) {
    const Fn loss = classification_loss(model, {}, points, labels, {}, 0.2);
    const Tensors h = linearize(grad(loss), params)(direction);
    for (const Tensor& t : h) {
      for (int64_t i = 0; i < t.numel(); ++i) CHECK(std::isfinite(t.at(i)));
    }
    // By the points themselves too: forces and their tangents.
    const Fn by_points = [&](const Tensors& x) {
      return Tensors{cross_entropy(model.forward(params, {}, {x[0]}, {}).outputs[0], labels, 0.2)};
    };
    const Tensors force = linearize(grad(by_points), {points})({random_tensor(points.shape(), 2)});
    for (int64_t i = 0; i < points.numel(); ++i) CHECK(std::isfinite(force[0].at(i)));
  }
}

TEST_CASE("egnn: dropout is a function of (seed, step); too few points are refused") {
  const Model model = make_egnn(tiny_egnn());
  const Tensors params = generic_state(model, 9).params.values();
  const Tensor points = random_clouds(4, 9, 6);
  const auto run = [&](uint64_t step) {
    return model.forward(params, {}, {points}, ForwardOptions::training(7, step)).outputs[0];
  };
  CHECK(difference(run(3), run(3)) == 0);
  CHECK(difference(run(4), run(3)) > 1e-6);
  CHECK_THROWS_WITH(model.forward(params, {}, {Tensor::zeros({2, 3, 3}, DType::f64)}, {}),
                    "egnn: needs more than k = 3 points per cloud, got 3; lower the option k");
}

TEST_CASE("egnn: the fused network is the plain one, with gradients and Hessian products") {
  for (const bool attention : {false, true}) {
    EgnnConfig config = tiny_egnn();
    config.attention = attention;
    config.hidden = attention ? 5 : 16;
    config.layers = 3;
    const Model fused = make_egnn(config);
    config.fused = false;
    const Model plain = make_egnn(config);
    const ModelState state = generic_state(fused, 21);
    const Tensors params = state.params.values();
    const Tensor some = random_clouds(2, 9, 4);
    const Tensor points = concat({some, slice(some, 1, 0, 3)}, 1);  // three points twice
    const Tensor labels = Tensor::from(std::vector<int64_t>{0, 1}, {2});
    Tensors direction;
    for (size_t i = 0; i < params.size(); ++i) {
      direction.push_back(random_tensor(params[i].shape(), 100 + i));
    }
    for (const ForwardOptions& options :
         {ForwardOptions::evaluation(), ForwardOptions::training(1, 2)}) {
      CAPTURE(attention);
      CAPTURE(options.dropout);
      const Fn f = classification_loss(fused, {}, points, labels, options, 0.2);
      const Fn p = classification_loss(plain, {}, points, labels, options, 0.2);
      const ValueGrad a = value_and_grad(f)(params), b = value_and_grad(p)(params);
      CHECK(difference(a.value, b.value) < 1e-11);
      CHECK(difference(a.grads, b.grads) < 1e-11);
      const Tensors ha = linearize(grad(f), params)(direction);
      const Tensors hb = linearize(grad(p), params)(direction);
      CHECK(difference(ha, hb) < 1e-10);
      CHECK(difference(ha[0], Tensor::zeros(ha[0].shape(), DType::f64)) > 1e-3);
    }
  }
}

// A small network after 200 steps of Muon on the embedded shapes. Rounding then meets weights that
// training has made, coordinates that really move, and activations that have grown.
TEST_CASE("egnn: invariance after training") {
  const Model model =
      make_model({.name = "egnn",
                  .outputs = static_cast<int64_t>(embedded_class_names().size()),
                  .options = {{"hidden", "16"}, {"layers", "3"}, {"k", "8"}, {"dropout", "0"}}});
  const PointCloudSplits data = embedded_shapes(2, 1, 48, 3);
  ModelState state = init_model(model, 4, DType::f32);
  const std::unique_ptr<Optimizer> muon = make_optimizer({.name = "muon"}, state.params);
  double first = 0, least = 0;  // least of the last 20: at a constant rate single steps jump
  for (int64_t step = 0; step < 200; ++step) {
    const ValueGrad g = value_and_grad(classification_loss(
        model, {}, data.train.points, data.train.labels, ForwardOptions::training(1, step)))(
        state.params.values());
    const double loss = g.value.item();
    if (step == 0) first = loss;
    least = step <= 180 ? loss : std::min(least, loss);
    muon->step(state.params, g.grads, {step, loss, 1});
  }
  CHECK(least < 0.3 * first);
  const Tensor points = data.test.points.to(DType::f64);
  const auto logits = [&](const Tensor& x, DType dtype) {
    return model.forward(state.to(dtype).params.values(), {}, {x.to(dtype)}, {}).outputs[0];
  };
  const Tensor plain = logits(points, DType::f64);
  REQUIRE(difference(slice(plain, 0, 0, 1), slice(plain, 0, 1, 2)) > 1e-2);
  REQUIRE(difference(activation(model.forward(state.to(DType::f64).params.values(), {}, {points},
                                              keeping()),
                                "coordinates2"),
                     points) > 1e-2);
  for (const bool reflection : {false, true}) {
    const Tensor other = permuted(moved(points, random_orthogonal(6, reflection), {0.4, -0.2, 0.9}),
                                  random_permutation(48, 8));
    CHECK(difference(logits(other, DType::f64), plain) < 1e-9);
    CHECK(difference(logits(other, DType::f32), logits(points, DType::f32)) < 1e-4);
  }
}

TEST_CASE("egnn: scale is a unit of length") {
  EgnnConfig config = tiny_egnn();
  const Model plain = make_egnn(config);
  config.scale = 4;
  const Model scaled = make_egnn(config);
  const Tensors params = generic_state(plain, 3).params.values();
  const Tensor points = random_clouds(2, 9, 4);
  const ForwardResult a = scaled.forward(params, {}, {points}, keeping());
  const ForwardResult b = plain.forward(params, {}, {points * 4}, keeping());
  CHECK(difference(a.outputs[0], b.outputs[0]) == 0);
  CHECK(difference(activation(a, "coordinates2"), activation(b, "coordinates2")) == 0);
  CHECK(difference(a.outputs[0], plain.forward(params, {}, {points}, {}).outputs[0]) > 1e-3);
  config.scale = 0;
  CHECK_THROWS_WITH_AS(make_egnn(config), "egnn: scale must be positive, got 0", Error);
}

TEST_CASE("egnn hessian: with the unused map") {
  testing::check_hessian(make_egnn(tiny_egnn()), ForwardOptions::evaluation(), 3);
}

TEST_CASE("egnn hessian: attention and radius") {
  EgnnConfig config = tiny_egnn();
  config.attention = config.radius = true;
  config.last_coordinates = false;
  testing::check_hessian(make_egnn(config), ForwardOptions::evaluation(), 3);
}

}  // namespace
}  // namespace basin
