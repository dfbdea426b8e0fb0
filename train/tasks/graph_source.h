// Batches of graphs, one after the other, as the networks of nodes and edges take them.
//   atoms, bonds, sender, receiver, graph, nodes (models/gine.h), walks where they are wanted,
//   target [B, T] f64, known [B, T] f64: 1 where the target is known, else 0 (and the target 0)
#pragma once
#include <mutex>

#include "basin/datasets/graphs.h"
#include "basin/train/task.h"

namespace basin {

std::vector<Slot> graph_slots(bool walks);

// The set, read at the first request, and its walks.
class GraphData {
 public:
  GraphData(std::string data, fs::path split, int64_t limit, uint64_t seed)
      : data_(std::move(data)), split_(std::move(split)), limit_(limit), seed_(seed) {}
  // Graphs to be predicted.
  explicit GraphData(GraphSet set) : set_(std::move(set)) {
    std::call_once(read_, [] {});
  }

  const GraphSet& set() const;
  // [nodes, steps]; steps are those of the first call
  const std::vector<float>& walks(int64_t steps) const;

 private:
  std::string data_;
  fs::path split_;
  int64_t limit_ = 0;
  uint64_t seed_ = 0;
  mutable std::once_flag read_, walked_;
  mutable GraphSet set_;
  mutable std::vector<float> walks_;
};

// Some graphs of a set, in order; for training shuffled anew every epoch, an incomplete last batch
// dropped.
struct GraphSelection {
  std::vector<int64_t> rows;
  int64_t walk_steps = 0;  // 0: no walks
  bool targets = true;
  int64_t batch = 32;
  bool training = false;
  uint64_t seed = 0;  // of the order
  std::string description = {};
};

class GraphSource : public Source {
 public:
  GraphSource(std::shared_ptr<const GraphData> data, GraphSelection selection);
  const std::vector<Slot>& slots() const override { return slots_; }
  int64_t examples() const override { return static_cast<int64_t>(chosen_.rows.size()); }
  int64_t batches() const override;
  Batch batch(int64_t epoch, int64_t index) const override;
  std::string description() const override { return chosen_.description; }
  std::string content_hash() const override { return data_->set().content_hash; }

 private:
  std::shared_ptr<const GraphData> data_;
  GraphSelection chosen_;
  std::vector<Slot> slots_;
};

}  // namespace basin
