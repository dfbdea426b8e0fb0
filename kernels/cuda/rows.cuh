// Passes over a matrix [rows, C], neighbouring lanes on neighbouring channels: for_rows, for_warps,
// and column sums in double. The sums are cut into row tiles that depend on the shape only; a block
// adds a tile for 32 channels, and the block that comes last adds the tiles. Both add in a fixed
// order: same bits from run to run. A body may also write what it finds on the way, so that its row
// is read once.
#pragma once
#include <type_traits>

#include "basin/kernels/cuda/elements.cuh"

namespace basin::cuda {

inline constexpr int kChannelLanes = 32, kRowLanes = 8;

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
// map_elements.
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

// Of each slice of 32 channels, the blocks that have left their tile's sums; zero between launches.
// Launches follow one another on the one stream, so they can share the counters.
inline constexpr int64_t kMostSlices = 4096;
static __device__ unsigned blocks_arrived[kMostSlices];

// Whether this block is the last of `blocks` that come here for the slice; what the others wrote
// before is then there to be read. Which block it is may differ from run to run, so what it does
// must not depend on it.
__device__ inline bool last_to_arrive(unsigned slice, unsigned blocks) {
  __shared__ bool last;
  __threadfence();  // this thread's writes, before the block counts as arrived
  __syncthreads();
  if (threadIdx.x == 0 && threadIdx.y == 0) {
    last = atomicAdd(blocks_arrived + slice, 1u) == blocks - 1;
    if (last) blocks_arrived[slice] = 0;
  }
  __syncthreads();
  if (last) __threadfence();  // the others' writes, before this thread reads them
  return last;
}

// s[k] = sum over the lanes of part[k][lane][this column].
template <int kSums, int kLanes>
__device__ void add_lanes(const double (&part)[kSums][kLanes][kChannelLanes], double* s) {
  for (int k = 0; k < kSums; ++k) {
    s[k] = 0;
    for (int lane = 0; lane < kLanes; ++lane) s[k] += part[k][lane][threadIdx.x];
  }
}

struct NoMap {};

// add(r, c, s) adds row r of channel c to the sums s [kSums]; finish(c, s) gets the sums over all
// rows; then map(r, c) for all elements, where one tile holds all rows. Where there are several
// tiles of rows, their sums go to partial [tiles, kSums, C], and the block that comes last adds
// them: the lanes of a block share the tiles of one column, since one thread alone would wait for
// memory a thousand times.
template <int kSums, class Add, class Finish, class Map>
__global__ void column_sums_kernel(int64_t rows, int64_t channels, int64_t tile_rows, Add add,
                                   double* partial, Finish finish, Map map) {
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
  const bool own = threadIdx.y == 0 && c < channels;
  if (own) add_lanes(part, s);
  if (partial != nullptr) {
    if (own) {
      for (int k = 0; k < kSums; ++k) partial[(blockIdx.y * kSums + k) * channels + c] = s[k];
    }
    if (!last_to_arrive(blockIdx.x, gridDim.y)) return;
    for (int k = 0; k < kSums; ++k) s[k] = 0;
    if (c < channels) {
      for (int64_t t = threadIdx.y; t < gridDim.y; t += kRowLanes) {
        BASIN_UNROLL
        for (int k = 0; k < kSums; ++k) s[k] += partial[(t * kSums + k) * channels + c];
      }
    }
    for (int k = 0; k < kSums; ++k) part[k][threadIdx.y][threadIdx.x] = s[k];
    __syncthreads();
    if (own) add_lanes(part, s);
  }
  if (own) finish(c, s);
  if constexpr (!std::is_same_v<Map, NoMap>) {
    __syncthreads();
    if (c >= channels) return;
    for (int64_t r = threadIdx.y; r < rows; r += kRowLanes) map(r, c);
  }
}

// [kinds, C] f64. Not in the templates: nvcc loses the braces of a shape beside a device lambda.
inline Tensor sum_storage(int64_t kinds, int64_t channels) {
  return Tensor::empty({kinds, channels}, DType::f64, Device::cuda);
}

// finish(c, s) for every channel with the sums over the rows, zero where there are none, in one
// launch. Fewer rows per tile suit bodies that do much work per row: there are then more blocks.
template <int kSums, class Add, class Finish>
void finish_column_sums(const char* name, int64_t rows, int64_t channels, Add add, Finish finish,
                        int64_t least_tile_rows = 512) {
  if (channels == 0) return;
  constexpr int64_t kMaxTiles = 1024;
  const int64_t least = tile_length(least_tile_rows, std::min<int64_t>(least_tile_rows, 16));
  const int64_t tile_rows = std::max(least, (rows + kMaxTiles - 1) / kMaxTiles);
  const int64_t tiles = std::max<int64_t>(1, (rows + tile_rows - 1) / tile_rows);
  const Tensor parts = tiles > 1 ? sum_storage(tiles * kSums, channels) : Tensor();
  double* partial = const_cast<double*>(in_ptr<double>(parts));
  const int64_t slices = (channels + kChannelLanes - 1) / kChannelLanes;
  check(tiles == 1 || slices <= kMostSlices, name, ": ", channels,
        " channels, a GPU sums the rows of at most ", kMostSlices * kChannelLanes);
  run(name, Grid{grid_of(name, slices, tiles), dim3(kChannelLanes, kRowLanes)},
      column_sums_kernel<kSums, Add, Finish, NoMap>, rows, channels, tile_rows, add, partial,
      finish, NoMap{});
}

// finish_column_sums, then map(r, c) for the elements of all rows and channels, which may read what
// finish has written: one launch for few rows, else two.
template <int kSums, class Add, class Finish, class Map>
void map_by_column_sums(const char* name, int64_t rows, int64_t channels, Add add, Finish finish,
                        Map map) {
  const int64_t most = tile_length(512, 24);  // rows of the one tile
  if (rows > most || channels == 0) {
    finish_column_sums<kSums>(name, rows, channels, add, finish);
    map_elements(name, rows, channels, map);
    return;
  }
  double* none = nullptr;
  run(name,
      Grid{grid_of(name, (channels + kChannelLanes - 1) / kChannelLanes),
           dim3(kChannelLanes, kRowLanes)},
      column_sums_kernel<kSums, Add, Finish, Map>, rows, channels, most, add, none, finish, map);
}

}  // namespace basin::cuda
