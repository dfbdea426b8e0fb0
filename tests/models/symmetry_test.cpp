// Measured symmetry: the transformations themselves, what each architecture keeps and breaks, and
// that a planted fault shows in its layer and in its kind only.
#include "basin/models/symmetry.h"

#include <doctest/doctest.h>

#include <cmath>

#include "basin/tests/models/pointnet_fixture.h"

namespace basin {
namespace {

using testing::difference;
using testing::generic_state;
using testing::random_clouds;

double determinant(const Matrix3& q) {
  return q[0][0] * (q[1][1] * q[2][2] - q[1][2] * q[2][1]) -
         q[0][1] * (q[1][0] * q[2][2] - q[1][2] * q[2][0]) +
         q[0][2] * (q[1][0] * q[2][1] - q[1][1] * q[2][0]);
}

Model small_egnn() {
  return make_model({.name = "egnn", .options = {{"hidden", "8"}, {"layers", "3"}, {"k", "5"}}});
}

TEST_CASE("symmetry: orthogonal matrices, shifts and permutations") {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    for (const bool reflection : {false, true}) {
      const Matrix3 q = random_orthogonal(seed, reflection);
      CHECK(determinant(q) == doctest::Approx(reflection ? -1 : 1).epsilon(1e-12));
      for (size_t a = 0; a < 3; ++a) {
        for (size_t b = 0; b < 3; ++b) {
          const double product = q[a][0] * q[b][0] + q[a][1] * q[b][1] + q[a][2] * q[b][2];
          CHECK(product == doctest::Approx(a == b ? 1 : 0).epsilon(1e-12));
        }
      }
    }
  }
  const Tensor x = Tensor::from(std::vector<double>{1, 2, 3, 4, 5, 6}, {1, 2, 3});
  const Matrix3 turn{{{0, -1, 0}, {1, 0, 0}, {0, 0, 1}}};
  CHECK(moved(x, turn, {10, 0, -1}).to_vector<double>() == std::vector<double>{8, 1, 2, 5, 4, 5});
  CHECK(permuted(x, {1, 0}).to_vector<double>() == std::vector<double>{4, 5, 6, 1, 2, 3});
  CHECK_THROWS_AS(permuted(x, {0, 1, 2}), Error);
}

TEST_CASE("symmetry: egnn keeps all four in every layer, in f64 to 1e-9") {
  const Model model = small_egnn();
  const ModelState state = generic_state(model, 3);
  const SymmetryReport report = measure_symmetry(model, state, {random_clouds(3, 40, 8)}, {4, 1});
  // 3 layers of features and coordinates, the global feature, the logits.
  REQUIRE(report.layers.size() == 4 * 2 * 8);
  for (const SymmetryError& e : report.layers) {
    CAPTURE(name_of(e.kind));
    CAPTURE(e.layer);
    CHECK(e.errors.size() == 4);
    CHECK(e.declared);
    CHECK(e.equivariant ==
          (e.layer.starts_with("coordinates") && e.kind != SymmetryKind::permutation));
    CHECK(e.largest() < (e.dtype == DType::f64 ? 1e-9 : 1e-4));
    CHECK(e.mean() <= e.largest());
  }
  // f32 shows its own rounding: the numbers are measured, not zero by construction.
  CHECK(report.at(SymmetryKind::rotation, DType::f32, "logits").largest() > 1e-9);
  CHECK(report.at(SymmetryKind::rotation, DType::f64, "coordinates3").largest() > 0);
  REQUIRE(report.graph.size() == 8);
  for (const GraphChange& g : report.graph) CHECK(g.share == 0);  // generic clouds
}

TEST_CASE("symmetry: pointnet and dgcnn keep permutations only") {
  const Model models[] = {
      // 64 points and a 64 x 64 feature transform: not taken for an activation per point.
      make_model({.name = "pointnet", .options = {{"widths", "64,16,32,16,8"}}}),
      make_model({.name = "dgcnn", .options = {{"k", "5"}, {"widths", "8,8,16,16,32,16,8"}}})};
  for (const Model& model : models) {
    CAPTURE(model.name);
    const SymmetryReport report =
        measure_symmetry(model, generic_state(model, 3), {random_clouds(2, 64, 8)}, {3, 7});
    for (const SymmetryError& e : report.layers) {
      CAPTURE(name_of(e.kind));
      CAPTURE(e.layer);
      CHECK(!e.equivariant);
      CHECK(e.declared == (e.kind == SymmetryKind::permutation));
      if (e.declared) CHECK(e.largest() < (e.dtype == DType::f64 ? 1e-9 : 1e-4));
      if (e.layer == "logits" && !e.declared) CHECK(e.largest() > 1e-3);
    }
    CHECK(report.graph.empty() == (model.name == "pointnet"));
  }
}

TEST_CASE("symmetry: a planted fault is detected, in its layer and kind") {
  Model model = small_egnn();
  const ModelState state = generic_state(model, 3);
  const auto sound = model.forward;
  // The last coordinates leak a little into the features that follow them.
  model.forward = [sound](const Tensors& params, const Tensors& buffers, const Tensors& inputs,
                          const ForwardOptions& options) {
    ForwardResult result = sound(params, buffers, inputs, options);
    const Tensor& points = inputs.front();
    const Tensor leak = scale(mean(slice(points, 2, 0, 1), 1), 1e-2);  // [B, 1]
    result.outputs[0] = result.outputs[0] + leak;
    return result;
  };
  const SymmetryReport report = measure_symmetry(model, state, {random_clouds(2, 30, 8)}, {4, 1});
  const auto error = [&](SymmetryKind kind, const char* layer) {
    return report.at(kind, DType::f64, layer).largest();
  };
  CHECK(error(SymmetryKind::rotation, "logits") > 1e-9);
  CHECK(error(SymmetryKind::reflection, "logits") > 1e-9);
  CHECK(error(SymmetryKind::translation, "logits") > 1e-7);
  CHECK(error(SymmetryKind::permutation, "logits") < 1e-12);
  CHECK(error(SymmetryKind::rotation, "features3") < 1e-12);

  // A rotation-invariant model that knows left from right: the triple product of three points.
  model.forward = [sound](const Tensors& params, const Tensors& buffers, const Tensors& inputs,
                          const ForwardOptions& options) {
    ForwardResult result = sound(params, buffers, inputs, options);
    const Tensor& points = inputs.front();
    const auto axis = [&](int64_t p, int64_t c) {
      return slice(slice(points - mean(points, 1, true), 1, p, p + 1), 2, c, c + 1);
    };
    const Tensor triple = axis(0, 0) * (axis(1, 1) * axis(2, 2) - axis(1, 2) * axis(2, 1)) -
                          axis(0, 1) * (axis(1, 0) * axis(2, 2) - axis(1, 2) * axis(2, 0)) +
                          axis(0, 2) * (axis(1, 0) * axis(2, 1) - axis(1, 1) * axis(2, 0));
    result.outputs[0] = result.outputs[0] + scale(reshape(triple, {points.size(0), 1}), 100);
    return result;
  };
  const SymmetryReport handed = measure_symmetry(model, state, {random_clouds(2, 30, 8)}, {4, 1});
  CHECK(handed.at(SymmetryKind::rotation, DType::f64, "logits").largest() < 1e-9);
  CHECK(handed.at(SymmetryKind::translation, DType::f64, "logits").largest() < 1e-9);
  CHECK(handed.at(SymmetryKind::reflection, DType::f64, "logits").largest() > 1e-3);
  CHECK(handed.at(SymmetryKind::permutation, DType::f64, "logits").largest() > 1e-3);

  // What is not a number is an error, never a pass.
  model.forward = [sound](const Tensors& params, const Tensors& buffers, const Tensors& inputs,
                          const ForwardOptions& options) {
    ForwardResult result = sound(params, buffers, inputs, options);
    result.outputs[0] = Tensor::full(result.outputs[0].shape(), result.outputs[0].dtype(), NAN);
    return result;
  };
  const SymmetryReport lost = measure_symmetry(model, state, {random_clouds(1, 30, 8)}, {1, 1});
  CHECK(lost.at(SymmetryKind::rotation, DType::f64, "logits").largest() == INFINITY);
}

TEST_CASE("symmetry: coordinates in another unit of length follow a shift by their unit") {
  Model model = make_model(
      {.name = "egnn", .options = {{"hidden", "8"}, {"layers", "3"}, {"k", "5"}, {"scale", "4"}}});
  const ModelState state = generic_state(model, 3);
  const Tensor points = random_clouds(2, 30, 8);
  for (const SymmetryError& e : measure_symmetry(model, state, {points}, {3, 1}).layers) {
    CAPTURE(name_of(e.kind));
    CAPTURE(e.layer);
    CHECK(e.largest() < (e.dtype == DType::f64 ? 1e-9 : 1e-4));
  }
  const auto sound = model.forward;
  model.forward = [sound](const Tensors& params, const Tensors& buffers, const Tensors& inputs,
                          const ForwardOptions& options) {
    ForwardResult result = sound(params, buffers, inputs, options);
    for (Activation& a : result.activations) a.unit = 1;
    return result;
  };
  const SymmetryReport wrong = measure_symmetry(model, state, {points}, {3, 1});
  CHECK(wrong.at(SymmetryKind::translation, DType::f64, "coordinates1").largest() > 1e-2);
  CHECK(wrong.at(SymmetryKind::rotation, DType::f64, "coordinates1").largest() < 1e-9);
}

TEST_CASE("symmetry: repeatable by the seed; refusals") {
  const Model model = small_egnn();
  const ModelState state = generic_state(model, 3);
  const Tensor points = random_clouds(2, 30, 8);
  const auto errors = [&](uint64_t seed) {
    return measure_symmetry(model, state, {points}, {2, seed})
        .at(SymmetryKind::rotation, DType::f32, "logits")
        .errors;
  };
  CHECK(errors(5) == errors(5));
  CHECK(errors(5) != errors(6));
  CHECK_THROWS_WITH(measure_symmetry(model, state, {points}, {0, 1}),
                    "measure_symmetry: expects at least one transformation, got 0");
  CHECK_THROWS_WITH(measure_symmetry(model, state, {Tensor::zeros({2, 3}, DType::f32)}),
                    "measure_symmetry: expects 'points' as [B, N, ..], got [2, 3]");
  CHECK_THROWS_WITH(
      measure_symmetry(model, state, {Tensor::zeros({2, 9, 2}, DType::f32)}),
      "measure_symmetry: expects the coordinates 'points' as floats [B, N, 3], got f32 [2, 9, 2]");
  CHECK_THROWS_WITH(measure_symmetry(model, state, {points, points}),
                    "measure_symmetry: the model takes 1 inputs (Model::inputs), got 2");
}

}  // namespace
}  // namespace basin
