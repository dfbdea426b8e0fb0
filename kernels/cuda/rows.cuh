// Passes over a matrix [rows, C], neighbouring lanes on neighbouring channels: for_rows, for_warps,
// and column sums in double. The sums are cut into row tiles that depend on the shape only; a block
// adds a tile for 32 channels, a second kernel adds the tiles. Both add in a fixed order: no
// atomics, same bits from run to run. A body may also write what it finds on the way, so that its
// row is read once.
#pragma once
#include "basin/kernels/cuda/grid.cuh"

namespace basin::cuda {

inline constexpr int kChannelLanes = 32, kRowLanes = 8, kTileLanes = 16;

template <class Body>
__global__ void rows_kernel(int64_t rows, int64_t channels, Body body) {
  const int64_t c = static_cast<int64_t>(blockIdx.x) * kChannelLanes + threadIdx.x;
  if (c >= channels) return;
  const int64_t step = static_cast<int64_t>(gridDim.y) * kRowLanes;
  for (int64_t r = static_cast<int64_t>(blockIdx.y) * kRowLanes + threadIdx.y; r < rows;
       r += step) {
    body(r, c);
  }
}

// body(r, c) for every row and channel: for bodies that loop over other rows. A plain map is
// for_items, which wastes no lanes where C is small.
template <class Body>
void for_rows(const char* name, int64_t rows, int64_t channels, Body body) {
  if (rows * channels == 0) return;
  const int64_t groups = std::min<int64_t>((rows + kRowLanes - 1) / kRowLanes, 65535);
  const dim3 blocks = grid_of(name, (channels + kChannelLanes - 1) / kChannelLanes, groups);
  run(name, Grid{blocks, dim3(kChannelLanes, kRowLanes)}, rows_kernel<Body>, rows, channels, body);
}

template <class Body>
__global__ void warps_kernel(int64_t n, Body body) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.y;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y; i < n; i += step) {
    body(i, static_cast<int>(threadIdx.x));
  }
}

// body(i, lane) for i in [0, n), by the 32 lanes of a warp together.
template <class Body>
void for_warps(const char* name, int64_t n, Body body) {
  if (n == 0) return;
  constexpr int64_t kMaxBlocks = 132 * 32;  // as for_items
  const int64_t blocks = std::min((n + kRowLanes - 1) / kRowLanes, kMaxBlocks);
  run(name, Grid{grid_of(name, blocks), dim3(kChannelLanes, kRowLanes)}, warps_kernel<Body>, n,
      body);
}

// The sum over the lanes, in each of them the same bits: the tree of additions is symmetric.
__device__ inline double warp_sum(double v) {
  BASIN_UNROLL
  for (int apart = kChannelLanes / 2; apart > 0; apart /= 2) {
    v += __shfl_xor_sync(0xffffffffu, v, apart);
  }
  return v;
}

// add(r, c, s) adds row r of channel c to the sums s [kSums]. Where one tile holds all rows,
// finish(c, s) gets the sums; else they go to partial [tiles, kSums, C].
template <int kSums, class Add, class Finish>
__global__ void column_sums_kernel(int64_t rows, int64_t channels, int64_t tile_rows, Add add,
                                   double* partial, Finish finish) {
  __shared__ double part[kSums][kRowLanes][kChannelLanes];
  const int64_t c = static_cast<int64_t>(blockIdx.x) * kChannelLanes + threadIdx.x;
  const int64_t first = blockIdx.y * tile_rows;
  const int64_t last = first + tile_rows < rows ? first + tile_rows : rows;
  double s[kSums] = {};
  if (c < channels) {
    for (int64_t r = first + threadIdx.y; r < last; r += kRowLanes) add(r, c, s);
  }
  for (int k = 0; k < kSums; ++k) part[k][threadIdx.y][threadIdx.x] = s[k];
  __syncthreads();
  if (threadIdx.y != 0 || c >= channels) return;
  for (int k = 0; k < kSums; ++k) {
    s[k] = 0;
    for (int lane = 0; lane < kRowLanes; ++lane) s[k] += part[k][lane][threadIdx.x];
  }
  if (partial == nullptr) {
    finish(c, s);
    return;
  }
  for (int k = 0; k < kSums; ++k) partial[(blockIdx.y * kSums + k) * channels + c] = s[k];
}

// finish(c, s) with s[k] = sum over the tiles t of partial[t, k, c]. Lanes of a block share the
// tiles of one column: one thread alone would wait for memory a thousand times.
template <int kSums, class Finish>
__global__ void finish_sums_kernel(const double* partial, int64_t tiles, int64_t channels,
                                   Finish finish) {
  __shared__ double part[kSums][kTileLanes][kChannelLanes];
  const int64_t c = static_cast<int64_t>(blockIdx.x) * kChannelLanes + threadIdx.x;
  double s[kSums] = {};
  if (c < channels) {
    for (int64_t t = threadIdx.y; t < tiles; t += kTileLanes) {
      BASIN_UNROLL
      for (int k = 0; k < kSums; ++k) s[k] += partial[(t * kSums + k) * channels + c];
    }
  }
  for (int k = 0; k < kSums; ++k) part[k][threadIdx.y][threadIdx.x] = s[k];
  __syncthreads();
  if (threadIdx.y != 0 || c >= channels) return;
  for (int k = 0; k < kSums; ++k) {
    s[k] = 0;
    for (int lane = 0; lane < kTileLanes; ++lane) s[k] += part[k][lane][threadIdx.x];
  }
  finish(c, s);
}

// [kinds, C] f64. Not in the templates: nvcc loses the braces of a shape beside a device lambda.
inline Tensor sum_storage(int64_t kinds, int64_t channels) {
  return Tensor::empty({kinds, channels}, DType::f64, Device::cuda);
}

// finish(c, s) for every channel with the sums over the rows, zero where there are none: one launch
// where one tile holds them, else two. Fewer rows per tile suit bodies that do much work per row:
// there are then more blocks.
template <int kSums, class Add, class Finish>
void finish_column_sums(const char* name, int64_t rows, int64_t channels, Add add, Finish finish,
                        int64_t least_tile_rows = 512) {
  if (channels == 0) return;
  constexpr int64_t kMaxTiles = 1024;
  const int64_t tile_rows = std::max(least_tile_rows, (rows + kMaxTiles - 1) / kMaxTiles);
  const int64_t tiles = std::max<int64_t>(1, (rows + tile_rows - 1) / tile_rows);
  const Tensor parts = tiles > 1 ? sum_storage(tiles * kSums, channels) : Tensor();
  double* partial = const_cast<double*>(in_ptr<double>(parts));
  const int64_t slices = (channels + kChannelLanes - 1) / kChannelLanes;
  run(name, Grid{grid_of(name, slices, tiles), dim3(kChannelLanes, kRowLanes)},
      column_sums_kernel<kSums, Add, Finish>, rows, channels, tile_rows, add, partial, finish);
  if (tiles == 1) return;
  run(name, Grid{grid_of(name, slices), dim3(kChannelLanes, kTileLanes)},
      finish_sums_kernel<kSums, Finish>, partial, tiles, channels, finish);
}

// Keeps the sums as they are.
template <int kSums>
struct StoreSums {
  double* total;  // [kSums, C]
  int64_t channels;
  __device__ void operator()(int64_t c, const double* s) const {
    for (int k = 0; k < kSums; ++k) total[k * channels + c] = s[k];
  }
};

// [kSums, C] f64
template <int kSums, class Add>
Tensor column_sums(const char* name, int64_t rows, int64_t channels, Add add,
                   int64_t least_tile_rows = 512) {
  Tensor sums = sum_storage(kSums, channels);
  const StoreSums<kSums> store{out_ptr<double>(sums), channels};
  finish_column_sums<kSums>(name, rows, channels, add, store, least_tile_rows);
  return sums;
}

}  // namespace basin::cuda
