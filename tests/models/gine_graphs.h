// Batches of random graphs for the tests of GINE.
#pragma once
#include <numeric>

#include "basin/models/gine.h"
#include "basin/tests/models/pointnet_fixture.h"

namespace basin::testing {

// The inputs of a GINE: graphs of 1 to 9 nodes, trees with some further edges, both directions.
inline Tensors random_graphs(int64_t graphs, const GineConfig& config, uint64_t seed) {
  Rng rng(seed, 21);
  std::vector<int64_t> atoms, bonds, owner, sizes;
  std::vector<int32_t> sender, receiver;
  for (int64_t g = 0; g < graphs; ++g) {
    const int64_t n = 1 + rng.below(9), base = static_cast<int64_t>(owner.size());
    sizes.push_back(n);
    for (int64_t i = 0; i < n; ++i) {
      owner.push_back(g);
      for (const int64_t kinds : config.atoms) atoms.push_back(rng.below(kinds));
      for (int64_t more = 0; i > 0 && more < (i % 4 == 3 ? 2 : 1); ++more) {
        std::vector<int64_t> kind;
        for (const int64_t kinds : config.bonds) kind.push_back(rng.below(kinds));
        const auto a = static_cast<int32_t>(base + i), b = static_cast<int32_t>(base + more);
        for (const auto& [from, to] : {std::pair(a, b), std::pair(b, a)}) {
          sender.push_back(from);
          receiver.push_back(to);
          bonds.insert(bonds.end(), kind.begin(), kind.end());
        }
      }
    }
  }
  const auto nodes = static_cast<int64_t>(owner.size()),
             edges = static_cast<int64_t>(sender.size());
  Tensors out{Tensor::from(atoms, {nodes, static_cast<int64_t>(config.atoms.size())}),
              Tensor::from(bonds, {edges, static_cast<int64_t>(config.bonds.size())}),
              Tensor::from(sender, {edges}),
              Tensor::from(receiver, {edges}),
              Tensor::from(owner, {nodes}),
              Tensor::from(sizes, {graphs})};
  if (config.walk_steps > 0) {
    out.push_back(random_tensor({nodes, config.walk_steps}, seed + 1, 0, 1));
  }
  return out;
}

}  // namespace basin::testing
