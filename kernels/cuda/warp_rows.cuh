// One warp per row: the lanes take every 32nd element, so neighbouring lanes read neighbouring
// addresses, and sums go through shuffles in a fixed order (kernels/row_maps.h).
#pragma once
#include <algorithm>

#include "basin/kernels/cuda/dual.cuh"
#include "basin/kernels/cuda/grid.cuh"
#include "basin/kernels/row_maps.h"

namespace basin::cuda {

struct WarpLanes {
  int lane;
  template <class F>
  __device__ void each(int64_t n, const F& f) const {
    for (int64_t i = lane; i < n; i += 32) f(i);
  }
  template <class F>
  __device__ double sum(int64_t n, const F& f) const {
    double total = 0;
    for (int64_t i = lane; i < n; i += 32) total += static_cast<double>(f(i));
    return warp_sum(total);
  }
  template <class T>
  __device__ T max(int64_t n, const T* x) const {
    T top = x[lane < n ? lane : 0];
    for (int64_t i = lane; i < n; i += 32) top = x[i] > top || x[i] != x[i] ? x[i] : top;
    for (int half = 16; half > 0; half /= 2) {
      const T other = __shfl_xor_sync(0xffffffffu, top, half);
      top = other > top || other != other ? other : top;
    }
    return top;
  }
};

inline constexpr int kRowThreads = 256;  // 8 rows at a time

template <class Body>
__global__ void rows_kernel(int64_t rows, Body body) {
  const int64_t step = gridDim.x * int64_t{kRowThreads / 32};
  const WarpLanes lanes{static_cast<int>(threadIdx.x % 32)};
  for (int64_t r = blockIdx.x * int64_t{kRowThreads / 32} + threadIdx.x / 32; r < rows; r += step) {
    body(lanes, r);
  }
}

// body(lanes, row) for all rows, each by one warp.
template <class Body>
void for_rows(const char* name, int64_t rows, Body body) {
  if (rows == 0) return;
  constexpr int64_t kRows = kRowThreads / 32, kMaxBlocks = 132 * 32;
  const int64_t blocks = std::min((rows + kRows - 1) / kRows, kMaxBlocks);
  run(name, {grid_of(name, blocks), dim3(kRowThreads)}, rows_kernel<Body>, rows, body);
}

}  // namespace basin::cuda
