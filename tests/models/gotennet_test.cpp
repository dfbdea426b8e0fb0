// GotenNet: parameter counts and names, symmetries of features and heads, additivity over far
// molecules, batches against single molecules, fused against plain, second derivatives, and the
// dense Hessian of a tiny network.
#include "basin/models/gotennet.h"

#include <doctest/doctest.h>

#include "basin/models/symmetry.h"
#include "basin/tests/models/dense_hessian.h"
#include "basin/tests/models/molecules_fixture.h"

namespace basin {
namespace {

using testing::batch_of;
using testing::difference;
using testing::generic_state;
using testing::MoleculeSample;
using testing::random_tensor;
using testing::some_molecules;

Model goten(OptionValues options, const std::string& preset = "tiny", int64_t outputs = 1) {
  return make_model({.name = "gotennet",
                     .preset = preset,
                     .outputs = outputs,
                     .options = std::move(options),
                     .output_name = "prediction"});
}

OptionValues small(OptionValues more = {}) {
  more.insert(
      {{"hidden", "8"}, {"heads", "2"}, {"radial", "5"}, {"head_hidden", "6"}, {"dropout", "0"}});
  return more;
}

int64_t parameters(const Model& model, bool with_head) {
  int64_t total = 0;
  for (const ParamSpec& p : model.layout.params()) {
    const bool head = p.name.starts_with("out_net") || p.name.starts_with("equivariant_layers");
    if (with_head || !head) total += p.shape.numel();
  }
  return total;
}

// Weights of either sign, small enough that features stay of order one.
ModelState state_of(const Model& model, uint64_t seed = 3) {
  ModelState state = init_model(model, seed, DType::f64);
  for (Param& p : state.params) {
    if (p.role == Role::bias) {
      p.value.copy_from(random_tensor(p.value.shape(), ++seed, -0.3, 0.3));
    }
  }
  return state;
}

Tensor output_of(const Model& model, const ModelState& state, const Tensors& inputs) {
  return model.forward(state.params.values(), {}, inputs, {}).outputs[0];
}

TEST_CASE("gotennet: parameter counts") {
  struct Size {
    const char* preset;
    int64_t backbone, with_head, hat;
  };
  for (const Size& s :
       {Size{"S", 7646464, 7712513, 6067456}, Size{"B", 11459840, 11525889, 9091328},
        Size{"L", 22899968, 22966017, 18162944}}) {
    CAPTURE(s.preset);
    CHECK(parameters(goten({}, s.preset), false) == s.backbone);
    CHECK(parameters(goten({}, s.preset), true) == s.with_head);
    CHECK(parameters(goten({{"hat", "true"}}, s.preset), false) == s.hat);
  }
  CHECK(parameters(goten({}), false) == 253760);
  CHECK(parameters(goten({{"hat", "true"}}), false) == 203840);
  const Model dipole = goten({{"head", "dipole"}}, "S");
  CHECK(parameters(dipole, true) - parameters(dipole, false) == 461058);
  // Options of the edge refinement: only the first block of two has one.
  CHECK(parameters(goten({{"htr", "norej_gatedt"}}), false) == 253760);
  CHECK(parameters(goten({{"htr", "linw"}}), false) == 253760 + 65 * 64);
  CHECK(parameters(goten({{"htr", "linwa_mlp"}}), false) == 253760 + 2 * 65 * 64);
}

TEST_CASE("gotennet: roles for optimizers that act on matrices") {
  const Model model = goten({});
  for (const ParamSpec& p : model.layout.params()) {
    const bool table = p.name.find("A_n") != std::string::npos;
    const bool radial =
        p.name == "node_init.W_ndp.dense_layers.0.weight" || p.name == "edge_init.W_erp.weight";
    if (p.shape.rank() == 2) {
      CHECK_MESSAGE((p.role == Role::embedding) == table, p.name);
      CHECK_MESSAGE((p.role == Role::first) == radial, p.name);
      CHECK_MESSAGE((p.role == Role::head) == (p.name == "out_net.1.out_net.1.weight"), p.name);
    }
  }
}

TEST_CASE("gotennet: invariant outputs, steerable features, equivariant dipoles") {
  const std::vector<OptionValues> variants{{{"head", "scalar"}},
                                           {{"head", "dipole"}, {"hat", "true"}},
                                           {{"head", "r2"}, {"htr", "norej_gatedt"}},
                                           {{"degree", "3"}, {"htr", "act_linwa"}},
                                           {{"degree", "1"}, {"fused", "false"}}};
  for (const OptionValues& options : variants) {
    const Model model = goten(small(options));
    const ModelState state = state_of(model);
    const Tensors inputs = batch_of(some_molecules({5, 1, 7}, 2));
    const SymmetryReport report = measure_symmetry(model, state, inputs, {3, 1, 2.0});
    int steerable = 0;
    for (const SymmetryError& e : report.layers) {
      CAPTURE(name_of(e.kind));
      CAPTURE(name_of(e.dtype));
      CAPTURE(e.layer);
      CHECK(e.declared);
      CHECK(e.largest() < (e.dtype == DType::f64 ? 1e-9 : 1e-4));
      steerable += e.equivariant ? 1 : 0;
    }
    CHECK(steerable > 0);
  }
}

// The output may not be constant: the tests above would hold then, too.
TEST_CASE("gotennet: outputs depend on positions, elements and the handed features") {
  for (const char* head : {"scalar", "dipole", "r2"}) {
    CAPTURE(head);
    const Model model = goten(small({{"head", head}}));
    const ModelState state = state_of(model);
    std::vector<MoleculeSample> molecules = some_molecules({5, 6}, 4);
    const Tensor before = output_of(model, state, batch_of(molecules));
    REQUIRE(before.shape() == Shape{2, 1});
    CHECK(std::abs(before.at(0) - before.at(1)) > 1e-4);
    molecules[0].x[3] += 0.1;
    const Tensor moved = output_of(model, state, batch_of(molecules));
    CHECK(std::abs(moved.at(0) - before.at(0)) > 1e-5);
    CHECK(moved.at(1) == before.at(1));
    molecules[1].z[2] = molecules[1].z[2] == 6 ? 7 : 6;
    CHECK(std::abs(output_of(model, state, batch_of(molecules)).at(1) - before.at(1)) > 1e-5);
  }
}

TEST_CASE("gotennet: far molecules add up, and a batch is its molecules one by one") {
  const Model model = goten(small(), "tiny", 2);
  const ModelState state = state_of(model);
  const std::vector<MoleculeSample> two = some_molecules({6, 5}, 8);
  MoleculeSample joined = two[0];
  joined.z.insert(joined.z.end(), two[1].z.begin(), two[1].z.end());
  for (size_t i = 0; i < two[1].x.size(); ++i) joined.x.push_back(two[1].x[i] + (i % 3 ? 0 : 40));
  const Tensor apart = output_of(model, state, batch_of(two));
  REQUIRE(apart.shape() == Shape{2, 2});
  CHECK(difference(output_of(model, state, batch_of({joined})), sum(apart, 0, true)) < 1e-12);
  const Tensor first = output_of(model, state, batch_of({two[0]}));
  const Tensor second = output_of(model, state, batch_of({two[1]}));
  CHECK(difference(concat({first, second}, 0), apart) < 1e-12);
}

TEST_CASE("gotennet: fused and plain networks agree in value, gradient and Hessian products") {
  for (const OptionValues& options :
       std::vector<OptionValues>{{},
                                 {{"hat", "true"}, {"htr", "norej"}},
                                 {{"degree", "3"}, {"htr", "gated_linw_mlpa"}}}) {
    Tensors results[2];
    for (const bool fused : {true, false}) {
      OptionValues all = small(options);
      all["fused"] = fused ? "true" : "false";
      const Model model = goten(all);
      const ModelState state = state_of(model);
      const Tensors inputs = batch_of(some_molecules({5, 7}, 3));
      // The positions are a variable, too: forces and what depends on them.
      const Fn loss = [&](const Tensors& v) {
        const Tensors params(v.begin() + 1, v.end());
        Tensors moved = inputs;
        moved[0] = v[0];
        return Tensors{sum(square(model.forward(params, {}, moved, {}).outputs[0]))};
      };
      Tensors variables{inputs[0]};
      for (const Param& p : state.params) variables.push_back(p.value);
      Tensors direction;
      uint64_t seed = 50;
      for (const Tensor& t : variables) direction.push_back(random_tensor(t.shape(), ++seed));
      Tensors& out = results[fused];
      out = loss(variables);
      for (const Tensor& t : grad(loss)(variables)) out.push_back(t);
      for (const Tensor& t : linearize(grad(loss), variables)(direction)) out.push_back(t);
    }
    CHECK(difference(results[1], results[0]) < 1e-10);
  }
}

// A force is a derivative already, so its loss needs three.
TEST_CASE("gotennet: energies and forces against differences, up to the gradient of a force loss") {
  const Model model = goten(small());
  const ModelState state = state_of(model);
  const Tensors inputs = batch_of(some_molecules({4, 5}, 6));
  const auto energy = [&](const Tensors& params, const Tensor& x) {
    return sum(model.forward(params, {}, {x, inputs[1], inputs[2], inputs[3]}, {}).outputs[0]);
  };
  const Tensors params = state.params.values();
  const Tensor direction = random_tensor(inputs[0].shape(), 5);
  const auto forces = [&](const Tensors& p, const Tensor& x) {
    return grad([&](const Tensors& at) { return Tensors{energy(p, at[0])}; })({x})[0];
  };
  const double h = 1e-5;
  const double slope = (energy(params, inputs[0] + direction * h).item() -
                        energy(params, inputs[0] - direction * h).item()) /
                       (2 * h);
  const double predicted = dot(forces(params, inputs[0]), direction).item();
  CHECK(std::abs(slope - predicted) < 1e-7 * std::max(1.0, std::abs(slope)));
  const Fn force_loss = [&](const Tensors& p) {
    return Tensors{sum(square(forces(p, inputs[0])))};
  };
  Tensors along, up, down;
  uint64_t seed = 90;
  for (const Tensor& p : params) {
    along.push_back(random_tensor(p.shape(), ++seed));
    up.push_back(p + along.back() * h);
    down.push_back(p - along.back() * h);
  }
  const Tensors gradient = grad(force_loss)(params);
  double product = 0;
  for (size_t i = 0; i < params.size(); ++i) {
    if (gradient[i].defined()) product += dot(gradient[i], along[i]).item();
  }
  const double measured = (force_loss(up)[0].item() - force_loss(down)[0].item()) / (2 * h);
  CHECK(std::abs(measured - product) < 1e-6 * std::max(1.0, std::abs(product)));
}

TEST_CASE("gotennet: the dense Hessian of a tiny network, by columns, rows and differences") {
  using namespace testing;
  GotenNetConfig config;
  config.hidden = 2;
  config.blocks = 2;
  config.radial = 2;
  config.heads = 1;
  config.degree = 1;
  config.head_hidden = 2;
  config.dropout = 0;
  const Model model = make_gotennet(config);
  const ModelState state = state_of(model, 12);
  const Tensors inputs = batch_of(some_molecules({3, 4, 3}, 5));
  const Tensor target = random_tensor({3, 1}, 8);
  // The tables have a row per element of the periodic system: their gradients are not looked at.
  Tensors all = state.params.values(), params;
  std::vector<size_t> at;
  for (size_t i = 0; i < all.size(); ++i) {
    if (state.params[i].role == Role::embedding) continue;
    at.push_back(i);
    params.push_back(all[i]);
  }
  const Fn loss = [&](const Tensors& p) {
    Tensors full = all;
    for (size_t i = 0; i < p.size(); ++i) full[at[i]] = p[i];
    return Tensors{mse_loss(model.forward(full, {}, inputs, {}).outputs[0], target)};
  };
  const size_t n = flatten(params).size();
  const LinearMap h = linearize(grad(loss), params);
  const Matrix columns = forward_over_reverse(h, params, n);
  const double size = largest(columns);
  CHECK(size > 1e-2);
  CHECK(nonzero_columns(columns) > n / 2);
  CHECK(asymmetry(columns) < 1e-10 * size);
  double reverse_gap = 0, difference_gap = 0;
  for (size_t j = 0; j < n; j += 3) {
    reverse_gap = std::max(reverse_gap, gap(flatten(h.transpose(unit(j, params, n))), columns[j]));
    difference_gap =
        std::max(difference_gap, gap(central_difference(loss, params, j, 1e-6), columns[j]));
  }
  CHECK(reverse_gap < 1e-10 * size);
  CHECK(difference_gap < 1e-5 * size);
}

TEST_CASE("gotennet: dropout masks belong to the step, evaluation has none") {
  const Model model = goten({{"hidden", "8"}, {"heads", "2"}, {"dropout", "0.5"}});
  const ModelState state = state_of(model);
  const Tensors inputs = batch_of(some_molecules({6}, 3));
  const auto run = [&](const ForwardOptions& options) {
    return model.forward(state.params.values(), {}, inputs, options).outputs[0].item();
  };
  const double third = run(ForwardOptions::training(1, 3));
  CHECK(run(ForwardOptions::training(1, 3)) == third);
  CHECK(run(ForwardOptions::training(1, 4)) != third);
  CHECK(run(ForwardOptions::evaluation()) != third);
}

TEST_CASE("gotennet: parts of the edge refinement") {
  const EdgeRefinement r = parse_refinement("norej_gatedt_linwa_mlp");
  CHECK_FALSE(r.rejection);
  CHECK(r.gate == EdgeRefinement::Gate::tanh);
  CHECK(r.linear);
  CHECK(r.linear_after);
  CHECK(r.layers == 2);
  CHECK_FALSE(r.activated);
  CHECK(parse_refinement("mlpa").activated);
  CHECK(parse_refinement("default").rejection);
  CHECK_THROWS_WITH(parse_refinement("gated_act"), "expected one gate, got 'gated_act'");
  CHECK_THROWS_WITH(goten({{"htr", "norj"}}),
                    "model gotennet: option 'htr': no part 'norj'; did you mean 'norej'?");
}

TEST_CASE("gotennet: what is no molecule is refused") {
  const Model model = goten(small());
  const ModelState state = state_of(model);
  const Tensors good = batch_of(some_molecules({3, 2}, 3));
  const auto refuses = [&](const Tensors& inputs, ErrorKind kind, const std::string& message) {
    try {
      output_of(model, state, inputs);
      FAIL("accepted");
    } catch (const Error& e) {
      CHECK(e.kind() == kind);
      CHECK(std::string(e.what()) == message);
    }
  };
  refuses({good[0], good[1]}, ErrorKind::usage,
          "gotennet: expects positions, z, molecule and atoms, got 2 inputs");
  Tensors bad = good;
  bad[1] = good[1].to(DType::i32);
  refuses(bad, ErrorKind::usage,
          "gotennet: expects z [A] i64 beside positions [5, 3], got [5] i32");
  bad = good;
  bad[1] = Tensor::from(std::vector<int64_t>{1, 6, 0, 1, 1}, {5});
  refuses(bad, ErrorKind::data, "gotennet: atom 2 has the atomic number 0, expected 1 to 99");
  bad = good;
  bad[2] = Tensor::from(std::vector<int64_t>{0, 0, 1, 0, 1}, {5});
  refuses(bad, ErrorKind::data,
          "gotennet: atom 2 has the owner 1, expected molecule 0 by the counts of atoms");
  bad = good;
  bad[3] = Tensor::from(std::vector<int64_t>{3, 3}, {2});
  refuses(bad, ErrorKind::data,
          "gotennet: molecule 1 has 3 atoms, expected 1 to the 2 that are left");
  CHECK_THROWS_WITH(goten({{"head", "dipole"}}, "tiny", 2),
                    "gotennet: the head dipole has one output, got 2");
  CHECK_THROWS_WITH(goten({{"hidden", "10"}}),
                    "gotennet: hidden must be a multiple of heads, got 10 and 8");
}

}  // namespace
}  // namespace basin
