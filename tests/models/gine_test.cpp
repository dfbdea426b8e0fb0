// GINE: parameter counts of the published variants, symmetry, batches, the fused message against
// plain ops at all orders, roles, and what is refused.
#include <doctest/doctest.h>

#include "basin/models/symmetry.h"
#include "basin/tests/models/dense_hessian.h"
#include "basin/tests/models/gine_graphs.h"

namespace basin {
namespace {

using testing::difference;
using testing::generic_state;
using testing::random_graphs;

// One of each kind of layer and of read-out.
std::vector<GineConfig> variants() {
  GineConfig relu;
  relu.outputs = 3;
  relu.atoms = {4, 3};
  relu.bonds = {3, 2};
  relu.hidden = 5;
  relu.layers = 2;
  GineConfig gelu = relu, norm = relu, sum = relu;
  gelu.layer = GineLayer::gelu;
  gelu.head_layers = 1;
  gelu.walk_steps = 3;
  gelu.walk_channels = 2;
  norm.layer = GineLayer::batch_norm;
  norm.readout = GineReadout::levels;
  sum.readout = GineReadout::sum;
  sum.bonds = {4};
  return {relu, gelu, norm, sum};
}

Tensor outputs_of(const Model& model, const ModelState& state, const Tensors& in,
                  const ForwardOptions& options = {}) {
  return model.forward(state.params.values(), state.buffers.values(), in, options).outputs[0];
}

TEST_CASE("gine: the presets have the published numbers of parameters") {
  const auto count = [](const char* preset, int64_t outputs, const OptionValues& options = {}) {
    return make_model({"gine", preset, outputs, options}).layout.total_elements();
  };
  CHECK(count("lrgb", 10) == 475706);
  CHECK(count("tuned", 10) == 490966);
  CHECK(count("zinc", 1) == 103519);
  CHECK(count("zinc_500k", 1) == 510045);
  // Four kinds of chirality, as older feature packages have it.
  CHECK(count("lrgb", 10, {{"atoms", "119,4,12,12,10,6,6,2,2"}}) == 475498);
  CHECK(make_model({.name = "gine"}).preset == "lrgb");
}

TEST_CASE("gine: names and roles") {
  const Model model = make_model({"gine", "tuned", 10});
  const ModelState state = init_model(model, 1, DType::f32);
  const auto role = [&](const char* name) { return state.params.at(name).role; };
  CHECK(role("atom_encoder.atom_embedding_list.8.weight") == Role::embedding);
  CHECK(role("bond_encoder.bond_embedding_list.2.weight") == Role::embedding);
  CHECK(role("rwse.pe_encoder.weight") == Role::first);
  CHECK(role("gnn_layers.7.model.nn.3.weight") == Role::matrix);
  CHECK(role("post_mp.4.weight") == Role::matrix);
  CHECK(role("post_mp.7.weight") == Role::head);
  const ModelState zinc = init_model(make_model({"gine", "zinc", 1}), 1, DType::f32);
  CHECK(zinc.params.at("gnn_layers.0.model.eps").role == Role::gain);
  CHECK(zinc.params.at("gnn_layers.0.model.eps").value.item() == 0);
  CHECK(zinc.params.at("linears_prediction.4.weight").role == Role::head);
  CHECK(zinc.buffers.find("batch_norms.3.running_var") >= 0);
}

TEST_CASE("gine: the order of nodes and of edges makes no difference") {
  for (const GineConfig& config : variants()) {
    const Model model = make_gine(config);
    const ModelState state = generic_state(model, 4);
    const Tensors in = random_graphs(4, config, 7);
    for (const SymmetryError& e : measure_symmetry(model, state, in, {3, 1}).layers) {
      CAPTURE(e.layer);
      CHECK(e.declared);
      CHECK(e.largest() < (e.dtype == DType::f64 ? 1e-12 : 1e-5));
    }
    const std::vector<int64_t> order = random_permutation(in[2].numel(), 5);
    Tensors other = in;
    const auto columns = static_cast<int64_t>(config.bonds.size());
    for (size_t e = 0; e < order.size(); ++e) {
      const auto to = static_cast<int64_t>(e);
      for (const size_t i : {size_t{2}, size_t{3}}) {
        if (e == 0) other[i] = in[i].clone();
        other[i].mutable_data<int32_t>()[to] = in[i].data<int32_t>()[order[e]];
      }
      if (e == 0) other[1] = in[1].clone();
      for (int64_t c = 0; c < columns; ++c) {
        other[1].mutable_data<int64_t>()[to * columns + c] =
            in[1].data<int64_t>()[order[e] * columns + c];
      }
    }
    CHECK(difference(outputs_of(model, state, other), outputs_of(model, state, in)) < 1e-12);
    // The features matter, and so do the edges.
    other = in;
    other[0] = Tensor::zeros(in[0].shape(), DType::i64);
    CHECK(difference(outputs_of(model, state, other), outputs_of(model, state, in)) > 1e-4);
    other = in;
    other[1] = Tensor::zeros(in[1].shape(), DType::i64);
    CHECK(difference(outputs_of(model, state, other), outputs_of(model, state, in)) > 1e-4);
  }
}

TEST_CASE("gine: a graph in a batch gives what it gives alone") {
  for (const GineConfig& config : variants()) {
    const Model model = make_gine(config);
    const ModelState state = generic_state(model, 4);
    const Tensors in = random_graphs(3, config, 9);
    const Tensor all = outputs_of(model, state, in);
    // The last graph alone: what follows the nodes of the others.
    const auto last = static_cast<int64_t>(in[5].at(2));
    const int64_t first = in[0].size(0) - last;
    std::vector<int64_t> atoms, bonds;
    std::vector<int32_t> sender, receiver;
    for (int64_t i = first * in[0].size(1); i < in[0].numel(); ++i) {
      atoms.push_back(in[0].data<int64_t>()[i]);
    }
    for (int64_t e = 0; e < in[2].numel(); ++e) {
      if (in[2].at(e) < static_cast<double>(first)) continue;
      sender.push_back(in[2].data<int32_t>()[e] - static_cast<int32_t>(first));
      receiver.push_back(in[3].data<int32_t>()[e] - static_cast<int32_t>(first));
      for (int64_t c = 0; c < in[1].size(1); ++c) {
        bonds.push_back(in[1].data<int64_t>()[e * in[1].size(1) + c]);
      }
    }
    const auto edges = static_cast<int64_t>(sender.size());
    Tensors one{Tensor::from(atoms, {last, in[0].size(1)}),
                Tensor::from(bonds, {edges, in[1].size(1)}),
                Tensor::from(sender, {edges}),
                Tensor::from(receiver, {edges}),
                Tensor::zeros({last}, DType::i64),
                Tensor::from(std::vector<int64_t>{last}, {1})};
    if (in.size() == 7) one.push_back(slice(in[6], 0, first, first + last));
    CHECK(difference(outputs_of(model, state, one), slice(all, 0, 2, 3)) < 1e-13);
  }
}

TEST_CASE("gine: the fused message equals plain ops in value, gradient and Hessian products") {
  for (GineConfig config : variants()) {
    const Model fused = make_gine(config);
    config.fused = false;
    const Model plain = make_gine(config);
    const ModelState state = generic_state(fused, 4);
    const Tensors in = random_graphs(6, config, 7);
    Tensors direction;
    for (const Param& p : state.params) {
      direction.push_back(testing::random_tensor(p.value.shape(), direction.size() + 90));
    }
    const auto measured = [&](const Model& model) {
      const Fn loss = [&](const Tensors& params) {
        const Tensor y =
            model.forward(params, state.buffers.values(), in, testing::batch_mode()).outputs[0];
        return Tensors{mean(square(y - 0.3))};
      };
      const ValueGrad first = value_and_grad(loss)(state.params.values());
      Tensors out{first.value};
      out.insert(out.end(), first.grads.begin(), first.grads.end());
      for (const Tensor& t : linearize(grad(loss), state.params.values())(direction)) {
        out.push_back(t);
      }
      return out;
    };
    CHECK(difference(measured(fused), measured(plain)) < 1e-12);
  }
}

TEST_CASE("gine: the dense Hessian, column by column") {
  GineConfig config = variants()[1];
  config.hidden = 4;
  config.layers = 1;
  const Model model = make_gine(config);
  const ModelState state = generic_state(model, 8);
  const Tensors in = random_graphs(4, config, 3), params = state.params.values();
  const Fn loss = [&](const Tensors& p) {
    const Tensor y = model.forward(p, state.buffers.values(), in, {}).outputs[0];
    return Tensors{mean(square(y - 0.3))};
  };
  const auto n = static_cast<size_t>(model.layout.total_elements());
  REQUIRE(n < 300);
  const testing::Matrix h = testing::forward_over_reverse(linearize(grad(loss), params), params, n);
  double largest = 0, asymmetry = 0;
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) {
      largest = std::max(largest, std::abs(h[i][j]));
      asymmetry = std::max(asymmetry, std::abs(h[i][j] - h[j][i]));
    }
  }
  CHECK(largest > 0.01);
  CHECK(asymmetry < 1e-12 * largest);
}

TEST_CASE("gine: dropout is a function of seed and step, and only where it is asked for") {
  GineConfig config = variants()[1];
  config.dropout = 0.4;
  const Model model = make_gine(config);
  const ModelState state = generic_state(model, 4);
  const Tensors in = random_graphs(3, config, 9);
  ForwardOptions step;
  step.dropout = true;
  step.step = 3;
  const Tensor a = outputs_of(model, state, in, step);
  CHECK(a.to_vector<double>() == outputs_of(model, state, in, step).to_vector<double>());
  step.step = 4;
  CHECK(difference(a, outputs_of(model, state, in, step)) > 1e-3);
  CHECK(difference(a, outputs_of(model, state, in)) > 1e-3);
}

TEST_CASE("gine: activations, and what is refused") {
  const GineConfig config = variants()[1];
  const Model model = make_gine(config);
  const ModelState state = init_model(model, 1, DType::f64);
  ForwardOptions options;
  options.keep_activations = true;
  Tensors in = random_graphs(3, config, 9);
  const ForwardResult result =
      model.forward(state.params.values(), state.buffers.values(), in, options);
  REQUIRE(result.activations.size() == 3);
  CHECK(result.activations[1].name == "features2");
  CHECK(result.activations[1].rows == Rows::node);
  CHECK(result.activations[2].name == "graph_feature");
  CHECK(result.activations[2].value.shape() == Shape{3, 5});
  const auto refused = [&](const Tensors& bad, const char* words) {
    CHECK_THROWS_WITH_AS(outputs_of(model, state, bad), words, Error);
  };
  refused({in.begin(), in.end() - 1}, "gine: expects 7 inputs, got 6");
  Tensors bad = in;
  bad[0] = in[0].clone();
  bad[0].mutable_data<int64_t>()[3] = 3;
  refused(bad, "multi_hot: column 1 of row 1 is 3, expected 0 to 2");
  bad = in;
  bad[6] = testing::random_tensor({in[0].size(0), 2}, 1);
  CHECK_THROWS_AS(outputs_of(model, state, bad), Error);
  GineConfig wrong = config;
  wrong.walk_channels = 5;
  CHECK_THROWS_WITH_AS(make_gine(wrong), "gine: walk_channels = 5 must be less than hidden = 5",
                       Error);
  CHECK_THROWS_WITH_AS(make_model({"gine", "zinc", 1, {{"head_layers", "1"}}}),
                       "gine: head_layers goes with the read-outs mean and sum", Error);
  CHECK_THROWS_WITH_AS(
      make_model({"gine", "zinc", 1, {{"bonds", "4,x"}}}),
      "model gine: option 'bonds' must be 2 positive integers separated by commas, "
      "of at most 1048576, got '4,x'",
      Error);
}

}  // namespace
}  // namespace basin
