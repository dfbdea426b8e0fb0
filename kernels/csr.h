// The positions of an index sorted by the row that they name, in compressed rows: what sums over
// the edges of a node walk along. Stable: the positions of one row rise, so such sums have one
// order on every device and for any number of threads.
#pragma once
#include "basin/core/tensor.h"

namespace basin {

struct SortByRow {
  static constexpr const char* name = "sort_by_row";
  // index [E] i32, numbers 0..rows-1 (usage error outside; on a GPU with BASIN_SYNC=1) ->
  // offsets [rows + 1] i32, order [E] i32: row n has the positions order[offsets[n]] ..
  // order[offsets[n + 1] - 1]
  using Run = void(const Tensor& index, Tensor& offsets, Tensor& order);
  static Run cpu, cuda;
};

struct SortClouds {
  static constexpr const char* name = "sort_clouds";
  // Neighbour lists index [B, N, k] i32, numbers 0..N-1 within the cloud (usage error outside; on a
  // GPU with BASIN_SYNC=1) -> sender [B N k] i32, what they name as rows of the batch, and the
  // edges by sender: offsets [B N + 1], order [B N k] i32 as of SortByRow. All new tensors.
  using Run = void(const Tensor& index, Tensor& sender, Tensor& offsets, Tensor& order);
  static Run cpu, cuda;
};

}  // namespace basin
