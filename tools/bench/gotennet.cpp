// Case gotennet: GotenNet, preset S (d = 256, 4 blocks, S = 5 coefficients), one target, mean
// squared error. The molecules are like QM9's: N atoms, 18 unless told, drawn uniformly in a cube
// of 5 Å (of the same density for another N), no two closer than 0.9 Å, half of them hydrogen. With
// E edges, every atom's own among them, and A atoms the linear maps are, forward,
//   on E rows:       radial functions n -> d twice; W_re, gamma_t d -> d; W_rs d -> S d
//   on A rows:       the node embedding, W_q, W_k, gamma_s, gamma_v, gamma_m, the head
//   on A (2l + 1):   W_vk of degree l;   on A K:  W_vq, W_vu
// and twice that backward, but once where the input is a function of the positions alone. Both
// counts are these products: nothing else of the network is one.
#include <algorithm>
#include <array>
#include <cmath>

#include "basin/autograd/ops.h"
#include "basin/core/random.h"
#include "basin/tools/bench/network.h"

namespace basin::tools {
namespace {

constexpr std::array<int64_t, 10> kElements{1, 1, 1, 1, 1, 6, 6, 6, 7, 8};

// Molecule m is a function of m and its size.
Batch random_molecules(int64_t examples, int64_t atoms) {
  const double side = 5 * std::cbrt(static_cast<double>(atoms) / 18);
  constexpr double kNear = 0.9;
  std::vector<float> xyz, target;
  std::vector<int64_t> z, owner;
  for (int64_t m = 0; m < examples; ++m) {
    Rng rng(0, stream_id("bench molecules", static_cast<uint64_t>(m)));
    std::vector<std::array<double, 3>> placed;
    while (static_cast<int64_t>(placed.size()) < atoms) {
      const std::array<double, 3> p{rng.uniform(0, side), rng.uniform(0, side),
                                    rng.uniform(0, side)};
      const bool free = std::none_of(placed.begin(), placed.end(), [&](const auto& q) {
        return std::hypot(p[0] - q[0], p[1] - q[1], p[2] - q[2]) < kNear;
      });
      if (free) placed.push_back(p);
    }
    for (const auto& p : placed) {
      for (const double c : p) xyz.push_back(static_cast<float>(c));
      z.push_back(kElements[static_cast<size_t>(rng.below(kElements.size()))]);
      owner.push_back(m);
    }
    target.push_back(static_cast<float>(rng.normal()));
  }
  const int64_t all = examples * atoms;
  return {{Tensor::from(xyz, {all, 3}), Tensor::from(z, {all}), Tensor::from(owner, {all}),
           Tensor::full({examples}, DType::i64, static_cast<double>(atoms)),
           Tensor::from(target, {examples, 1})},
          examples,
          {}};
}

bool contains(const std::string& name, const std::string& part) {
  return name.find(part) != std::string::npos;
}

// Rows that the map of this name is applied to.
double rows_of(const std::string& name, double atoms, double edges, double steerable) {
  for (const char* part : {"W_ndp", "W_erp", "W_re", "W_rs", "gamma_t"}) {
    if (contains(name, part)) return edges;
  }
  for (int degree = 1; degree <= 3; ++degree) {
    if (contains(name, str("W_vk.", degree - 1))) return atoms * (2 * degree + 1);
  }
  return contains(name, "W_vq") || contains(name, "W_vu") ? atoms * steerable : atoms;
}

Counts count_gotennet(const Model& model, const Batch& batch) {
  const Tensor &positions = batch.tensors[0], &owner = batch.tensors[2];
  double cutoff = 0;
  check(parse_double(model.options.at("cutoff"), cutoff), "gotennet: cutoff is no number");
  const Csr molecules = csr(owner.to(DType::i32), batch.examples);
  const auto edges =
      static_cast<double>(radius_graph(positions, molecules.offsets, cutoff, true).edges());
  const auto atoms = static_cast<double>(positions.size(0));
  const auto degree = static_cast<double>(integer_option(model, "degree"));
  const double steerable = (degree + 1) * (degree + 1) - 1;
  Counts out;
  for (const ParamSpec& p : model.layout.params()) {
    if (p.shape.rank() != 2 || p.role == Role::embedding) continue;
    const double flops =
        2 * rows_of(p.name, atoms, edges, steerable) * static_cast<double>(p.shape.numel());
    const double backward = p.role == Role::first ? flops : 2 * flops;
    out.add_parts(flops, backward, flops, backward);
  }
  return out;
}

Loss squares(const Tensor& target) {
  return {{"mse"},
          [target](const Tensors& outputs) { return Tensors{mse_loss(outputs.front(), target)}; }};
}

}  // namespace

void run_gotennet(const BenchOptions& options, BenchReport& report) {
  run_network({.title = "GotenNet S",
               .model = "gotennet",
               .preset = "S",
               .hvp_batch = 4,
               .count = count_gotennet,
               .outputs = 1,
               .data = random_molecules,
               .loss = squares,
               .optimizers = {"adamw", "muon", "muon_bf16"},
               .products = true},
              options, report);
}

}  // namespace basin::tools
