// Sums over rows in f64: tiles of rows whose sums are added in their order. A block adds a tile for
// 32 columns. No atomics, same bits from run to run.
#pragma once
#include "basin/kernels/cuda/grid.cuh"

namespace basin::cuda {

inline constexpr int kColumnLanes = 32, kRowLanes = 8;
__host__ __device__ inline int64_t column_tile() { return tile_length(1024, 128); }
inline int64_t column_tiles(int64_t rows) { return (rows + column_tile() - 1) / column_tile(); }

template <class Value>
__global__ void column_sums_kernel(int64_t rows, int64_t width, Value value, double* partial) {
  __shared__ double part[kRowLanes][kColumnLanes];
  const int64_t c = static_cast<int64_t>(blockIdx.y) * kColumnLanes + threadIdx.x;
  const int64_t first = blockIdx.x * column_tile();
  const int64_t last = first + column_tile() < rows ? first + column_tile() : rows;
  double sum = 0;
  if (c < width) {
    for (int64_t r = first + threadIdx.y; r < last; r += kRowLanes) {
      sum += static_cast<double>(value(r, c));
    }
  }
  part[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || c >= width) return;
  sum = 0;
  for (int lane = 0; lane < kRowLanes; ++lane) sum += part[lane][threadIdx.x];
  partial[blockIdx.x * width + c] = sum;
}

template <class T>
__global__ void add_parts_kernel(const T* part, int64_t parts, int64_t count, double* sum) {
  __shared__ double lanes[kRowLanes][kColumnLanes];
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kColumnLanes + threadIdx.x;
  double total = 0;
  if (i < count) {
    for (int64_t p = threadIdx.y; p < parts; p += kRowLanes) {
      total += static_cast<double>(part[p * count + i]);
    }
  }
  lanes[threadIdx.y][threadIdx.x] = total;
  __syncthreads();
  if (threadIdx.y != 0 || i >= count) return;
  total = sum[i];
  for (int lane = 0; lane < kRowLanes; ++lane) total += lanes[lane][threadIdx.x];
  sum[i] = total;
}

// sum [count] += the parts [parts, count]; the order is fixed: a lane's parts, then the lanes'.
template <class T>
void add_parts(const char* name, const T* part, int64_t parts, int64_t count, double* sum) {
  const dim3 blocks = grid_of(name, (count + kColumnLanes - 1) / kColumnLanes);
  run(name, {blocks, dim3(kColumnLanes, kRowLanes)}, add_parts_kernel<T>, part, parts, count, sum);
}

// sum [width] += sum over the rows of value(row, column); scratch: [column_tiles(rows), width].
template <class Value>
void add_columns(const char* name, int64_t rows, int64_t width, Value value, double* scratch,
                 double* sum) {
  const int64_t tiles = column_tiles(rows);
  if (tiles == 0) return;
  // Tiles of rows along x: its limit is 2^31, that of y 2^16.
  const dim3 blocks = grid_of(name, tiles, (width + kColumnLanes - 1) / kColumnLanes);
  run(name, {blocks, dim3(kColumnLanes, kRowLanes)}, column_sums_kernel<Value>, rows, width, value,
      scratch);
  add_parts(name, scratch, tiles, width, sum);
}

}  // namespace basin::cuda
