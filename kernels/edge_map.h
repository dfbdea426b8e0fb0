// The linear map of an edge convolution taken apart: w [out, 2 in] acts on (x_j - x_i, x_i), so
//   w (x_j - x_i, x_i) = neighbour x_j + centre x_i,
//   neighbour = w[:, :in],   centre = w[:, in:] - w[:, :in],
// and the product with every point may come before the neighbours are gathered.
#pragma once
#include "basin/core/tensor.h"

namespace basin {

struct SplitEdgeMap {
  static constexpr const char* name = "split_edge_map";
  // w [out, 2 in] -> neighbour, centre [out, in]
  using Run = void(const Tensor& w, Tensor& neighbour, Tensor& centre);
  static Run cpu, cuda;
};

// The transpose: w[:, :in] = neighbour - centre, w[:, in:] = centre.
struct JoinEdgeMap {
  static constexpr const char* name = "join_edge_map";
  using Run = void(const Tensor& neighbour, const Tensor& centre, Tensor& w);
  static Run cpu, cuda;
};

}  // namespace basin
