// The positions of an index sorted by the row that they name: the inverse CSR (kernels/cuda/
// scatter.cu). Each row's list rises, so sums along it have a fixed order.
#pragma once
#include "basin/core/tensor.h"

namespace basin::cuda {

struct ByTarget {
  Tensor start;  // [rows + 1] i32
  Tensor order;  // [E] i32: positions of row n are order[start[n]] .. order[start[n + 1] - 1]
};
// index [E] i32, numbers 0..rows-1. `name`: the kernel that asks, for its launches.
ByTarget sort_by_target(const char* name, const Tensor& index, int64_t rows);

}  // namespace basin::cuda
