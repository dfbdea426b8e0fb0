// Case gine: GINE, preset lrgb (d = 208, 5 layers), ten labels, binary cross-entropy. The graphs
// are like those of Peptides-func: N nodes, 151 unless told, on the average (two thirds to four
// thirds of that), each tied to one of its three predecessors, and a ring of six for every 50
// nodes: about 2 N directed edges. With V nodes of B graphs the linear maps are, forward, two of d
// -> d on V rows per layer and the head on B, and twice that backward. Both counts are these
// products: a message is a gathered sum, and so, to the textbook, is the start of the nodes (which
// is done as a product with their table).
#include <algorithm>
#include <utility>

#include "basin/autograd/ops.h"
#include "basin/core/random.h"
#include "basin/models/gine.h"
#include "basin/tools/bench/network.h"

namespace basin::tools {
namespace {

std::vector<std::pair<int64_t, int64_t>> random_bonds(int64_t nodes, Rng& rng) {
  constexpr int64_t kRing = 6;
  std::vector<std::pair<int64_t, int64_t>> out;
  for (int64_t i = 1; i < nodes; ++i) {
    out.emplace_back(std::max<int64_t>(0, i - 1 - rng.below(3)), i);
  }
  const int64_t rings = nodes / 50;
  for (int64_t r = 0; r < rings; ++r) {  // one in each part: no bond twice
    const int64_t begin = r * nodes / rings, end = (r + 1) * nodes / rings;
    const int64_t last = std::max(begin + rng.below(end - begin), kRing - 1);
    out.emplace_back(last - kRing + 1, last);
  }
  return out;
}

// Graph g is a function of g and `size`.
Batch random_graphs(int64_t examples, int64_t size) {
  const GineConfig sizes;  // of Peptides-func
  std::vector<int64_t> atoms, bonds, graph, nodes;
  std::vector<int32_t> sender, receiver;
  std::vector<float> target;
  int32_t first = 0;
  for (int64_t g = 0; g < examples; ++g) {
    Rng rng(0, stream_id("bench graphs", static_cast<uint64_t>(g)));
    const int64_t count = std::max<int64_t>(1, size - size / 3 + rng.below(2 * (size / 3) + 1));
    for (int64_t i = 0; i < count; ++i) {
      for (const int64_t kinds : sizes.atoms) atoms.push_back(rng.below(kinds));
      graph.push_back(g);
    }
    for (const auto& [a, b] : random_bonds(count, rng)) {
      std::vector<int64_t> kind;
      for (const int64_t kinds : sizes.bonds) kind.push_back(rng.below(kinds));
      const auto one = first + static_cast<int32_t>(a), other = first + static_cast<int32_t>(b);
      for (const auto& [from, to] : {std::pair(one, other), std::pair(other, one)}) {
        sender.push_back(from);
        receiver.push_back(to);
        bonds.insert(bonds.end(), kind.begin(), kind.end());
      }
    }
    for (int64_t t = 0; t < sizes.outputs; ++t) target.push_back(static_cast<float>(rng.below(2)));
    nodes.push_back(count);
    first += static_cast<int32_t>(count);
  }
  const auto v = static_cast<int64_t>(graph.size()), e = static_cast<int64_t>(sender.size());
  return {{Tensor::from(atoms, {v, static_cast<int64_t>(sizes.atoms.size())}),
           Tensor::from(bonds, {e, static_cast<int64_t>(sizes.bonds.size())}),
           Tensor::from(sender, {e}), Tensor::from(receiver, {e}), Tensor::from(graph, {v}),
           Tensor::from(nodes, {examples}), Tensor::from(target, {examples, sizes.outputs})},
          examples,
          {}};
}

Counts count_gine(const Model& model, const Batch& batch) {
  const auto nodes = static_cast<double>(batch.tensors[4].numel());
  const auto graphs = static_cast<double>(batch.examples);
  Counts out;
  for (const ParamSpec& p : model.layout.params()) {
    if (p.shape.rank() != 2 || p.role == Role::embedding) continue;
    out.map(p.role == Role::head ? graphs : nodes, static_cast<double>(p.shape[1]),
            static_cast<double>(p.shape[0]));
  }
  return out;
}

Loss labels_loss(const Tensor& target) {
  return {{"bce"}, [target](const Tensors& outputs) {
            return Tensors{bce_with_logits(outputs.front(), target)};
          }};
}

}  // namespace

void run_gine(const BenchOptions& options, BenchReport& report) {
  run_network({.title = "GINE lrgb",
               .model = "gine",
               .preset = "lrgb",
               .hvp_batch = 32,
               .count = count_gine,
               .outputs = 10,
               .data = random_graphs,
               .loss = labels_loss,
               .optimizers = {"adamw", "muon", "muon_bf16"},
               .products = true},
              options, report);
}

}  // namespace basin::tools
