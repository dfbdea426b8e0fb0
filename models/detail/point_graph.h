// The k-nearest-neighbour graph of a batch of clouds as row numbers: edge (b, i, q) is row
// (b N + i) k + q and its value the row b N + j of its neighbour j. Every point has exactly k
// edges, so sums over them are reductions of [B N, k, ..] and need no segments.
#pragma once
#include "basin/core/tensor.h"

namespace basin {

// x [B, N, D] -> [B N k] i32, a constant; neighbours by rising distance, ties by rising number
Tensor neighbour_rows(const Tensor& x, int64_t k, bool include_self);
// Of lists that are there already: index [B, N, k] i32, numbers within the cloud
Tensor neighbour_rows(const Tensor& index);

}  // namespace basin
