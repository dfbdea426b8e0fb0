// The three point-cloud networks, two of them also with normals, beside PyTorch: small networks
// whose state_dicts (safetensors),
// logits, running statistics and one optimizer step come from tests/fixtures/parity/make_parity.py.
// Weights are f32 in the files; both sides compute in f64, and Basin once more in f32.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "basin/datasets/npz.h"
#include "basin/models/model.h"
#include "basin/optim/registry.h"

namespace basin {
namespace {

fs::path fixture(const std::string& name) {
  return fs::path(BASIN_SOURCE_DIR) / "tests" / "fixtures" / "parity" / name;
}

struct Network {
  std::string name;  // of the fixture: the model, and "_normal" with normals
  std::map<std::string, std::string> options;
};

const std::vector<Network> kNetworks{
    {"pointnet", {{"widths", "8,10,16,12,9"}, {"dropout", "0"}}},
    {"dgcnn", {{"widths", "6,7,8,9,14,12,10"}, {"dropout", "0"}, {"k", "4"}}},
    {"egnn", {{"hidden", "10"}, {"layers", "3"}, {"dropout", "0"}, {"k", "4"}}},
    {"pointnet_normal", {{"widths", "8,10,16,12,9"}, {"dropout", "0"}, {"features", "normal"}}},
    {"dgcnn_normal",
     {{"widths", "6,7,8,9,14,12,10"}, {"dropout", "0"}, {"k", "4"}, {"features", "normal"}}},
};

// points [B, N, 3 or 6] -> {points} or {points, normals}
Tensors inputs_of(const NpzFile& numbers, DType dtype) {
  const Tensor all = numbers.read("points").to(dtype);
  const int64_t channels = all.size(2);
  Tensors out;
  for (int64_t c = 0; c < channels; c += 3) out.push_back(slice(all, 2, c, c + 3));
  return out;
}

struct Loaded {
  Model model;
  ModelState state;
  NpzFile numbers;
};

Loaded load(const Network& network, DType dtype, bool fused) {
  const std::string model_name = network.name.substr(0, network.name.find('_'));
  ModelConfig config{model_name, "", 5, network.options};
  config.options["fused"] = fused ? "true" : "false";
  Model model = make_model(config);
  ModelState state = init_model(model, 1, dtype);
  load_state(fixture(network.name + ".safetensors"), state);
  return {std::move(model), std::move(state), NpzFile(fixture(network.name + ".npz"))};
}

// max |a - b| / max |b|
double gap(const Tensor& a, const Tensor& b) {
  REQUIRE(a.numel() == b.numel());
  double worst = 0, size = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    const double d = std::abs(a.at(i) - b.at(i));
    worst = std::isnan(d) ? INFINITY : std::max(worst, d);
    size = std::max(size, std::abs(b.at(i)));
  }
  return size > 0 ? worst / size : worst;
}

ForwardOptions batch_mode() {
  ForwardOptions options = ForwardOptions::evaluation();
  options.batch_statistics = true;
  return options;
}

// f64 shows that the formulas agree; f32 what a user sees.
double bound(DType dtype) { return dtype == DType::f64 ? 1e-10 : 1e-5; }

TEST_CASE("parity: logits equal PyTorch's, running and batch statistics") {
  for (const Network& network : kNetworks) {
    for (DType dtype : {DType::f64, DType::f32}) {
      for (bool fused : {true, false}) {
        CAPTURE(network.name);
        CAPTURE(name_of(dtype));
        CAPTURE(fused);
        const Loaded n = load(network, dtype, fused);
        const Tensors inputs = inputs_of(n.numbers, dtype);
        const auto logits = [&](const ForwardOptions& options) {
          return n.model.forward(n.state.params.values(), n.state.buffers.values(), inputs, options)
              .outputs[0];
        };
        const double eval = gap(logits({}), n.numbers.read("logits_eval"));
        const double train = gap(logits(batch_mode()), n.numbers.read("logits_train"));
        MESSAGE(network.name, " ", name_of(dtype), fused ? " fused" : " plain", ": evaluation ",
                eval, ", batch statistics ", train);
        CHECK(eval < bound(dtype));
        CHECK(train < bound(dtype));
      }
    }
  }
}

TEST_CASE("parity: loss, running statistics after one pass, one Adam and one AdamW step") {
  for (const Network& network : kNetworks) {
    for (const std::string optimizer : {"adam", "adamw"}) {
      CAPTURE(network.name);
      CAPTURE(optimizer);
      Loaded n = load(network, DType::f64, true);
      const Tensor labels = n.numbers.read("labels");
      const Fn loss = training_loss(supervised(n.model, n.state.buffers.values(),
                                               inputs_of(n.numbers, DType::f64), batch_mode(),
                                               cross_entropy_loss(labels), labels.numel()));
      const ValueGrad result = value_and_grad(loss)(n.state.params.values());
      CHECK(std::abs(result.value.item() - n.numbers.read("loss_train").at(0)) < 1e-10);
      update_running_stats(n.state.buffers, batch_stats_of(result.aux));
      for (const Param& b : n.state.buffers) {
        if (!n.numbers.contains("after." + b.name)) continue;
        CHECK_MESSAGE(gap(b.value, n.numbers.read("after." + b.name)) < 1e-10, b.name);
      }
      OptimizerConfig config;
      config.name = optimizer;
      config.lr = 1e-2;
      config.weight_decay = 1e-2;
      const auto step = make_optimizer(config, n.state.params);
      step->step(n.state.params, result.grads, {0, result.value.item(), 1.0});
      double worst = 0;
      for (const Param& p : n.state.params) {
        // No logit depends on the last coordinates. PyTorch leaves a parameter without gradient
        // alone, Basin's optimizers take its gradient for zero and decay it.
        if (p.name.starts_with("gcl_2.coord_mlp")) continue;
        worst = std::max(worst, gap(p.value, n.numbers.read(str(optimizer, ".", p.name))));
      }
      MESSAGE(network.name, " after one ", optimizer, " step: ", worst);
      CHECK(worst < 1e-6);
    }
  }
}

TEST_CASE("parity: one Muon step equals torch.optim.Muon's") {
  const NpzFile numbers(fixture("muon.npz"));
  for (int i = 0; i < 3; ++i) {
    CAPTURE(i);
    ParamList params;
    params.add_matrix("hidden.weight", numbers.read(str("weight", i)).clone(), Role::matrix);
    OptimizerConfig config;
    config.name = "muon";
    config.lr = 2e-2;
    config.weight_decay = 1e-2;
    config.options = {{"ns_norm", "max"}};
    make_optimizer(config, params)->step(params, {numbers.read(str("grad", i))}, {0, 1.0, 1.0});
    const double worst = gap(params[0].value, numbers.read(str("after", i)));
    MESSAGE("matrix ", i, ": ", worst);
    CHECK(worst < 1e-6);
  }
}

}  // namespace
}  // namespace basin
