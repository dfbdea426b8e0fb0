// PointNet: parameter counts, names, symmetry, fused against plain, penalties, dropout, initial
// values.
#include "basin/models/pointnet.h"

#include <doctest/doctest.h>

#include <numeric>

#include "basin/tests/models/pointnet_fixture.h"

namespace basin {
namespace {

using testing::batch_mode;
using testing::difference;
using testing::generic_state;
using testing::random_clouds;
using testing::random_tensor;
using testing::tiny_config;

Model model_with(const std::string& preset, std::map<std::string, std::string> options = {}) {
  return make_model({.name = "pointnet", .preset = preset, .options = std::move(options)});
}

TEST_CASE("pointnet: the published parameter counts") {
  CHECK(model_with("port").layout.total_elements() == 3471473);
  CHECK(model_with("port", {{"feature_transform", "false"}}).layout.total_elements() == 1614129);
  CHECK(model_with("port", {{"feature_transform", "false"}, {"input_transform", "false"}})
            .layout.total_elements() == 811048);
  CHECK(model_with("original").layout.total_elements() == 3480049);
  CHECK(make_pointnet(tiny_config()).layout.total_elements() == 268);
}

TEST_CASE("pointnet: names, reference shapes, roles and the order of the buffers") {
  const Model model = model_with("port");
  const ModelState state = init_model(model, 1, DType::f32);
  const auto shape_of = [&](const char* name) { return state.params.at(name).reference_shape; };
  CHECK(shape_of("feat.stn.conv1.weight") == Shape{64, 3, 1});
  CHECK(shape_of("feat.stn.fc3.weight") == Shape{9, 256});
  CHECK(shape_of("feat.fstn.conv1.weight") == Shape{64, 64, 1});
  CHECK(shape_of("feat.fstn.fc3.bias") == Shape{4096});
  CHECK(shape_of("feat.conv3.weight") == Shape{1024, 128, 1});
  CHECK(shape_of("feat.bn3.weight") == Shape{1024});
  CHECK(shape_of("fc3.weight") == Shape{40, 256});
  CHECK(state.params.at("feat.conv1.weight").value.shape() == Shape{64, 3});
  std::vector<std::string> first, head;
  for (const Param& p : state.params) {
    if (p.role == Role::first) first.push_back(p.name);
    if (p.role == Role::head) head.push_back(p.name);
  }
  CHECK(first == std::vector<std::string>{"feat.stn.conv1.weight", "feat.conv1.weight"});
  CHECK(head == std::vector<std::string>{"fc3.weight"});
  CHECK(state.buffers.size() == 3 * 15);
  CHECK(state.buffers[0].name == "feat.stn.bn1.running_mean");
  CHECK(state.buffers[3 * 14 + 2].name == "bn2.num_batches_tracked");
  const Model switched = model_with("port", {{"tnet_output", "head"}});
  CHECK(init_model(switched, 1, DType::f32).params.at("feat.stn.fc3.weight").role == Role::head);
  CHECK(init_model(model_with("original"), 1, DType::f32).params.find("feat.conv5.weight") >= 0);
}

// Reverses and rotates the points of each cloud.
Tensor permuted(const Tensor& points) {
  const int64_t clouds = points.size(0), n = points.size(1);
  std::vector<double> out;
  for (int64_t b = 0; b < clouds; ++b) {
    for (int64_t i = 0; i < n; ++i) {
      const int64_t from = (2 * n - 1 - i + 5 * (b + 1)) % n;
      for (int64_t c = 0; c < 3; ++c) out.push_back(points.at((b * n + from) * 3 + c));
    }
  }
  return Tensor::from(out, points.shape()).to(points.dtype());
}

TEST_CASE("pointnet: the logits do not depend on the order of the points") {
  for (const std::string preset : {"port", "original"}) {
    const Model model = model_with(preset);
    const ModelState wide = init_model(model, 3, DType::f64);
    for (const DType dtype : {DType::f64, DType::f32}) {
      const ModelState state = wide.to(dtype);
      const Tensors params = state.params.values(), buffers = state.buffers.values();
      const Tensor points = random_clouds(16, 33, 8, dtype);
      REQUIRE(difference(permuted(points), points) > 0.1);
      for (const bool batch_statistics : {false, true}) {
        CAPTURE(preset);
        CAPTURE(batch_statistics);
        ForwardOptions options;
        options.batch_statistics = batch_statistics;
        const Tensor a = model.forward(params, buffers, {points}, options).outputs[0];
        const Tensor b = model.forward(params, buffers, {permuted(points)}, options).outputs[0];
        REQUIRE(a.shape() == Shape{16, 40});
        CHECK(difference(b, a) < (dtype == DType::f64 ? 1e-9 : 1e-5));
      }
    }
  }
}

TEST_CASE("pointnet: the fused network is the plain one, with gradients and Hessian products") {
  for (const bool original : {false, true}) {
    PointNetConfig config = tiny_config(original);
    config.widths = {.w1 = 5, .w2 = 7, .w3 = 12, .fc1 = 6, .fc2 = 5};
    config.classes = 4;
    const Model fused = make_pointnet(config);
    config.fused = false;
    const Model plain = make_pointnet(config);
    const ModelState state = generic_state(fused, 21);
    const Tensors params = state.params.values(), buffers = state.buffers.values();
    const Tensor points = random_tensor({6, 11, 3}, 4);
    const Tensor labels = Tensor::from(std::vector<int64_t>{0, 1, 2, 3, 1, 0}, {6});
    Tensors direction;
    for (size_t i = 0; i < params.size(); ++i) {
      direction.push_back(random_tensor(params[i].shape(), 100 + i));
    }
    for (const ForwardOptions& options :
         {ForwardOptions::evaluation(), batch_mode(), ForwardOptions::training(1, 2)}) {
      CAPTURE(original);
      CAPTURE(options.batch_statistics);
      CAPTURE(options.dropout);
      const Fn f = classification_loss(fused, buffers, points, labels, options, 0.2);
      const Fn p = classification_loss(plain, buffers, points, labels, options, 0.2);
      const ValueGrad a = value_and_grad(f)(params), b = value_and_grad(p)(params);
      CHECK(difference(a.value, b.value) < 1e-10);
      CHECK(difference(a.aux, b.aux) < 1e-10);
      CHECK(difference(a.grads, b.grads) < 1e-10);
      const Tensors ha = linearize(grad(f), params)(direction);
      const Tensors hb = linearize(grad(p), params)(direction);
      CHECK(difference(ha, hb) < 1e-10);
      CHECK(difference(ha[0], Tensor::zeros(ha[0].shape(), DType::f64)) > 1e-3);
    }
  }
}

TEST_CASE("pointnet: the penalties against hand-computed values, safe at the identity") {
  // A = [[1, 1], [0, 2]]: A A^T - I = [[1, 2], [2, 3]], squares 1 + 4 + 4 + 9 = 18. B = identity.
  const Tensor a = Tensor::from(std::vector<double>{1, 1, 0, 2, 1, 0, 0, 1}, {2, 2, 2});
  CHECK(orthogonality_norm(a).item() == doctest::Approx(std::sqrt(18.0) / 2).epsilon(1e-14));
  CHECK(orthogonality_half_sum(a).item() == doctest::Approx(9).epsilon(1e-14));
  const Fn norm = [](const Tensors& x) { return Tensors{orthogonality_norm(x[0])}; };
  const Tensor g = grad(norm)({a})[0];
  // d/dA ||D||_F / 2 = D A / ||D||_F with D = A A^T - I: [[1, 5], [2, 8]] / sqrt(18)
  const double expected[] = {1, 5, 2, 8, 0, 0, 0, 0};
  for (int64_t i = 0; i < 8; ++i) {
    CHECK(g.at(i) == doctest::Approx(expected[i] / std::sqrt(18.0)).epsilon(1e-13));
  }
  const Tensors h = linearize(grad(norm), {a})({random_tensor({2, 2, 2}, 1)});
  for (int64_t i = 0; i < 8; ++i) CHECK(std::isfinite(h[0].at(i)));
  CHECK_THROWS_AS(orthogonality_norm(Tensor::zeros({2, 2, 3}, DType::f64)), Error);
}

TEST_CASE("pointnet: original starts at identity transforms and without penalty") {
  const Model model = make_pointnet(tiny_config(true));
  const ModelState state = init_model(model, 1, DType::f64);
  ForwardOptions options = batch_mode();
  options.keep_activations = true;
  const ForwardResult result = model.forward(state.params.values(), state.buffers.values(),
                                             {random_tensor({3, 5, 3}, 2)}, options);
  CHECK(result.penalty.item() == 0);
  REQUIRE(result.activations.size() == 6);
  CHECK(result.activations[0].name == "input_transform");
  for (int64_t i = 0; i < 27; ++i) {
    CHECK(result.activations[0].value.at(i) == (i % 9 % 4 == 0 ? 1 : 0));
  }
  CHECK(result.activations[1].name == "feature_transform");
  CHECK(result.activations[2].name == "point_features");
  CHECK(result.activations[2].value.shape() == Shape{3, 5, 2});
  CHECK(result.activations[3].name == "global_feature");
  CHECK(result.activations[3].value.shape() == Shape{3, 3});
}

TEST_CASE("pointnet: the port's global feature is not rectified, the original's is") {
  for (const bool original : {false, true}) {
    const Model model = make_pointnet(tiny_config(original));
    ModelState state = generic_state(model, 3);
    const int last = state.params.find(original ? "feat.bn5.bias" : "feat.bn3.bias");
    state.params[static_cast<size_t>(last)].value.fill(-50);
    ForwardOptions options;
    options.keep_activations = true;
    const Tensor feature = model
                               .forward(state.params.values(), state.buffers.values(),
                                        {random_clouds(8, 5, 2)}, options)
                               .activations[3]
                               .value;
    for (int64_t i = 0; i < feature.numel(); ++i) {
      if (original) CHECK(feature.at(i) == 0);
      if (!original) CHECK(feature.at(i) < 0);
    }
  }
}

TEST_CASE("pointnet: dropout is a function of (seed, step) and sits where the preset says") {
  for (const bool original : {false, true}) {
    PointNetConfig config = tiny_config(original);
    config.widths.fc2 = 16;
    const Model model = make_pointnet(config);
    ModelState state = generic_state(model, 9);
    const Tensor points = random_tensor({4, 9, 3}, 6);
    const auto run = [&](const ForwardOptions& options) {
      return model.forward(state.params.values(), state.buffers.values(), {points}, options);
    };
    const Tensor once = run(ForwardOptions::training(7, 3)).outputs[0];
    CHECK(difference(run(ForwardOptions::training(7, 3)).outputs[0], once) == 0);
    CHECK(difference(run(ForwardOptions::training(7, 4)).outputs[0], once) > 1e-6);
    CHECK(difference(run(ForwardOptions::training(8, 3)).outputs[0], once) > 1e-6);
    CHECK(difference(run(batch_mode()).outputs[0], once) > 1e-6);

    // With a constant fc2 only a mask between fc2 and its batch norm can make the batch vary.
    state.params[static_cast<size_t>(state.params.find("fc2.weight"))].value.fill(0);
    state.params[static_cast<size_t>(state.params.find("fc2.bias"))].value.fill(1);
    state.params[static_cast<size_t>(state.params.find("bn2.bias"))].value.fill(1);
    const ForwardResult result = run(ForwardOptions::training(7, 3));
    const std::vector<double> var = result.batch_stats.back().to_vector<double>();
    const double total = std::accumulate(var.begin(), var.end(), 0.0);
    CHECK((total > 0) == !original);
    const Tensor row0 = slice(result.outputs[0], 0, 0, 1), row1 = slice(result.outputs[0], 0, 1, 2);
    CHECK(difference(row0, row1) > 1e-6);  // original: a mask after the batch norm of fc2
    CHECK(difference(slice(run(batch_mode()).outputs[0], 0, 0, 1),
                     slice(run(batch_mode()).outputs[0], 0, 1, 2)) < 1e-12);
  }
}

TEST_CASE("pointnet: initial values keep their range and do not depend on switched-off parts") {
  const ModelState full = init_model(model_with("port"), 11, DType::f32);
  const ModelState part =
      init_model(model_with("port", {{"feature_transform", "false"}}), 11, DType::f32);
  for (const Param& p : part.params) {
    CHECK(difference(p.value, full.params.at(p.name).value) == 0);
  }
  const auto largest = [](const Param& p) {
    double m = 0;
    for (int64_t i = 0; i < p.value.numel(); ++i) m = std::max(m, std::abs(p.value.at(i)));
    return m;
  };
  const double bound = 1 / std::sqrt(128.0);
  CHECK(largest(full.params.at("feat.conv3.weight")) < bound);
  CHECK(largest(full.params.at("feat.conv3.weight")) > 0.999 * bound);
  CHECK(largest(full.params.at("feat.conv3.bias")) > 0.99 * bound);
  CHECK(largest(full.params.at("feat.stn.fc3.weight")) > 0);
  const ModelState original = init_model(model_with("original"), 11, DType::f32);
  const double xavier = std::sqrt(6.0 / (128 + 1024));
  CHECK(largest(original.params.at("feat.conv5.weight")) < xavier);
  CHECK(largest(original.params.at("feat.conv5.weight")) > 0.999 * xavier);
  CHECK(largest(original.params.at("feat.conv5.bias")) == 0);
  CHECK(largest(original.params.at("feat.fstn.fc3.weight")) == 0);
}

TEST_CASE("pointnet: momentum of the running statistics") {
  const auto port = model_with("port").bn_momentum, original = model_with("original").bn_momentum;
  CHECK(port(0) == 0.1);
  CHECK(port(1000000) == 0.1);
  CHECK(original(0) == 0.5);
  CHECK(original(199999) == 0.5);
  CHECK(original(200000) == 0.25);
  CHECK(original(5000000) == 0.01);
}

TEST_CASE("pointnet: refuses points of another shape") {
  const Model model = make_pointnet(tiny_config());
  const ModelState state = init_model(model, 1, DType::f64);
  CHECK_THROWS_WITH(model.forward(state.params.values(), state.buffers.values(),
                                  {Tensor::zeros({2, 3, 5}, DType::f64)}, {}),
                    doctest::Contains("expects points [B, N, 3], got [2, 3, 5]"));
}

}  // namespace
}  // namespace basin
