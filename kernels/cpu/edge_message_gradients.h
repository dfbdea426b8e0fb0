// Where the gradients of the edge messages are collected. The nodes are cut into tasks by the sizes
// only. A task sums the weights' gradients on its own; the partial sums are added in task order in
// double. The gradients of the neighbours' rows stay inside a cloud: a task of whole clouds writes
// them in place, tasks that share a cloud write partial sums which are added in task order.
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
  // Adds the tile's share of the vectors to the task's and clears it.
  void end_tile(const WeightSums<T>& sums) const;
  struct NodeSums {
    T *p, *r, *x;  // from the start of the cloud; p is written, r and x are added to
  };
  NodeSums node_sums(int64_t task, int64_t cloud) const;

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
  NodeSums data_;  // of task or cloud 0
};

// m [n, ld] <- M_i- for every edge of i; ct: the row of the first node
template <class T>
void spread_nodes(const Sizes& s, int64_t count, const T* ct, T* m);

// run(first, count) for the tiles of a task, in each of its clouds
template <class Run>
void for_tiles(const Sizes& s, const Task& task, Run&& run) {
  const int64_t end = task.first_node + task.nodes;
  for (int64_t i = task.first_node; i < end; i += s.tile_nodes()) {
    run(i, std::min(s.tile_nodes(), end - i));
  }
}

}  // namespace basin::edge
