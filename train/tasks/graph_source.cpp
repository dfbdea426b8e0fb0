// Graphs of a set joined to batches.
#include "basin/train/tasks/graph_source.h"

#include <algorithm>
#include <cmath>

#include "basin/core/random.h"

namespace basin {

const GraphSet& GraphData::set() const {
  std::call_once(read_, [this] {
    set_ = load_graphs(data_, {.split = split_});
    for (std::vector<int64_t>& rows : set_.splits) {
      std::vector<int64_t> kept;
      for (const int64_t i : drawn_rows(static_cast<int64_t>(rows.size()), limit_, seed_)) {
        kept.push_back(rows[static_cast<size_t>(i)]);
      }
      rows = std::move(kept);
    }
  });
  return set_;
}

const std::vector<float>& GraphData::walks(int64_t steps) const {
  std::call_once(walked_, [this, steps] { walks_ = random_walks(set(), steps); });
  return walks_;
}

std::vector<Slot> graph_slots(bool walks) {
  std::vector<Slot> out{
      {"atoms", Rows::node, SlotKind::feature}, {"bonds", Rows::edge, SlotKind::feature},
      {"sender", Rows::edge, SlotKind::index},  {"receiver", Rows::edge, SlotKind::index},
      {"graph", Rows::node, SlotKind::owner},   {"nodes", Rows::example, SlotKind::feature}};
  if (walks) out.push_back({"walks", Rows::node, SlotKind::feature});
  out.push_back({"target", Rows::example, SlotKind::target});
  out.push_back({"known", Rows::example, SlotKind::target});
  return out;
}

namespace {

// The inputs of some graphs, one after the other.
Tensors joined(const GraphData& data, const std::vector<int64_t>& rows, int64_t walk_steps) {
  const GraphSet& set = data.set();
  const size_t atom_columns = set.node_kinds.size(), bond_columns = set.edge_kinds.size();
  std::vector<int64_t> atoms, bonds, owner, nodes;
  std::vector<int32_t> sender, receiver;
  std::vector<float> walks;
  for (const int64_t g : rows) {
    const auto i = static_cast<size_t>(g);
    const auto base = static_cast<int32_t>(owner.size());
    const auto first = static_cast<size_t>(set.node_start[i]),
               last = first + static_cast<size_t>(set.nodes_of(g));
    const auto begin = static_cast<size_t>(set.edge_start[i]),
               end = static_cast<size_t>(set.edge_start[i + 1]);
    const auto node = set.node_features.begin(), edge = set.edge_features.begin();
    atoms.insert(atoms.end(), node + static_cast<std::ptrdiff_t>(first * atom_columns),
                 node + static_cast<std::ptrdiff_t>(last * atom_columns));
    bonds.insert(bonds.end(), edge + static_cast<std::ptrdiff_t>(begin * bond_columns),
                 edge + static_cast<std::ptrdiff_t>(end * bond_columns));
    for (size_t e = begin; e < end; ++e) {
      sender.push_back(base + set.sender[e]);
      receiver.push_back(base + set.receiver[e]);
    }
    owner.insert(owner.end(), last - first, static_cast<int64_t>(nodes.size()));
    nodes.push_back(set.nodes_of(g));
    if (walk_steps > 0) {
      const auto from = data.walks(walk_steps).begin();
      walks.insert(walks.end(), from + set.node_start[i] * walk_steps,
                   from + set.node_start[i + 1] * walk_steps);
    }
  }
  const auto v = static_cast<int64_t>(owner.size()), e = static_cast<int64_t>(sender.size());
  Tensors out{Tensor::from(atoms, {v, static_cast<int64_t>(atom_columns)}),
              Tensor::from(bonds, {e, static_cast<int64_t>(bond_columns)}),
              Tensor::from(sender, {e}),
              Tensor::from(receiver, {e}),
              Tensor::from(owner, {v}),
              Tensor::from(nodes, {static_cast<int64_t>(rows.size())})};
  if (walk_steps > 0) out.push_back(Tensor::from(walks, {v, walk_steps}));
  return out;
}

}  // namespace

GraphSource::GraphSource(std::shared_ptr<const GraphData> data, GraphSelection selection)
    : data_(std::move(data)),
      chosen_(std::move(selection)),
      slots_(graph_slots(chosen_.walk_steps > 0)) {
  if (!chosen_.targets) slots_.resize(slots_.size() - 2);
}

int64_t GraphSource::batches() const {
  // Less than a batch to train on is one all the same.
  const int64_t whole = examples() / chosen_.batch;
  return chosen_.training && whole > 0 ? whole : (examples() + chosen_.batch - 1) / chosen_.batch;
}

Batch GraphSource::batch(int64_t epoch, int64_t index) const {
  check(epoch >= 0 && index >= 0 && index < batches(), "graph: expected a batch from 0 to ",
        batches() - 1, ", got ", index, " of epoch ", epoch);
  std::vector<int64_t> order = chosen_.rows;
  if (chosen_.training) {
    Rng(chosen_.seed, stream_id("graph order", static_cast<uint64_t>(epoch)))
        .shuffle(std::span<int64_t>(order));
  }
  const int64_t begin = index * chosen_.batch, end = std::min(begin + chosen_.batch, examples());
  Batch out;
  out.rows.assign(order.begin() + begin, order.begin() + end);
  out.examples = end - begin;
  out.tensors = joined(*data_, out.rows, chosen_.walk_steps);
  if (!chosen_.targets) return out;
  const GraphSet& set = data_->set();
  const auto columns = static_cast<int64_t>(set.target_names.size());
  std::vector<double> target, known;
  for (const int64_t g : out.rows) {
    for (int64_t t = 0; t < columns; ++t) {
      const double value = set.targets[static_cast<size_t>(g * columns + t)];
      known.push_back(std::isnan(value) ? 0 : 1);
      target.push_back(std::isnan(value) ? 0 : value);
    }
  }
  out.tensors.push_back(Tensor::from(target, {out.examples, columns}));
  out.tensors.push_back(Tensor::from(known, {out.examples, columns}));
  return out;
}

}  // namespace basin
