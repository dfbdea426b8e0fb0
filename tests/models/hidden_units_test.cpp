// The declared hidden units of every network: its function stays under their permutations, training
// mode and penalty included, and under rotations where they are said to rotate; a permuted copy is
// recovered by alignment to the bit, and the line between the two has no barrier.
#include "basin/nn/hidden_units.h"

#include <doctest/doctest.h>

#include "basin/analysis/alignment.h"
#include "basin/analysis/paths.h"
#include "basin/kernels/linalg.h"
#include "basin/models/dgcnn.h"
#include "basin/models/egnn.h"
#include "basin/models/egnn_molecules.h"
#include "basin/models/mlp.h"
#include "basin/tests/core/errors.h"
#include "basin/tests/models/gine_graphs.h"
#include "basin/tests/models/molecules_fixture.h"

namespace basin {
namespace {

using testing::difference;
using testing::generic_state;
using testing::random_tensor;

struct Subject {
  std::string name;
  Model model;
  Tensors inputs;
};

Model named(const std::string& name, OptionValues options, const std::string& preset = "") {
  return make_model({.name = name, .preset = preset, .outputs = 3, .options = std::move(options)});
}

std::vector<Subject> subjects() {
  const Tensor clouds = testing::random_clouds(3, 12, 5);
  const Tensors molecules = testing::batch_of(testing::some_molecules({3, 5, 1}, 4));
  std::vector<Subject> out;
  const std::string widths = "6,8,12,7,5";
  out.push_back({"pointnet", named("pointnet", {{"widths", widths}}), {clouds}});
  out.push_back(
      {"pointnet original", named("pointnet", {{"widths", widths}}, "original"), {clouds}});
  out.push_back(
      {"pointnet without transforms",
       named("pointnet",
             {{"widths", widths}, {"input_transform", "false"}, {"feature_transform", "false"}}),
       {clouds}});
  out.push_back({"dgcnn", named("dgcnn", {{"k", "4"}, {"widths", "5,6,7,8,9,7,5"}}), {clouds}});
  out.push_back({"egnn", named("egnn", {{"k", "4"}, {"hidden", "6"}, {"layers", "2"}}), {clouds}});
  out.push_back(
      {"egnn with an embedding",
       named(
           "egnn",
           {{"k", "4"}, {"hidden", "6"}, {"layers", "2"}, {"moments", "both"}, {"embedding", "9"}}),
       {clouds}});
  out.push_back({"egnn with attention",
                 named("egnn", {{"k", "4"},
                                {"hidden", "6"},
                                {"layers", "2"},
                                {"attention", "true"},
                                {"last_coordinates", "false"}}),
                 {clouds}});
  out.push_back({"egnn-qm9", named("egnn-qm9", {{"hidden", "6"}, {"layers", "2"}}), molecules});
  const Tensor points = random_tensor({9, 2}, 8);
  out.push_back({"mlp", named("mlp", {{"width", "7"}}), {points}});
  out.push_back({"mlp modified", named("mlp", {{"width", "7"}}, "modified"), {points}});
  GineConfig graphs;
  graphs.atoms = {5, 3};
  graphs.bonds = {4, 2};
  graphs.outputs = 3;
  graphs.hidden = 6;
  graphs.layers = 2;
  for (const GineLayer layer : {GineLayer::relu, GineLayer::gelu, GineLayer::batch_norm}) {
    graphs.layer = layer;
    out.push_back({"gine", make_gine(graphs), testing::random_graphs(4, graphs, 3)});
  }
  graphs.readout = GineReadout::levels;
  out.push_back({"gine levels", make_gine(graphs), testing::random_graphs(4, graphs, 3)});
  graphs.readout = GineReadout::sum;
  graphs.head_layers = 2;
  graphs.walk_steps = 3;
  graphs.walk_channels = 2;
  out.push_back({"gine with walks", make_gine(graphs), testing::random_graphs(4, graphs, 3)});
  return out;
}

// Outputs with running and with batch statistics, and the penalty.
Tensors values(const Subject& s, const ModelState& state) {
  Tensors out;
  for (const bool batch : {false, true}) {
    ForwardOptions options;
    options.batch_statistics = batch;
    const ForwardResult r =
        s.model.forward(state.params.values(), state.buffers.values(), s.inputs, options);
    out.insert(out.end(), r.outputs.begin(), r.outputs.end());
    if (r.penalty.defined()) out.push_back(r.penalty);
  }
  return out;
}

Tensor random_rotation(int64_t n, uint64_t seed) {
  return QrBasis::cpu(random_tensor({n, n}, seed));
}

TEST_CASE("hidden units: permutations leave every network's function as it is") {
  for (const Subject& s : subjects()) {
    CAPTURE(s.name);
    const ModelState state = generic_state(s.model, 3);
    REQUIRE(!s.model.hidden.empty());
    const UnitOrders orders = random_orders(s.model.hidden, 7);
    const ModelState moved = reordered(state, s.model.hidden, orders);
    CHECK(difference(state.params.values(), moved.params.values()) > 0.01);
    CHECK(difference(values(s, moved), values(s, state)) < 1e-12);
    for (size_t g = 0; g < orders.size(); ++g) {  // one by one, so that no two faults cancel
      CAPTURE(s.model.hidden[g].name);
      const ModelState one = reordered(state, {s.model.hidden[g]}, {orders[g]});
      CHECK(difference(values(s, one), values(s, state)) < 1e-12);
    }
  }
}

// A weight, bias or gain that no group names would have to be one of inputs and outputs alone.
TEST_CASE("hidden units: every parameter but the outputs' own belongs to a group") {
  for (const Subject& s : subjects()) {
    CAPTURE(s.name);
    std::vector<bool> seen(s.model.layout.params().size(), false);
    for (const HiddenUnits& units : s.model.hidden) {
      for (const UnitAxis& axis : units.axes) {
        if (!axis.buffer) seen[static_cast<size_t>(axis.tensor)] = true;
      }
    }
    for (size_t i = 0; i < seen.size(); ++i) {
      const ParamSpec& p = s.model.layout.params()[i];
      // Scalars, the statistics of raw inputs, and the 3 x 3 transform of the points.
      const bool outside = p.shape == Shape{s.model.outputs} || p.shape == Shape{1} ||
                           p.name.find("rwse.raw_norm") != p.name.npos ||
                           p.name == "feat.stn.fc3.bias";
      CAPTURE(p.name);
      CHECK((seen[i] || outside));
    }
  }
}

TEST_CASE("hidden units: a permuted copy is recovered to the bit and without a barrier") {
  for (const Subject& s : subjects()) {
    CAPTURE(s.name);
    const ModelState state = generic_state(s.model, 3);
    const ModelState copy = reordered(state, s.model.hidden, random_orders(s.model.hidden, 11));
    const Alignment a = align_units(state, copy, s.model.hidden, {.seed = 1});
    CHECK(a.settled);
    CHECK(a.distance == 0);
    CHECK(a.distance_before > 1);
    CHECK(a.moved > 0);
    const ModelState back = reordered(copy, s.model.hidden, a.orders);
    CHECK(difference(back.params.values(), state.params.values()) == 0);
    CHECK(difference(back.buffers.values(), state.buffers.values()) == 0);
    const Tensor ends = sum(square(values(s, state)[0]));
    for (const double t : {0.25, 0.5, 0.75}) {
      const ModelState middle{between(state.params, back.params, t),
                              between(state.buffers, back.buffers, t)};
      const double rise = sum(square(values(s, middle)[0])).item() - ends.item();
      CHECK(std::abs(rise) < 1e-6);
    }
  }
}

TEST_CASE("hidden units: a copy that was also disturbed comes back closer") {
  for (const Subject& s : subjects()) {
    CAPTURE(s.name);
    const ModelState state = generic_state(s.model, 3);
    ModelState near = state.clone();
    for (size_t i = 0; i < near.params.size(); ++i) {
      Tensor& w = near.params[i].value;
      w = w + random_tensor(w.shape(), 100 + i) * 0.01;
    }
    const double noise =
        align_units(state, near, s.model.hidden).distance_before;  // not permuted yet
    const ModelState copy = reordered(near, s.model.hidden, random_orders(s.model.hidden, 5));
    const Alignment a = align_units(state, copy, s.model.hidden);
    CHECK(a.distance == doctest::Approx(noise));
  }
}

TEST_CASE("hidden units: what rotates may be rotated, to 1e-10") {
  int rotating = 0;
  for (const Subject& s : subjects()) {
    CAPTURE(s.name);
    const ModelState state = generic_state(s.model, 3);
    for (const HiddenUnits& units : s.model.hidden) {
      CAPTURE(units.name);
      const Tensor q = random_rotation(units.count, 9);
      if (!units.rotates) {
        CHECK(test::contains(test::error_of([&] { rotated(state, units, q); }).second, units.name));
        continue;
      }
      ++rotating;
      const ModelState turned = rotated(state, units, q);
      CHECK(difference(turned.params.values(), state.params.values()) > 0.01);
      CHECK(difference(values(s, turned), values(s, state)) < 1e-10);
    }
  }
  CHECK(rotating == 2);
}

TEST_CASE("hidden units: refusals") {
  const Subject s = std::move(subjects().front());
  const ModelState state = generic_state(s.model, 3);
  UnitOrders orders = random_orders(s.model.hidden, 1);
  orders[0][0] = orders[0][1];
  CHECK(test::contains(test::error_of([&] { reordered(state, s.model.hidden, orders); }).second,
                       "expects a permutation of 6 units"));
  orders.pop_back();
  CHECK(test::contains(test::error_of([&] { reordered(state, s.model.hidden, orders); }).second,
                       "one order per group"));
  HiddenUnits wrong{"wrong", 5};
  wrong.also({.tensor = 0, .axis = 1});
  CHECK(
      test::contains(test::error_of([&] { check_hidden_units({wrong}, state); }).second,
                     "'wrong': 5 units from 0 on do not lie on axis 1 of 'feat.stn.conv1.weight'"));
  CHECK(
      test::contains(test::error_of([&] { align_units(state, state, {}); }).second, "given none"));
  ModelState less = state.clone();
  less.params = ParamList();
  CHECK(test::contains(test::error_of([&] { align_units(state, less, s.model.hidden); }).second,
                       "the same parameters"));
}

}  // namespace
}  // namespace basin
