// PointNet and DGCNN with the normals of the points as channels 4 to 6: shapes, what reads what,
// symmetry, and that plain and fused ops agree.
#include <doctest/doctest.h>

#include "basin/models/symmetry.h"
#include "basin/tests/models/pointnet_fixture.h"

namespace basin {
namespace {

using testing::batch_mode;
using testing::difference;
using testing::generic_state;
using testing::random_clouds;

Model model_of(const std::string& name, OptionValues options = {}, const std::string& preset = "") {
  options["features"] = "normal";
  options.emplace("widths", name == "pointnet" ? "6,8,12,8,6" : "6,6,8,8,12,8,6");
  if (name == "dgcnn") options.emplace("k", "5");
  return make_model({.name = name, .preset = preset, .outputs = 4, .options = options});
}

// Of length 1; generic.
Tensor random_normals(int64_t clouds, int64_t points, uint64_t seed) {
  Tensor n = random_clouds(clouds, points, seed);
  double* v = n.mutable_data<double>();
  for (int64_t i = 0; i < n.numel(); i += 3) {
    const double length = std::hypot(v[i], v[i + 1], v[i + 2]);
    for (int64_t axis = 0; axis < 3; ++axis) v[i + axis] /= length;
  }
  return n;
}

const Tensor& param(const ModelState& state, const std::string& name) {
  return state.params[static_cast<size_t>(state.params.find(name))].value;
}

Tensor logits(const Model& model, const ModelState& state, const Tensors& inputs) {
  return model.forward(state.params.values(), state.buffers.values(), inputs, batch_mode())
      .outputs.front();
}

}  // namespace

TEST_CASE("normals: six channels where the network reads its input, three elsewhere") {
  for (const std::string preset : {"port", "original"}) {
    const ModelState net = init_model(model_of("pointnet", {}, preset), 0, DType::f32);
    CHECK(param(net, "feat.stn.conv1.weight").size(1) == 6);
    CHECK(param(net, "feat.stn.fc3.weight").size(0) == 9);
    CHECK(param(net, "feat.conv1.weight").size(1) == 6);
  }
  const Model dgcnn = model_of("dgcnn");
  CHECK(param(init_model(dgcnn, 0, DType::f32), "conv1.0.weight").size(1) == 12);
  REQUIRE(dgcnn.inputs.size() == 2);
  CHECK((dgcnn.inputs[1].name == "normals" && dgcnn.inputs[1].kind == SlotKind::direction));
  CHECK_THROWS_AS(make_model({.name = "dgcnn", .options = {{"features", "colour"}}}), Error);
  CHECK_THROWS_AS(make_model({.name = "egnn", .options = {{"features", "normal"}}}), Error);
}

TEST_CASE("normals: the input transform turns coordinates alone") {
  // With an identity for the T-Net's matrix the network is the one without it.
  const Model with = model_of("pointnet", {{"feature_transform", "false"}}, "original");
  const Model without = model_of(
      "pointnet", {{"feature_transform", "false"}, {"input_transform", "false"}}, "original");
  const ModelState state = init_model(with, 3, DType::f64);  // starts at the exact identity
  ModelState rest = init_model(without, 3, DType::f64);
  for (Param& p : rest.params) p.value.copy_from(param(state, p.name));
  const Tensors inputs{random_clouds(3, 20, 1), random_normals(3, 20, 2)};
  CHECK(difference(logits(with, state, inputs), logits(without, rest, inputs)) < 1e-12);
}

TEST_CASE("normals: permutations of points and normals together change nothing") {
  for (const std::string name : {"pointnet", "dgcnn"}) {
    CAPTURE(name);
    const Model model = model_of(name);
    const ModelState state = generic_state(model, 5);
    const Tensors inputs{random_clouds(2, 30, 3), random_normals(2, 30, 4)};
    const SymmetryReport report = measure_symmetry(model, state, inputs, {3, 2});
    for (const SymmetryError& e : report.layers) {
      CAPTURE(e.layer);
      CAPTURE(name_of(e.kind));
      if (e.declared) CHECK(e.largest() < (e.dtype == DType::f64 ? 1e-9 : 1e-4));
      if (e.layer == "logits" && !e.declared) CHECK(e.largest() > 1e-3);
    }
    // Points of which the normals stay behind are other points.
    const std::vector<int64_t> order = random_permutation(30, 9);
    const Tensor there = logits(model, state, inputs);
    CHECK(difference(logits(model, state, {permuted(inputs[0], order), permuted(inputs[1], order)}),
                     there) < 1e-12);
    CHECK(difference(logits(model, state, {permuted(inputs[0], order), inputs[1]}), there) > 1e-4);
    const Model plain = model_of(name, {{"fused", "false"}});
    CHECK(difference(logits(plain, state, inputs), there) < 1e-10);
  }
}

TEST_CASE("normals: a rotation turns normals with the points, a shift leaves them") {
  // Values that follow the motion, of a network of its own.
  Model model;
  model.name = "angles";
  model.inputs = {{"points", Rows::point, SlotKind::coordinates},
                  {"normals", Rows::point, SlotKind::direction}};
  model.symmetries = {SymmetryKind::rotation, SymmetryKind::reflection, SymmetryKind::translation,
                      SymmetryKind::permutation};
  model.forward = [](const Tensors&, const Tensors&, const Tensors& inputs, const ForwardOptions&) {
    const Tensor centred = inputs[0] - mean(inputs[0], 1, true);
    ForwardResult out;
    out.outputs = {sum(centred * inputs[1], 2)};  // [B, N]
    out.activations = {{"angle", out.outputs[0], Rows::point},
                       {"normal", inputs[1], Rows::point, 1}};
    out.outputs[0] = sum(out.outputs[0], 1, true);
    return out;
  };
  const SymmetryReport report =
      measure_symmetry(model, {}, {random_clouds(2, 12, 3), random_normals(2, 12, 4)}, {3, 2});
  REQUIRE(report.layers.size() == 4 * 2 * 3);
  for (const SymmetryError& e : report.layers) {
    CAPTURE(e.layer);
    CAPTURE(name_of(e.kind));
    CHECK(e.largest() < (e.dtype == DType::f64 ? 1e-9 : 1e-4));
  }
}

TEST_CASE("normals: inputs that are none are refused") {
  const Model model = model_of("pointnet");
  const ModelState state = init_model(model, 0, DType::f64);
  const Tensor points = random_clouds(2, 12, 3);
  CHECK_THROWS_AS(logits(model, state, {points}), Error);
  CHECK_THROWS_AS(logits(model, state, {points, random_clouds(2, 11, 3)}), Error);
}

}  // namespace basin
