// Where the gradients of the edge messages are collected. The nodes are cut into tasks by the sizes
// only. A task sums the weights' gradients on its own; the partial sums are added in task order in
// double. The gradients of the neighbours' rows stay inside a cloud: a task of whole clouds writes
// them in place, tasks that share a cloud write partial sums which are added in task order. x- in
// comments is the cotangent of x.
#pragma once
#include <algorithm>

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/edge_message_tile.h"

namespace basin::edge {

// Sums over edges of the gradients of the weights.
template <class T>
struct WeightSums {
  T *w2, *w_c;                          // [d, ld]
  T *w_s, *b2, *w_a, *b_c, *w_x, *b_a;  // [ld], b_a [1]
  T *vectors, *tile;                    // w_s and the following, in one piece; one tile's share
};

// The cotangents that the backward pass of a tile leaves.
template <class T>
struct TileBars {
  T *phi, *delta;  // [n], [n, 3]: delta's through the shifts alone
  T *z3, *m;       // [n, ld]
  T *m0, *z2;      // [n, ld]; without attention m0 is m
  T* e1;           // [n, ld]
};
template <class T>
int64_t bars_scratch(const Sizes& s) {
  return s.tile_edges() * (5 * s.ld + 4) + 8 * kLanes<T>;
}
// keep: every array has memory of its own. Otherwise they overwrite each other and t's slopes.
template <class T>
TileBars<T> take_bars(const Sizes& s, bool keep, const Tile<T>& t, Scratch<T>& scratch);

// The backward pass of a tile down to e1-. ct: the row of its first node. What it gives to the
// weights is added to `sums`; with sums.w2 null only the cotangents are wanted.
template <class T>
void pull_tile(const Sizes& s, const Weights<T>& w, int64_t count, const T* ct, const Tile<T>& t,
               const TileBars<T>& bars, const WeightSums<T>& sums, T* packing);

// Gradients of the nodes' rows from the start of a cloud; p is written, r and x are added to.
template <class T>
struct NodeSums {
  T *p, *r, *x;
};
// From e1- to the nodes and w_s. row: [ld].
template <class T>
void pull_edges(const Sizes& s, const Weights<T>& w, const int32_t* index, int64_t first,
                int64_t count, const Tile<T>& t, const TileBars<T>& bars, const NodeSums<T>& nodes,
                const WeightSums<T>& sums, T* row);

struct Task {
  int64_t first_cloud, clouds;  // either several clouds
  int64_t first_node, nodes;    // or a part of the nodes of one
};

template <class T>
class Collector {
 public:
  Collector(const Sizes& s, EdgeMessageTensors& grads);
  int64_t tasks() const { return tasks_; }
  Task task(int64_t number) const;

  // Set to zero by the task that owns them.
  WeightSums<T> weight_sums(int64_t task, Scratch<T>& scratch) const;
  // Sums that nobody wants, without matrices.
  static WeightSums<T> no_sums(const Sizes& s, Scratch<T>& scratch);
  // Adds the tile's share of the vectors to the task's and clears it.
  void end_tile(const WeightSums<T>& sums) const;
  NodeSums<T> node_sums(int64_t task, int64_t cloud) const;

  void finish();  // the partial sums into the gradients

  static int64_t scratch_elements(const Sizes& s) { return vector_elements(s); }

 private:
  static int64_t vector_elements(const Sizes& s) { return 5 * s.ld + kLanes<T>; }
  int64_t weight_elements() const { return 2 * s_.d * s_.ld + vector_elements(s_); }
  void finish_weights();
  void finish_nodes();

  Sizes s_;
  EdgeMessageTensors& grads_;
  int64_t parts_, clouds_per_task_, part_nodes_, tasks_;
  Tensor weights_;        // [tasks, weight_elements]
  Tensor rows_, points_;  // [tasks, N, d], [tasks, N, 3] where tasks share clouds
  T* weight_data_;
  NodeSums<T> data_;  // of task or cloud 0
};

// run(first, count) for the tiles of a task, in each of its clouds
template <class Run>
void for_tiles(const Sizes& s, const Task& task, Run&& run) {
  const int64_t end = task.first_node + task.nodes;
  for (int64_t i = task.first_node; i < end; i += s.tile_nodes()) {
    run(i, std::min(s.tile_nodes(), end - i));
  }
}

}  // namespace basin::edge
