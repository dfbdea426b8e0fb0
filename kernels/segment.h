// Edges grouped by one of their ends (CSR): what sums over the edges of a node walk along.
#pragma once
#include "basin/core/tensor.h"

namespace basin {

// The edges of node n are start[n] .. start[n + 1] - 1, in the order in which they were given.
struct EdgeGroups {
  Tensor start;  // [V + 1] i32
  Tensor node;   // [E] i32: the other end
  Tensor kind;   // [E] i32
};

struct GroupEdges {
  static constexpr const char* name = "group_edges";
  // key, node, kind [E] i32 -> the edges by their key, 0 <= key < nodes, in new tensors. usage
  // error for a key or a node outside (on a GPU: with BASIN_SYNC=1). A stable sort by counting.
  using Run = void(const Tensor& key, const Tensor& node, const Tensor& kind, int64_t nodes,
                   EdgeGroups& out);
  static Run cpu, cuda;
};

}  // namespace basin
