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

// add(r, c, s) adds row r of channel c to the sums s [kSums].
template <int kSums, class Add>
__global__ void column_sums_kernel(int64_t rows, int64_t channels, int64_t tile_rows, Add add,
                                   double* partial) {
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
    double sum = 0;
    for (int lane = 0; lane < kRowLanes; ++lane) sum += part[k][lane][threadIdx.x];
    partial[(blockIdx.y * kSums + k) * channels + c] = sum;
  }
}

// total[i] = sum over the tiles t of partial[t * n + i]. Lanes of a block share the tiles of one
// column: one thread alone would wait for memory a thousand times.
template <class Real>
__global__ void add_tiles_kernel(const Real* partial, int64_t tiles, int64_t n, Real* total) {
  __shared__ Real part[kTileLanes][kChannelLanes];
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kChannelLanes + threadIdx.x;
  Real sum = 0;
  if (i < n) {
    for (int64_t t = threadIdx.y; t < tiles; t += kTileLanes) sum += partial[t * n + i];
  }
  part[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || i >= n) return;
  Real all = 0;
  for (int lane = 0; lane < kTileLanes; ++lane) all += part[lane][threadIdx.x];
  total[i] = all;
}

// [kinds, C] f64. Not in the templates: nvcc loses the braces of a shape beside a device lambda.
inline Tensor sum_storage(int64_t kinds, int64_t channels) {
  return Tensor::empty({kinds, channels}, DType::f64, Device::cuda);
}

// The sums as device code reads them.
struct SumView {
  const double* total;
  int64_t channels;
  __device__ double operator()(int64_t kind, int64_t c) const { return total[kind * channels + c]; }
};
inline SumView view(const Tensor& sums) {
  return sums.defined() ? SumView{in_ptr<double>(sums), sums.size(1)} : SumView{nullptr, 0};
}

// [kSums, C] f64; zero where there are no rows. Fewer rows per tile suit bodies that do much work
// per row: there are then more blocks.
template <int kSums, class Add>
Tensor column_sums(const char* name, int64_t rows, int64_t channels, Add add,
                   int64_t least_tile_rows = 512) {
  constexpr int64_t kMaxTiles = 1024;
  const int64_t tile_rows = std::max(least_tile_rows, (rows + kMaxTiles - 1) / kMaxTiles);
  const int64_t tiles = std::max<int64_t>(1, (rows + tile_rows - 1) / tile_rows);
  Tensor sums = sum_storage(kSums, channels), parts;
  if (channels == 0) return sums;
  double *total = out_ptr<double>(sums), *partial = total;
  if (tiles > 1) {
    parts = sum_storage(tiles * kSums, channels);
    partial = out_ptr<double>(parts);
  }
  const dim3 blocks = grid_of(name, (channels + kChannelLanes - 1) / kChannelLanes, tiles);
  const dim3 lanes(kChannelLanes, kRowLanes);
  run(name, Grid{blocks, lanes}, column_sums_kernel<kSums, Add>, rows, channels, tile_rows, add,
      partial);
  if (tiles == 1) return sums;
  const int64_t n = kSums * channels;
  const dim3 groups = grid_of(name, (n + kChannelLanes - 1) / kChannelLanes);
  run(name, Grid{groups, dim3(kChannelLanes, kTileLanes)}, add_tiles_kernel<double>, partial, tiles,
      n, total);
  return sums;
}

}  // namespace basin::cuda
