// GotenNet beside the published package: weights (under its own names), features of the atoms and
// the gradient of sum h^2 + sum X^2 with respect to the positions of three small molecules, one of
// them with an atom beyond the cutoff. Made by tests/fixtures/parity/make_gotennet.py in f64.
#include <doctest/doctest.h>

#include "basin/datasets/npz.h"
#include "basin/models/gotennet.h"
#include "basin/tests/models/pointnet_fixture.h"

namespace basin {
namespace {

fs::path fixture(const std::string& name) {
  return fs::path(BASIN_SOURCE_DIR) / "tests" / "fixtures" / "parity" / name;
}

struct Variant {
  std::string name;
  GotenNetConfig config;
};

GotenNetConfig small() {
  GotenNetConfig c;
  c.hidden = 16;
  c.blocks = 2;
  c.radial = 6;
  c.heads = 4;
  c.head_hidden = 3;
  return c;
}

std::vector<Variant> variants() {
  std::vector<Variant> all;
  const auto add = [&](const char* name, const char* htr, bool hat, bool scale_edge = true) {
    Variant v{name, small()};
    v.config.htr = parse_refinement(htr);
    v.config.hat = hat;
    v.config.scale_edge = scale_edge;  // on by the package's default
    all.push_back(std::move(v));
  };
  add("gotennet", "default", false);
  add("gotennet_hat", "default", true);
  add("gotennet_norej_gatedt", "norej_gatedt", false, false);
  add("gotennet_gated_linwa_mlp", "gated_linwa_mlp", false);
  add("gotennet_act_linw_mlpa", "act_linw_mlpa", true);
  return all;
}

// The file's tensors and the head's own: the package's state has no head.
ModelState loaded(const Model& model, const std::string& name, DType dtype) {
  ModelState state = init_model(model, 1, DType::f64);
  SafetensorsFile file = read_safetensors(fixture(name + ".safetensors"));
  for (const Param& p : state.params) {
    if (p.name.starts_with("out_net")) file.tensors.emplace_back(p.name, p.value);
  }
  load_state(file, name, state);
  return state.to(dtype);
}

struct Features {
  Tensor h, x;  // [A, d], [A, K, d]
};

Features features(const Model& model, const ModelState& state, const Tensors& inputs) {
  ForwardOptions options;
  options.keep_activations = true;
  Features f;
  Tensors rows;
  const ForwardResult result = model.forward(state.params.values(), {}, inputs, options);
  for (const Activation& a : result.activations) {
    if (a.name == "h2") f.h = a.value;
    if (a.name.starts_with("x2_")) rows.push_back(permute(a.value, {0, 2, 1}));
  }
  f.x = concat(rows, 1);
  return f;
}

double relative(const Tensor& a, const Tensor& b) {  // max |a - b| / max |b|
  REQUIRE(a.shape() == b.shape());
  double worst = 0, size = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    const double gap = std::abs(a.at(i) - b.at(i));
    worst = std::isnan(gap) ? INFINITY : std::max(worst, gap);
    size = std::max(size, std::abs(b.at(i)));
  }
  return worst / size;
}

void compare(const Variant& v, DType dtype, bool fused) {
  GotenNetConfig config = v.config;
  config.fused = fused;
  const Model model = make_gotennet(config);
  const ModelState state = loaded(model, v.name, dtype);
  const NpzFile numbers(fixture(v.name + ".npz"));
  const Tensor molecule = numbers.read("batch").to(DType::i64);
  std::vector<int64_t> atoms(3, 0);
  for (const int64_t b : molecule.to_vector<int64_t>()) ++atoms[static_cast<size_t>(b)];
  const Tensor positions = numbers.read("pos").to(dtype);
  const auto inputs = [&](const Tensor& x) {
    return Tensors{x, numbers.read("z").to(DType::i64), molecule, Tensor::from(atoms, {3})};
  };
  const Features f = features(model, state, inputs(positions));
  const Fn squares = [&](const Tensors& in) {
    const Features at = features(model, state, inputs(in[0]));
    return Tensors{sum(square(at.h)) + sum(square(at.x))};
  };
  const Tensor force = grad(squares)({positions})[0];
  const double gaps[] = {relative(f.h, numbers.read("h")), relative(f.x, numbers.read("X")),
                         relative(force, numbers.read("grad_pos"))};
  MESSAGE(v.name, " ", name_of(dtype), fused ? " fused" : " plain", ": h ", gaps[0], ", X ",
          gaps[1], ", grad_pos ", gaps[2]);
  for (const double gap : gaps) CHECK(gap < (dtype == DType::f64 ? 1e-10 : 1e-4));
}

TEST_CASE("gotennet parity: features and forces equal the published package's") {
  for (const Variant& v : variants()) {
    CAPTURE(v.name);
    for (const bool fused : {true, false}) {
      compare(v, DType::f64, fused);
      compare(v, DType::f32, fused);
    }
  }
}

}  // namespace
}  // namespace basin
