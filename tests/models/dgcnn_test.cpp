// DGCNN: parameter count, names, permutation invariance, an evaluation by scalar loops, refusals,
// and the dense Hessian of a tiny network.
#include "basin/models/dgcnn.h"

#include <doctest/doctest.h>

#include "basin/models/symmetry.h"
#include "basin/tests/models/dense_hessian.h"

namespace basin {
namespace {

using testing::batch_mode;
using testing::difference;
using testing::generic_state;
using testing::random_clouds;

DgcnnConfig tiny_dgcnn() {
  DgcnnConfig config;
  config.classes = 2;
  config.k = 3;
  config.widths = {.edge1 = 2, .edge2 = 3, .edge3 = 2, .edge4 = 3, .points = 4, .fc1 = 3, .fc2 = 2};
  return config;
}

TEST_CASE("dgcnn: the published parameter count") {
  CHECK(make_model({.name = "dgcnn"}).layout.total_elements() == 1809576);
}

TEST_CASE("dgcnn: names, reference shapes, roles and the order of the buffers") {
  const Model model = make_model({.name = "dgcnn"});
  const ModelState state = init_model(model, 1, DType::f32);
  std::vector<std::string> names, first, head;
  for (const Param& p : state.params) {
    names.push_back(p.name);
    if (p.role == Role::first) first.push_back(p.name);
    if (p.role == Role::head) head.push_back(p.name);
  }
  CHECK(names == std::vector<std::string>{
                     "bn1.weight",     "bn1.bias",       "bn2.weight",     "bn2.bias",
                     "bn3.weight",     "bn3.bias",       "bn4.weight",     "bn4.bias",
                     "bn5.weight",     "bn5.bias",       "conv1.0.weight", "conv2.0.weight",
                     "conv3.0.weight", "conv4.0.weight", "conv5.0.weight", "linear1.weight",
                     "bn6.weight",     "bn6.bias",       "linear2.weight", "linear2.bias",
                     "bn7.weight",     "bn7.bias",       "linear3.weight", "linear3.bias"});
  const auto shape_of = [&](const char* name) { return state.params.at(name).reference_shape; };
  CHECK(shape_of("conv1.0.weight") == Shape{64, 6, 1, 1});
  CHECK(shape_of("conv2.0.weight") == Shape{64, 128, 1, 1});
  CHECK(shape_of("conv3.0.weight") == Shape{128, 128, 1, 1});
  CHECK(shape_of("conv4.0.weight") == Shape{256, 256, 1, 1});
  CHECK(shape_of("conv5.0.weight") == Shape{1024, 512, 1});
  CHECK(shape_of("linear1.weight") == Shape{512, 2048});
  CHECK(shape_of("linear3.weight") == Shape{40, 256});
  CHECK(state.params.at("conv4.0.weight").value.shape() == Shape{256, 256});
  CHECK(state.params.at("conv4.0.weight").view.size() == 1);
  CHECK(first == std::vector<std::string>{"conv1.0.weight"});
  CHECK(head == std::vector<std::string>{"linear3.weight"});
  CHECK(state.buffers.size() == 3 * 7);
  CHECK(state.buffers[0].name == "bn1.running_mean");
  CHECK(state.buffers[19].name == "bn7.running_var");
}

TEST_CASE("dgcnn: the logits do not depend on the order of the points") {
  const Model model =
      make_model({.name = "dgcnn", .options = {{"k", "5"}, {"widths", "8,8,16,16,32,16,8"}}});
  const ModelState state = generic_state(model, 3);
  const Tensors params = state.params.values(), buffers = state.buffers.values();
  const Tensor points = random_clouds(4, 40, 8);
  const Tensor other = permuted(points, random_permutation(40, 5));
  REQUIRE(difference(other, points) > 0.1);
  for (const ForwardOptions& options : {ForwardOptions::evaluation(), batch_mode()}) {
    const Tensor logits = model.forward(params, buffers, {points}, options).outputs[0];
    REQUIRE(logits.shape() == Shape{4, 40});
    REQUIRE(difference(logits, Tensor::zeros(logits.shape(), DType::f64)) > 0.1);
    CHECK(difference(model.forward(params, buffers, {other}, options).outputs[0], logits) < 1e-9);
  }
}

// The definition in scalar loops: one edge feature [x_j - x_i, x_i] at a time, frozen statistics.
struct Loops {
  const ModelState& state;
  using Rows = std::vector<std::vector<double>>;

  double norm(const std::string& name, int64_t c, double x) const {
    const auto at = [&](const ParamList& list, const char* what) {
      return list.at(name + what).value.at(c);
    };
    const double y = at(state.params, ".weight") * (x - at(state.buffers, ".running_mean")) /
                         std::sqrt(at(state.buffers, ".running_var") + 1e-5) +
                     at(state.params, ".bias");
    return y > 0 ? y : 0.2 * y;
  }

  std::vector<double> map(const std::string& name, const std::vector<double>& x) const {
    const Tensor& w = state.params.at(name + ".weight").value;
    const bool has_bias = state.params.find(name + ".bias") >= 0;
    std::vector<double> y;
    for (int64_t o = 0; o < w.size(0); ++o) {
      double sum = has_bias ? state.params.at(name + ".bias").value.at(o) : 0;
      for (int64_t i = 0; i < w.size(1); ++i) sum += w.at(o * w.size(1) + i) * x[i];
      y.push_back(sum);
    }
    return y;
  }

  std::vector<double> layer(const std::string& name, const std::string& bn,
                            const std::vector<double>& x) const {
    std::vector<double> y = map(name, x);
    for (size_t c = 0; c < y.size(); ++c) y[c] = norm(bn, static_cast<int64_t>(c), y[c]);
    return y;
  }

  static std::vector<size_t> nearest(const Rows& x, size_t i, size_t k) {
    std::vector<std::pair<double, size_t>> all;
    for (size_t j = 0; j < x.size(); ++j) {
      double sum = 0;
      for (size_t c = 0; c < x[i].size(); ++c) sum += (x[j][c] - x[i][c]) * (x[j][c] - x[i][c]);
      all.emplace_back(sum, j);
    }
    std::sort(all.begin(), all.end());
    std::vector<size_t> out;
    for (size_t q = 0; q < k; ++q) out.push_back(all[q].second);
    return out;
  }

  Rows edge(const std::string& number, const Rows& x, size_t k) const {
    Rows out;
    for (size_t i = 0; i < x.size(); ++i) {
      std::vector<double> best;
      for (const size_t j : nearest(x, i, k)) {
        std::vector<double> feature;
        for (size_t c = 0; c < x[i].size(); ++c) feature.push_back(x[j][c] - x[i][c]);
        feature.insert(feature.end(), x[i].begin(), x[i].end());
        const std::vector<double> y = layer("conv" + number + ".0", "bn" + number, feature);
        if (best.empty()) best = y;
        for (size_t c = 0; c < y.size(); ++c) best[c] = std::max(best[c], y[c]);
      }
      out.push_back(best);
    }
    return out;
  }

  std::vector<double> logits(Rows x, size_t k) const {
    Rows joined(x.size());
    for (const char* number : {"1", "2", "3", "4"}) {
      x = edge(number, x, k);
      for (size_t i = 0; i < x.size(); ++i) {
        joined[i].insert(joined[i].end(), x[i].begin(), x[i].end());
      }
    }
    std::vector<double> top, average;
    for (const std::vector<double>& row : joined) {
      const std::vector<double> y = layer("conv5.0", "bn5", row);
      top.resize(y.size(), -INFINITY);
      average.resize(y.size(), 0);
      for (size_t c = 0; c < y.size(); ++c) {
        top[c] = std::max(top[c], y[c]);
        average[c] += y[c] / static_cast<double>(joined.size());
      }
    }
    top.insert(top.end(), average.begin(), average.end());
    return map("linear3", layer("linear2", "bn7", layer("linear1", "bn6", top)));
  }
};

TEST_CASE("dgcnn: the definition, evaluated in scalar loops") {
  const DgcnnConfig config = tiny_dgcnn();
  const Model model = make_dgcnn(config);
  const ModelState state = generic_state(model, 17);
  const Tensor points = random_clouds(3, 12, 4);
  const Tensor logits =
      model.forward(state.params.values(), state.buffers.values(), {points}, {}).outputs[0];
  for (int64_t b = 0; b < 3; ++b) {
    Loops::Rows cloud;
    for (int64_t i = 0; i < 12; ++i) {
      const int64_t at = (b * 12 + i) * 3;
      cloud.push_back({points.at(at), points.at(at + 1), points.at(at + 2)});
    }
    const std::vector<double> expected = Loops{state}.logits(cloud, 3);
    for (int64_t c = 0; c < 2; ++c) {
      CHECK(logits.at(2 * b + c) == doctest::Approx(expected[c]).epsilon(1e-11));
    }
  }
}

TEST_CASE("dgcnn: duplicated points, activations, dropout, refusals") {
  const Model model = make_dgcnn(tiny_dgcnn());
  const ModelState state = generic_state(model, 5);
  const Tensors params = state.params.values(), buffers = state.buffers.values();
  const Tensor points = random_clouds(2, 6, 3);
  const Tensor doubled = concat({points, points}, 1);
  ForwardOptions options = ForwardOptions::training(1, 2);
  options.keep_activations = true;
  const ForwardResult result = model.forward(params, buffers, {doubled}, options);
  REQUIRE(result.activations.size() == 8);
  CHECK(result.activations[3].name == "edge4");
  CHECK(result.activations[3].value.shape() == Shape{2, 12, 3});
  CHECK(result.activations[5].name == "global_feature");
  CHECK(result.activations[5].value.shape() == Shape{2, 8});
  CHECK(result.batch_stats.size() == 14);
  for (int64_t i = 0; i < result.outputs[0].numel(); ++i)
    CHECK(std::isfinite(result.outputs[0].at(i)));
  CHECK(difference(model.forward(params, buffers, {doubled}, options).outputs[0],
                   result.outputs[0]) == 0);
  options.step = 5;
  CHECK(difference(model.forward(params, buffers, {doubled}, options).outputs[0],
                   result.outputs[0]) > 1e-6);
  CHECK_THROWS_WITH(model.forward(params, buffers, {Tensor::zeros({2, 2, 3}, DType::f64)}, {}),
                    "dgcnn: needs at least k = 3 points per cloud, got 2; lower the option k");
}

TEST_CASE("dgcnn: the fused network is the plain one, with gradients and Hessian products") {
  DgcnnConfig config = tiny_dgcnn();
  config.classes = 4;
  config.k = 4;
  config.widths = {.edge1 = 5, .edge2 = 7, .edge3 = 6, .edge4 = 9, .points = 8, .fc1 = 6, .fc2 = 5};
  const Model fused = make_dgcnn(config);
  config.fused = false;
  const Model plain = make_dgcnn(config);
  const ModelState state = generic_state(fused, 21);
  const Tensors params = state.params.values(), buffers = state.buffers.values();
  const Tensor points = random_clouds(6, 11, 4);
  const Tensor labels = Tensor::from(std::vector<int64_t>{0, 1, 2, 3, 1, 0}, {6});
  Tensors direction;
  for (size_t i = 0; i < params.size(); ++i) {
    direction.push_back(testing::random_tensor(params[i].shape(), 100 + i));
  }
  for (const ForwardOptions& options :
       {ForwardOptions::evaluation(), batch_mode(), ForwardOptions::training(1, 2)}) {
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
    CHECK(difference(ha, hb) < 1e-9);
    CHECK(difference(ha[0], Tensor::zeros(ha[0].shape(), DType::f64)) > 1e-3);
  }
}

TEST_CASE("dgcnn hessian: batch statistics") {
  testing::check_hessian(make_dgcnn(tiny_dgcnn()), batch_mode(), 3);
}

TEST_CASE("dgcnn hessian: running statistics") {
  testing::check_hessian(make_dgcnn(tiny_dgcnn()), ForwardOptions::evaluation(), 3);
}

}  // namespace
}  // namespace basin
