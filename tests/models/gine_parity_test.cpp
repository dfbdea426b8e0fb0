// GINE beside PyTorch Geometric: small networks of the three variants whose state_dicts, outputs,
// losses, gradients and optimizer steps come from tests/fixtures/parity/make_gine.py.
#include <doctest/doctest.h>

#include "basin/datasets/npz.h"
#include "basin/optim/registry.h"
#include "basin/tests/models/gine_graphs.h"

namespace basin {
namespace {

fs::path parity_file(const std::string& name) {
  return fs::path(BASIN_SOURCE_DIR) / "tests" / "fixtures" / "parity" / name;
}

struct Variant {
  std::string name, preset;
  OptionValues options;
};

const std::vector<Variant> kVariants{
    {"gine_lrgb", "lrgb", {{"layers", "3"}}},
    {"gine_tuned",
     "tuned",
     {{"layers", "3"}, {"walk_steps", "4"}, {"walk_channels", "2"}, {"dropout", "0"}}},
    {"gine_zinc", "zinc", {{"layers", "3"}}}};

struct Fixture {
  Fixture(const Variant& variant, DType dtype, bool fused)
      : numbers(parity_file(variant.name + ".npz")), regression(variant.preset == "zinc") {
    ModelConfig config{"gine", variant.preset, 4, variant.options};
    config.options.insert({{"hidden", "6"}, {"atoms", "5,3"}, {"bonds", "3,2"}});
    config.options["fused"] = fused ? "true" : "false";
    model = make_model(config);
    state = init_model(model, 1, dtype);
    load_state(parity_file(variant.name + ".safetensors"), state);
    for (const Slot& slot : model.inputs) {
      const Tensor x = numbers.read(slot.name);
      inputs.push_back(is_float(x.dtype()) ? x.to(dtype) : x);
    }
  }

  Tensor outputs(const ForwardOptions& options) const {
    return model.forward(state.params.values(), state.buffers.values(), inputs, options).outputs[0];
  }
  ValueGrad loss() const {
    const Tensor target = numbers.read("target");
    return value_and_grad([&](const Tensors& params) {
      const Tensor y =
          model.forward(params, state.buffers.values(), inputs, testing::batch_mode()).outputs[0];
      return Tensors{regression ? l1_loss(y, target) : bce_with_logits(y, target)};
    })(state.params.values());
  }

  NpzFile numbers;
  bool regression;
  Model model;
  ModelState state;
  Tensors inputs;
};

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

TEST_CASE("gine parity: outputs equal PyTorch Geometric's, running and batch statistics") {
  for (const Variant& variant : kVariants) {
    for (const DType dtype : {DType::f64, DType::f32}) {
      for (const bool fused : {true, false}) {
        const Fixture f(variant, dtype, fused);
        const double eval = gap(f.outputs({}), f.numbers.read("outputs_eval"));
        const double train = gap(f.outputs(testing::batch_mode()), f.numbers.read("outputs_train"));
        MESSAGE(variant.name, " ", name_of(dtype), fused ? " fused" : " plain", ": evaluation ",
                eval, ", batch statistics ", train);
        CHECK(eval < (dtype == DType::f64 ? 1e-10 : 1e-5));
        CHECK(train < (dtype == DType::f64 ? 1e-10 : 1e-5));
      }
    }
  }
}

TEST_CASE("gine parity: loss, gradients, one step of AdamW and one of Muon") {
  for (const Variant& variant : kVariants) {
    CAPTURE(variant.name);
    Fixture f(variant, DType::f64, true);
    const ValueGrad result = f.loss();
    CHECK(std::abs(result.value.item() - f.numbers.read("loss").item()) < 1e-10);
    // Over the largest of all: a bias in front of a batch norm has no gradient but rounding.
    double worst = 0, size = 0;
    for (size_t i = 0; i < result.grads.size(); ++i) {
      const Tensor wanted = f.numbers.read("grad." + f.state.params[i].name);
      REQUIRE(wanted.numel() == result.grads[i].numel());
      for (int64_t k = 0; k < wanted.numel(); ++k) {
        worst = std::max(worst, std::abs(wanted.at(k) - result.grads[i].at(k)));
        size = std::max(size, std::abs(wanted.at(k)));
      }
    }
    MESSAGE(variant.name, ": gradients ", worst / size);
    CHECK(worst < 1e-10 * size);
    const auto stepped = [&](const std::string& name, double lr, const OptionValues& options) {
      ParamList params = f.state.params.clone();
      OptimizerConfig config{.name = name};
      config.lr = lr;
      config.weight_decay = 1e-2;
      config.options = options;
      make_optimizer(config, params)->step(params, result.grads, {0, result.value.item(), 1.0});
      double gap_of_all = 0;
      int compared = 0;
      for (const Param& p : params) {
        if (!f.numbers.contains(name + "." + p.name)) continue;
        gap_of_all = std::max(gap_of_all, gap(p.value, f.numbers.read(name + "." + p.name)));
        ++compared;
      }
      MESSAGE(variant.name, " after one ", name, " step: ", gap_of_all);
      CHECK(gap_of_all < 1e-6);
      return compared;
    };
    CHECK(stepped("adamw", 1e-2, {}) == static_cast<int>(f.state.params.size()));
    CHECK(stepped("muon", 2e-2, {{"ns_norm", "max"}}) == (variant.preset == "tuned" ? 8 : 6));
  }
}

TEST_CASE("gine parity: the message equals GINEConv's") {
  const NpzFile numbers(parity_file("gine_conv.npz"));
  const Tensor h = numbers.read("h").to(DType::f64), e = numbers.read("e").to(DType::f64);
  std::vector<int32_t> own;  // every edge is a kind of its own
  for (int32_t i = 0; i < e.size(0); ++i) own.push_back(i);
  const EdgeLists edges = edge_lists(numbers.read("sender"), numbers.read("receiver"),
                                     Tensor::from(own, {e.size(0)}), h.size(0));
  CHECK(gap(gine_message(h, e, edges), numbers.read("out")) < 1e-14);
}

}  // namespace
}  // namespace basin
