// Measured symmetry of a network of nodes and edges: two molecules in one batch, their nodes
// interleaved, so that every kind of slot takes part.
#include <doctest/doctest.h>

#include "basin/models/symmetry.h"
#include "basin/tests/models/pointnet_fixture.h"

namespace basin {
namespace {

using testing::random_tensor;

// For an edge from s to r: l = |x_s - x_r|^2; h_r = a_r sum l a_s, u_r = sum (x_s - x_r) l,
// outputs: the sum of h over the nodes of a molecule.
Model node_network() {
  Model model;
  model.name = "nodes";
  model.outputs = 2;
  model.output_name = "energy";
  model.inputs = {
      {"x", Rows::node, SlotKind::coordinates},  {"a", Rows::node, SlotKind::feature},
      {"molecule", Rows::node, SlotKind::owner}, {"sender", Rows::edge, SlotKind::index},
      {"receiver", Rows::edge, SlotKind::index}, {"charge", Rows::example, SlotKind::feature}};
  model.symmetries.assign(std::begin(kSymmetryKinds), std::end(kSymmetryKinds));
  model.forward = [](const Tensors&, const Tensors&, const Tensors& in,
                     const ForwardOptions& options) {
    const Tensor &x = in[0], &a = in[1], &molecule = in[2], &sender = in[3], &receiver = in[4];
    const Tensor between = gather(x, sender) - gather(x, receiver);
    const Tensor length = sum(square(between), 1, true);
    const Tensor h = a * scatter_sum(length * gather(a, sender), receiver, x.size(0));
    const Tensor u = scatter_sum(between * length, receiver, x.size(0));
    ForwardResult result;
    if (options.keep_activations) {
      result.activations = {{"length", length, Rows::edge},
                            {"h", h, Rows::node},
                            {"u", u, Rows::node, 1},
                            {"moved", x + u, Rows::node, 1, true}};
    }
    result.outputs = {scatter_sum(h, molecule, 2) * in[5]};
    return result;
  };
  return model;
}

Tensors two_molecules() {
  const std::vector<int32_t> molecule{0, 1, 0, 1, 1, 0, 1};
  std::vector<int32_t> sender, receiver;
  for (int32_t s = 0; s < 7; ++s) {
    for (int32_t r = 0; r < 7; ++r) {
      if (s == r || molecule[static_cast<size_t>(s)] != molecule[static_cast<size_t>(r)]) continue;
      if ((s + 2 * r) % 3 == 0) continue;  // not every pair: the numbers matter
      sender.push_back(s);
      receiver.push_back(r);
    }
  }
  const auto edges = static_cast<int64_t>(sender.size());
  REQUIRE(edges > 5);
  return {random_tensor({7, 3}, 1),        random_tensor({7, 2}, 2),
          Tensor::from(molecule, {7}),     Tensor::from(sender, {edges}),
          Tensor::from(receiver, {edges}), random_tensor({2, 1}, 3, 0.5, 1)};
}

double error(const SymmetryReport& report, SymmetryKind kind, const char* layer) {
  return report.at(kind, DType::f64, layer).largest();
}

TEST_CASE("symmetry: nodes, owners, indices and edges move together") {
  const SymmetryReport report = measure_symmetry(node_network(), {}, two_molecules(), {5, 3});
  REQUIRE(report.layers.size() == 4 * 2 * 5);
  CHECK(report.graph.empty());
  for (const SymmetryError& e : report.layers) {
    CAPTURE(name_of(e.kind));
    CAPTURE(e.layer);
    CHECK(e.declared);
    CHECK(e.largest() < (e.dtype == DType::f64 ? 1e-12 : 1e-5));
    const bool turns = e.kind == SymmetryKind::rotation || e.kind == SymmetryKind::reflection;
    CHECK(e.equivariant == ((turns && (e.layer == "u" || e.layer == "moved")) ||
                            (e.kind == SymmetryKind::translation && e.layer == "moved")));
  }
  CHECK(error(report, SymmetryKind::permutation, "energy") > 0);  // sums in another order
}

TEST_CASE("symmetry: a node network that reads row numbers breaks permutations only") {
  Model model = node_network();
  const auto sound = model.forward;
  model.forward = [sound](const Tensors& params, const Tensors& buffers, const Tensors& inputs,
                          const ForwardOptions& options) {
    Tensors numbered = inputs;
    const Tensor rows =
        Tensor::from(std::vector<double>{1, 2, 3, 4, 5, 6, 7}, {7, 1}).to(inputs[1].dtype());
    numbered[1] = inputs[1] * rows;
    return sound(params, buffers, numbered, options);
  };
  const SymmetryReport report = measure_symmetry(model, {}, two_molecules(), {5, 3});
  CHECK(error(report, SymmetryKind::permutation, "energy") > 1e-3);
  CHECK(error(report, SymmetryKind::permutation, "h") > 1e-3);
  CHECK(error(report, SymmetryKind::permutation, "moved") < 1e-12);
  CHECK(error(report, SymmetryKind::rotation, "energy") < 1e-12);
}

TEST_CASE("symmetry: nodes stay with their owner; without owners all change places") {
  Tensors inputs = two_molecules();
  Model model = node_network();
  const auto sound = model.forward;
  Tensor owners;
  model.forward = [sound, &owners](const Tensors& params, const Tensors& buffers, const Tensors& in,
                                   const ForwardOptions& options) {
    owners = in[2];
    return sound(params, buffers, in, options);
  };
  measure_symmetry(model, {}, inputs, {1, 3});
  CHECK(owners.to_vector<int32_t>() == inputs[2].to_vector<int32_t>());
  model.inputs[2].kind = SlotKind::feature;
  const SymmetryReport report = measure_symmetry(model, {}, inputs, {1, 3});
  CHECK(owners.to_vector<int32_t>() != inputs[2].to_vector<int32_t>());
  CHECK(error(report, SymmetryKind::permutation, "energy") < 1e-12);
}

TEST_CASE("symmetry: kinds that move nothing are left out; refusals of slots") {
  Model model = node_network();
  const Tensors inputs = two_molecules();
  model.inputs[0].kind = SlotKind::feature;
  const SymmetryReport report = measure_symmetry(model, {}, inputs, {1, 3});
  for (const SymmetryError& e : report.layers) CHECK(e.kind == SymmetryKind::permutation);
  model.inputs[0] = {"x", Rows::example, SlotKind::coordinates};
  CHECK_NOTHROW(measure_symmetry(model, {}, inputs, {1, 3}));
  Tensors bad = inputs;
  bad[1] = random_tensor({6, 2}, 2);
  CHECK_THROWS_WITH(measure_symmetry(node_network(), {}, bad),
                    "measure_symmetry: 'a' has other rows than the inputs before it: [6, 2]");
  bad = inputs;
  bad[3] = Tensor::from(std::vector<int32_t>{0, 7}, {2});
  bad[4] = Tensor::from(std::vector<int32_t>{1, 2}, {2});
  model = node_network();
  model.forward = [](const Tensors&, const Tensors&, const Tensors& in, const ForwardOptions&) {
    ForwardResult result;
    result.outputs = {in[5]};
    return result;
  };
  CHECK_THROWS_WITH(measure_symmetry(model, {}, bad),
                    "measure_symmetry: an index slot holds 7, the batch has 7 rows");
  model.forward = [](const Tensors&, const Tensors&, const Tensors& in,
                     const ForwardOptions& options) {
    ForwardResult result;
    if (options.keep_activations) result.activations = {{"half", in[5], Rows::node}};
    result.outputs = {in[5]};
    return result;
  };
  CHECK_THROWS_WITH(measure_symmetry(model, {}, inputs),
                    "measure_symmetry: the layer 'half' is said to have a row per node of 7, it is "
                    "[2, 1]");
}

}  // namespace
}  // namespace basin
