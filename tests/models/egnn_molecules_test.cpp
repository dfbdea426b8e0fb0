// EGNN of molecules: the authors' count of parameters and names, the definition in scalar loops,
// symmetries, batched against single evaluation, fused against plain ops, second derivatives.
#include "basin/models/egnn_molecules.h"

#include <doctest/doctest.h>

#include "basin/models/symmetry.h"
#include "basin/tests/core/errors.h"
#include "basin/tests/models/dense_hessian.h"

namespace basin {
namespace {

using testing::difference;
using testing::generic_state;
using testing::random_tensor;

EgnnMoleculesConfig tiny_net() {
  EgnnMoleculesConfig config;
  config.hidden = 4;
  config.layers = 2;
  return config;
}

// Molecules of these sizes, of H, C, N, O and F, at generic places.
Tensors molecules(const std::vector<int64_t>& sizes, uint64_t seed = 3) {
  constexpr int64_t kElements[] = {1, 6, 7, 8, 9};
  Rng rng(seed, 7);
  std::vector<int64_t> z, owner;
  for (size_t b = 0; b < sizes.size(); ++b) {
    for (int64_t i = 0; i < sizes[b]; ++i) {
      z.push_back(kElements[rng.below(5)]);
      owner.push_back(static_cast<int64_t>(b));
    }
  }
  const auto atoms = static_cast<int64_t>(z.size());
  return {random_tensor({atoms, 3}, seed, -1.5, 1.5), Tensor::from(z, {atoms}),
          Tensor::from(owner, {atoms}), Tensor::from(sizes, {static_cast<int64_t>(sizes.size())})};
}

Tensor outputs(const Model& model, const Tensors& params, const Tensors& inputs) {
  return model.forward(params, {}, inputs, {}).outputs[0];
}

// The definition in loops over the atoms of one molecule.
struct Loops {
  const ModelState& state;
  using Row = std::vector<double>;

  Row map(const std::string& name, const Row& x) const {
    const Tensor& w = state.params.at(name + ".weight").value;
    REQUIRE(w.size(1) == static_cast<int64_t>(x.size()));
    Row y;
    for (int64_t o = 0; o < w.size(0); ++o) {
      double sum = state.params.at(name + ".bias").value.at(o);
      for (int64_t i = 0; i < w.size(1); ++i) {
        sum += w.at(o * w.size(1) + i) * x[static_cast<size_t>(i)];
      }
      y.push_back(sum);
    }
    return y;
  }
  static Row activated(Row x) {
    for (double& v : x) v = v / (1 + std::exp(-v));
    return x;
  }
  Row twice(const std::string& name, const Row& x) const {
    return map(name + ".2", activated(map(name + ".0", x)));
  }

  double energy(const std::vector<Row>& x, const std::vector<int64_t>& z, int64_t layers) const {
    std::vector<Row> h;
    for (const int64_t number : z) {
      Row input(15, 0.0);
      const size_t at = number == 1 ? 0 : static_cast<size_t>(number - 5);
      const double q = static_cast<double>(number) / 9;
      input[3 * at] = 1, input[3 * at + 1] = q, input[3 * at + 2] = q * q;
      h.push_back(map("embedding", input));
    }
    for (int64_t l = 0; l < layers; ++l) {
      const std::string gcl = str("gcl_", l, ".");
      std::vector<Row> next = h;
      for (size_t i = 0; i < x.size(); ++i) {
        Row total(h[i].size(), 0.0);
        for (size_t j = 0; j < x.size(); ++j) {
          if (j == i) continue;
          Row both = h[i];
          both.insert(both.end(), h[j].begin(), h[j].end());
          double square = 0;
          for (size_t c = 0; c < 3; ++c) square += (x[i][c] - x[j][c]) * (x[i][c] - x[j][c]);
          both.push_back(square);
          Row m = activated(twice(gcl + "edge_mlp", both));
          const double gate = 1 / (1 + std::exp(-map(gcl + "att_mlp.0", m)[0]));
          for (size_t c = 0; c < m.size(); ++c) total[c] += m[c] * gate;
        }
        Row both = h[i];
        both.insert(both.end(), total.begin(), total.end());
        const Row update = twice(gcl + "node_mlp", both);
        for (size_t c = 0; c < update.size(); ++c) next[i][c] += update[c];
      }
      h = next;
    }
    Row sum(h[0].size(), 0.0);
    for (const Row& row : h) {
      const Row decoded = twice("node_dec", row);
      for (size_t c = 0; c < sum.size(); ++c) sum[c] += decoded[c];
    }
    return twice("graph_dec", sum)[0];
  }
};

TEST_CASE("egnn molecules: the authors' parameters") {
  const Model model = make_model({.name = "egnn-qm9", .outputs = 1});
  CHECK(model.layout.total_elements() == 745224);
  const Model one = make_model(
      {.name = "egnn-qm9", .outputs = 1, .options = {{"layers", "1"}, {"elements", "1,6,7,8"}}});
  std::vector<std::string> names, first, head;
  const ModelState state = init_model(one, 1, DType::f32);
  for (const Param& p : state.params) {
    names.push_back(p.name);
    if (p.role == Role::first) first.push_back(p.name);
    if (p.role == Role::head) head.push_back(p.name);
  }
  CHECK(names ==
        std::vector<std::string>{
            "embedding.weight",        "embedding.bias",          "gcl_0.edge_mlp.0.weight",
            "gcl_0.edge_mlp.0.bias",   "gcl_0.edge_mlp.2.weight", "gcl_0.edge_mlp.2.bias",
            "gcl_0.node_mlp.0.weight", "gcl_0.node_mlp.0.bias",   "gcl_0.node_mlp.2.weight",
            "gcl_0.node_mlp.2.bias",   "gcl_0.att_mlp.0.weight",  "gcl_0.att_mlp.0.bias",
            "node_dec.0.weight",       "node_dec.0.bias",         "node_dec.2.weight",
            "node_dec.2.bias",         "graph_dec.0.weight",      "graph_dec.0.bias",
            "graph_dec.2.weight",      "graph_dec.2.bias"});
  CHECK(first == std::vector<std::string>{"embedding.weight"});
  CHECK(head == std::vector<std::string>{"gcl_0.att_mlp.0.weight", "graph_dec.2.weight"});
  CHECK(state.params.at("embedding.weight").value.shape() == Shape{128, 12});
  CHECK(state.params.at("gcl_0.edge_mlp.0.weight").value.shape() == Shape{128, 257});
}

TEST_CASE("egnn molecules: the definition, evaluated in scalar loops") {
  const Model model = make_egnn_molecules(tiny_net());
  const ModelState state = generic_state(model, 17);
  const std::vector<int64_t> sizes{3, 5, 5, 1, 4};
  const Tensors in = molecules(sizes);
  const Tensor given = outputs(model, state.params.values(), in);
  REQUIRE(given.shape() == Shape{5, 1});
  int64_t at = 0;
  for (size_t b = 0; b < sizes.size(); ++b) {
    std::vector<Loops::Row> x;
    std::vector<int64_t> z;
    for (int64_t i = 0; i < sizes[b]; ++i, ++at) {
      x.push_back({in[0].at(3 * at), in[0].at(3 * at + 1), in[0].at(3 * at + 2)});
      z.push_back(in[1].data<int64_t>()[at]);
    }
    CHECK(given.at(static_cast<int64_t>(b)) ==
          doctest::Approx(Loops{state}.energy(x, z, 2)).epsilon(1e-11));
  }
}

TEST_CASE("egnn molecules: invariant under O(3), translations and permutations of atoms") {
  const Model model = make_model({.name = "egnn-qm9",
                                  .outputs = 1,
                                  .options = {{"hidden", "16"}, {"layers", "7"}},
                                  .output_name = "energy"});
  const ModelState state = init_model(model, 5, DType::f64);
  const SymmetryReport report = measure_symmetry(model, state, molecules({4, 4, 9, 2, 1}), {4, 1});
  REQUIRE(report.layers.size() == 4 * 2 * 9);  // kinds, precisions, seven layers, pooled, output
  for (const SymmetryError& e : report.layers) {
    CAPTURE(e.layer);
    CHECK(e.declared);
    CHECK(e.largest() < (e.dtype == DType::f64 ? 1e-9 : 5e-4));
  }
}

TEST_CASE("egnn molecules: a molecule has the same value alone, in company and in another order") {
  const Model model = make_egnn_molecules(tiny_net());
  const Tensors params = generic_state(model, 4).params.values();
  const std::vector<int64_t> sizes{4, 4, 2, 6, 4, 1};
  const Tensors in = molecules(sizes);
  const Tensor together = outputs(model, params, in);
  int64_t first = 0;
  for (size_t b = 0; b < sizes.size(); ++b) {
    const int64_t end = first + sizes[b];
    const Tensor alone = outputs(
        model, params,
        {slice(in[0], 0, first, end),
         Tensor::from(
             std::vector<int64_t>(in[1].data<int64_t>() + first, in[1].data<int64_t>() + end),
             {sizes[b]}),
         Tensor::zeros({sizes[b]}, DType::i64), Tensor::from<int64_t>({sizes[b]}, {1})});
    CHECK(alone.at(0) == doctest::Approx(together.at(static_cast<int64_t>(b))).epsilon(1e-12));
    first = end;
  }
}

TEST_CASE("egnn molecules: the fused network is the plain one, to second order") {
  EgnnMoleculesConfig config = tiny_net();
  config.hidden = 16;
  const Model fused = make_egnn_molecules(config);
  config.fused = false;
  const Model plain = make_egnn_molecules(config);
  const Tensors params = generic_state(fused, 21).params.values();
  const Tensors in = molecules({3, 3, 1, 5, 2});
  const Tensor target = random_tensor({5, 1}, 2);
  Tensors direction;
  for (size_t i = 0; i < params.size(); ++i) {
    direction.push_back(random_tensor(params[i].shape(), 100 + i));
  }
  const auto loss_of = [&](const Model& model) {
    return Fn([&model, &in, &target](const Tensors& p) {
      return Tensors{mse_loss(outputs(model, p, in), target)};
    });
  };
  const Fn f = loss_of(fused), p = loss_of(plain);
  const ValueGrad a = value_and_grad(f)(params), b = value_and_grad(p)(params);
  CHECK(difference(a.value, b.value) < 1e-11);
  CHECK(difference(a.grads, b.grads) < 1e-10);
  CHECK(difference(linearize(grad(f), params)(direction), linearize(grad(p), params)(direction)) <
        1e-9);
  // Forces, and their tangents.
  const Fn by_positions = [&](const Tensors& x) {
    return Tensors{sum(outputs(fused, params, {x[0], in[1], in[2], in[3]}))};
  };
  const Tensor force = grad(by_positions)({in[0]})[0];
  const Tensor along = random_tensor(in[0].shape(), 8);
  constexpr double kStep = 1e-5;
  const double up = by_positions({in[0] + along * kStep})[0].item();
  const double down = by_positions({in[0] - along * kStep})[0].item();
  CHECK(dot(force, along).item() == doctest::Approx((up - down) / (2 * kStep)).epsilon(1e-7));
  const Tensor tangent = linearize(grad(by_positions), {in[0]})({along})[0];
  const Tensor difference_of_forces = (grad(by_positions)({in[0] + along * kStep})[0] -
                                       grad(by_positions)({in[0] - along * kStep})[0]) *
                                      (0.5 / kStep);
  CHECK(difference(tangent, difference_of_forces) < 1e-6);
}

TEST_CASE("egnn molecules: Hessian-vector products are the columns of the dense Hessian") {
  EgnnMoleculesConfig config = tiny_net();
  config.hidden = 3;
  config.layers = 1;
  config.elements = {1, 6, 7, 8, 9};
  const Model model = make_egnn_molecules(config);
  const Tensors params = generic_state(model, 31).params.values();
  const auto n = static_cast<size_t>(model.layout.total_elements());
  REQUIRE(n < 300);
  const Tensors in = molecules({2, 3, 3, 5});
  const Tensor target = random_tensor({4, 1}, 2);
  const Fn loss = [&](const Tensors& p) {
    return Tensors{mse_loss(outputs(model, p, in), target)};
  };
  const LinearMap h = linearize(grad(loss), params);
  const testing::Matrix columns = testing::forward_over_reverse(h, params, n);
  const double size = testing::largest(columns);
  CHECK(size > 1e-2);
  CHECK(testing::asymmetry(columns) < 1e-10 * size);
  CHECK(testing::nonzero_columns(columns) > n / 2);
  for (size_t j = 0; j < n; j += 13) {
    CHECK(testing::gap(testing::flatten(h.transpose(testing::unit(j, params, n))), columns[j]) <
          1e-10 * size);
    CHECK(testing::gap(testing::central_difference(loss, params, j, 1e-6), columns[j]) <
          1e-5 * size);
  }
}

TEST_CASE("egnn molecules: refusals") {
  const Model model = make_egnn_molecules(tiny_net());
  const Tensors params = generic_state(model, 4).params.values();
  const auto refusal = [&](size_t at, const Tensor& other) {
    Tensors in = molecules({2, 3});
    in[at] = other;
    return test::error_of([&] { outputs(model, params, in); });
  };
  const auto integers = [](std::vector<int64_t> v) {
    const auto n = static_cast<int64_t>(v.size());
    return Tensor::from(v, {n});
  };
  CHECK(refusal(1, integers({1, 6, 16, 1, 1})).second ==
        "egnn-qm9: atom 2 has the atomic number 16, which the option elements does not list");
  CHECK(refusal(1, integers({1, 6, 16, 1, 1})).first == ErrorKind::data);
  CHECK(refusal(2, integers({0, 1, 1, 1, 1})).second ==
        "egnn-qm9: atom 1 has the owner 1, expected molecule 0 by the counts of atoms");
  CHECK(refusal(3, integers({2, 4})).second ==
        "egnn-qm9: molecule 1 has 4 atoms, expected 1 to the 3 that are left");
  CHECK(refusal(3, integers({2, 2})).second ==
        "egnn-qm9: the molecules have 4 atoms together, expected 5");
  CHECK(test::contains(refusal(0, random_tensor({5, 2}, 1)).second, "expects positions [A, 3]"));
  CHECK(test::contains(refusal(1, integers({1, 1})).second, "expects z [A] i64"));
  const auto elements = test::error_of([] {
    make_model({.name = "egnn-qm9", .outputs = 1, .options = {{"elements", "6,1"}}});
  });
  CHECK(test::contains(elements.second, "expected rising atomic numbers from 1 to 118"));
}

}  // namespace
}  // namespace basin
