// EGNN's dial of equivariance: at 0 the network without a frame, in between an error that grows,
// the invariant control beside it, the definition by scalar loops, permuted units, the Hessian.
#include "basin/models/egnn.h"

#include <doctest/doctest.h>

#include "basin/models/symmetry.h"
#include "basin/tests/models/egnn_loops.h"

namespace basin {
namespace {

using testing::difference;
using testing::generic_state;
using testing::random_clouds;
using testing::tiny_egnn;

EgnnConfig relaxed_egnn(EgnnFrame frame, double relax) {
  EgnnConfig config = tiny_egnn();
  config.frame = frame;
  config.relax = relax;
  return config;
}

// The same values without the columns of a frame: the last three of the maps that have them.
ModelState without_frame(const ModelState& framed, const Model& plain) {
  ModelState out = init_model(plain, 0, framed.params[0].value.dtype());
  for (Param& p : out.params) {
    const Tensor& from = framed.params.at(p.name).value;
    const bool wider = from.shape() != p.value.shape();
    CHECK(wider == (p.name == "embedding_in.weight" || p.name.ends_with("edge_mlp.0.weight")));
    if (wider) REQUIRE(from.size(1) == p.value.size(1) + 3);
    p.value.copy_from(wider ? slice(from, 1, 0, p.value.size(1)) : from);
  }
  return out;
}

TEST_CASE("egnn: relax 0 is the network without a frame, bit for bit, with gradients") {
  const Tensor labels = Tensor::from(std::vector<int64_t>{0, 1}, {2});
  for (const EgnnFrame frame : {EgnnFrame::fixed, EgnnFrame::radial}) {
    for (const bool fused : {true, false}) {
      EgnnConfig config = relaxed_egnn(frame, 0);
      config.radius = config.fused = fused;
      const Model framed = make_egnn(config);
      config.frame = EgnnFrame::none;
      const Model plain = make_egnn(config);
      CHECK(framed.layout.total_elements() == plain.layout.total_elements() + 3 * 3 * (1 + 2));
      const ModelState a = generic_state(framed, 6).to(DType::f32), b = without_frame(a, plain);
      const Tensor points = random_clouds(2, 9, 4).to(DType::f32);
      const auto of = [&](const Model& model, const ModelState& state) {
        return value_and_grad(classification_loss(
            model, {}, points, labels, ForwardOptions::training(1, 2), 0.2))(state.params.values());
      };
      const ValueGrad x = of(framed, a), y = of(plain, b);
      CHECK(difference(x.value, y.value) == 0);
      CHECK(difference(x.aux[0], y.aux[0]) == 0);
      for (size_t i = 0; i < x.grads.size(); ++i) {
        const Tensor &wide = x.grads[i], &narrow = y.grads[i];
        if (wide.shape() == narrow.shape()) {
          CHECK(difference(wide, narrow) == 0);
          continue;
        }
        const int64_t columns = narrow.size(1);
        CHECK(difference(slice(wide, 1, 0, columns), narrow) == 0);
        const Tensor rest = slice(wide, 1, columns, columns + 3);
        CHECK(difference(rest, Tensor::zeros(rest.shape(), DType::f32)) == 0);
      }
    }
  }
}

TEST_CASE("egnn: parameters and layout are the same along the dial") {
  const auto layout = [](const char* frame, const char* relax) {
    return make_model({.name = "egnn", .options = {{"frame", frame}, {"relax", relax}}}).layout;
  };
  const Layout start = layout("fixed", "0");
  CHECK(start.total_elements() == 127464 + 3 * 64 * (1 + 4));
  const std::pair<const char*, const char*> others[] = {
      {"fixed", "0.3"}, {"fixed", "1"}, {"radial", "0"}, {"radial", "1"}};
  for (const auto& [frame, relax] : others) {
    const Layout other = layout(frame, relax);
    const ModelState a = start.init(3, DType::f32), b = other.init(3, DType::f32);
    REQUIRE(a.params.size() == b.params.size());
    for (size_t i = 0; i < a.params.size(); ++i) {
      CHECK(a.params[i].name == b.params[i].name);
      CHECK(a.params[i].role == b.params[i].role);
      CHECK(difference(a.params[i].value, b.params[i].value) == 0);
    }
  }
  CHECK_THROWS_WITH_AS(layout("none", "0.5"),
                       doctest::Contains("give the option frame, fixed or radial"), Error);
  CHECK_THROWS_AS(layout("fixed", "1.5"), Error);
}

double symmetry_error(const Model& model, SymmetryKind kind) {
  const SymmetryReport report =
      measure_symmetry(model, generic_state(model, 3), {random_clouds(3, 40, 8)}, {6, 1});
  CHECK(report.at(kind, DType::f64, "logits").declared == model.declares(kind));
  return report.at(kind, DType::f64, "logits").mean();
}

TEST_CASE("egnn: the error of equivariance grows with the dial, that of the control stays 0") {
  const auto relaxed = [](EgnnFrame frame, double relax) {
    EgnnConfig config = relaxed_egnn(frame, relax);
    config.hidden = 8;
    config.layers = 3;
    config.k = 5;
    return make_egnn(config);
  };
  const SymmetryKind moving[] = {SymmetryKind::rotation, SymmetryKind::reflection,
                                 SymmetryKind::translation};
  for (const SymmetryKind kind : moving) {
    CAPTURE(name_of(kind));
    CHECK(symmetry_error(relaxed(EgnnFrame::fixed, 0), kind) < 1e-9);
    double before = 1e-6;
    for (const double relax : {1e-3, 1e-2, 0.1, 0.3, 1.0}) {
      const double error = symmetry_error(relaxed(EgnnFrame::fixed, relax), kind);
      CAPTURE(relax);
      CHECK(error > 1.5 * before);
      before = error;
    }
    CHECK(before > 0.05);
    CHECK(symmetry_error(relaxed(EgnnFrame::radial, 1), kind) < 1e-9);
  }
  CHECK(symmetry_error(relaxed(EgnnFrame::fixed, 1), SymmetryKind::permutation) < 1e-9);
  CHECK(symmetry_error(relaxed(EgnnFrame::radial, 1), SymmetryKind::permutation) < 1e-9);
  const Tensor points = random_clouds(2, 30, 5);
  const Model control = relaxed(EgnnFrame::radial, 1), exact = relaxed(EgnnFrame::radial, 0);
  const Tensors params = generic_state(control, 3).params.values();
  CHECK(difference(control.forward(params, {}, {points}, {}).outputs[0],
                   exact.forward(params, {}, {points}, {}).outputs[0]) > 1e-2);
}

TEST_CASE("egnn: a relaxed network is the definition, evaluated in scalar loops") {
  for (const double relax : {0.4, 1.0}) {
    testing::check_loops(relaxed_egnn(EgnnFrame::fixed, relax), 2, relax);
  }
}

TEST_CASE("egnn: permuted hidden units of a relaxed network are the same function") {
  const Model model = make_egnn(relaxed_egnn(EgnnFrame::fixed, 0.7));
  const ModelState state = generic_state(model, 2);
  const ModelState other = reordered(state, model.hidden, random_orders(model.hidden, 4));
  const Tensor points = random_clouds(2, 9, 4);
  const auto logits = [&](const ModelState& s) {
    return model.forward(s.params.values(), {}, {points}, {}).outputs[0];
  };
  CHECK(difference(state.params[0].value, other.params[0].value) > 1e-3);
  CHECK(difference(logits(state), logits(other)) < 1e-12);
}

TEST_CASE("egnn hessian: a relaxed network") {
  EgnnConfig config = relaxed_egnn(EgnnFrame::fixed, 0.6);
  config.last_coordinates = false;
  testing::check_hessian(make_egnn(config), ForwardOptions::evaluation(), 3);
}

TEST_CASE("egnn hessian: the radial control") {
  EgnnConfig config = relaxed_egnn(EgnnFrame::radial, 1);
  config.last_coordinates = false;
  testing::check_hessian(make_egnn(config), ForwardOptions::evaluation(), 3);
}

}  // namespace
}  // namespace basin
