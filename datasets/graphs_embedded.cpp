// Procedural graphs and their targets.
#include <algorithm>

#include "basin/core/random.h"
#include "basin/datasets/detail/graphs.h"

namespace basin {
namespace {

constexpr double kCharge[] = {-1, -0.5, 0.5, 1};
constexpr double kStrength[] = {0.5, 1, 1.5};

struct Bond {
  int32_t a, b;
  uint16_t kind;
};

void append_graph(GraphSet& set, uint64_t number) {
  Rng rng(7, stream_id("embedded graphs", number));
  const int64_t nodes = 6 + rng.below(9);
  std::vector<uint16_t> kinds;
  std::vector<Bond> bonds;
  const auto join = [&](int64_t a, int64_t b) {
    const Bond bond{static_cast<int32_t>(a), static_cast<int32_t>(b),
                    static_cast<uint16_t>(rng.below(3))};
    const bool known = std::any_of(bonds.begin(), bonds.end(), [&](const Bond& other) {
      return other.a == bond.a && other.b == bond.b;
    });
    if (!known) bonds.push_back(bond);
  };
  for (int64_t i = 0; i < nodes; ++i) {
    kinds.push_back(static_cast<uint16_t>(rng.below(4)));
    if (i > 0) join(std::max<int64_t>(0, i - 1 - rng.below(3)), i);
  }
  for (int64_t more = rng.below(4); more > 0; --more) {
    const int64_t b = 1 + rng.below(nodes - 1);
    join(rng.below(b), b);
  }
  double energy = 0, charge = 0;
  bool pair = false;
  for (const uint16_t kind : kinds) charge += kCharge[kind];
  for (const Bond& bond : bonds) {
    const uint16_t u = kinds[static_cast<size_t>(bond.a)], v = kinds[static_cast<size_t>(bond.b)];
    energy += kStrength[bond.kind] * kCharge[u] * kCharge[v];
    pair = pair || (bond.kind == 2 && u == 3 && v == 3);
    for (const auto& [from, to] : {std::pair(bond.a, bond.b), std::pair(bond.b, bond.a)}) {
      set.sender.push_back(from);
      set.receiver.push_back(to);
      set.edge_features.push_back(bond.kind);
    }
  }
  const auto cycles = static_cast<double>(bonds.size()) - static_cast<double>(nodes) + 1;
  if (set.labels) {
    set.targets.insert(set.targets.end(),
                       {cycles > 0 ? 1.0 : 0.0, charge > 0 ? 1.0 : 0.0, pair ? 1.0 : 0.0});
  } else {
    set.targets.push_back(energy + cycles / 4);
  }
  set.node_features.insert(set.node_features.end(), kinds.begin(), kinds.end());
  set.node_start.push_back(set.node_start.back() + nodes);
  set.edge_start.push_back(static_cast<int64_t>(set.sender.size()));
}

}  // namespace

GraphSet embedded_graphs(bool labels, int64_t train, int64_t validation, int64_t test) {
  GraphSet set;
  set.labels = labels;
  set.target_names = labels ? std::vector<std::string>{"ring", "positive", "pair"}
                            : std::vector<std::string>{"energy"};
  set.node_kinds = {4};
  set.edge_kinds = {3};
  size_t split = 0;
  for (const int64_t count : {train, validation, test}) {
    for (int64_t i = 0; i < count; ++i) {
      set.splits[split].push_back(set.graphs());
      append_graph(set, (split << 32) + static_cast<uint64_t>(i));
    }
    ++split;
  }
  graphs::seal(set, [](int64_t) { return std::string("embedded graphs"); });
  set.source = labels ? "embedded_labels" : "embedded";
  set.description =
      str("embedded graphs: ", graphs::counts(set), ", ", labels ? "three labels" : "bond energy");
  return set;
}

}  // namespace basin
