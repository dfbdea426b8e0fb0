// The k-d tree of nanoflann (Blanco and Rai, 2014), the strongest rival in three dimensions: a
// yardstick only, nothing of Basin links it. Without its header the case does without.
#pragma once
#include <cstdint>

#include "basin/core/tensor.h"

namespace basin::tools {

bool knn_tree_available();

// x [B, N, 3] f32 -> index [B, N, k] i32, the point itself among its neighbours: one tree per
// cloud with nanoflann's default leaves of 10 points, clouds shared among the threads.
void knn_by_tree(const Tensor& x, int64_t k, Tensor& index);

}  // namespace basin::tools
