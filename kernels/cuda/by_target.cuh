// The positions of an index sorted by the row that they name: the inverse CSR (kernels/cuda/
// scatter.cu). Each row's list rises, so sums along it have a fixed order.
#pragma once
#include "basin/core/tensor.h"

namespace basin::cuda {

struct ByTarget {
  Tensor start;  // [rows + 1] i32
  Tensor order;  // [E] i32: positions of row n are order[start[n]] .. order[start[n + 1] - 1]
};
// counts [n] -> their running sums, in place: start[k + 1] holds the count of row k on entry, the
// sum up to and with it on return; start[0] stays. On the device.
void add_up(const char* name, int32_t* start, int64_t n);

// index [E] i32, numbers 0..rows-1. `name`: the kernel that asks, for its launches.
ByTarget sort_by_target(const char* name, const Tensor& index, int64_t rows);

// The edges into each point of clouds: index [B, N, k] i32 within the cloud, positions over the
// whole batch, rows b N + n. Where they are defined, degree [B, N] i32 gets their numbers and rows
// [B N k] i32 the row that each edge names. One launch, a block for each cloud, where the counts of
// a cloud fit 48 KiB of shared memory.
ByTarget sort_clouds(const char* name, const Tensor& index, Tensor& degree, Tensor& rows);

}  // namespace basin::cuda
