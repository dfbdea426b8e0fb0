// Clipping on the device. One launch sums the squares of many tensors: a block owns a tile of 8,192
// elements of one of them; a second kernel adds the partial sums tensor by tensor in tile order.
#include "basin/kernels/clip.h"

#include <cmath>

#include "basin/kernels/cuda/grid.cuh"

namespace basin {
namespace {

constexpr int64_t kTile = 8192;
constexpr int kThreads = 256;
constexpr int kMany = 160;  // tensors per launch: their table travels as an argument

struct Table {
  const void* x[kMany];
  int64_t n[kMany];
  int64_t first_tile[kMany + 1];
  int tensors;
};
static_assert(sizeof(Table) <= 4000, "the table must fit a kernel's arguments");

template <class T>
__global__ void square_tiles_kernel(Table table, double* partial) {
  __shared__ double part[kThreads];
  const int64_t tile = blockIdx.x;
  int k = 0;
  while (table.first_tile[k + 1] <= tile) ++k;
  const T* x = static_cast<const T*>(table.x[k]);
  const int64_t begin = (tile - table.first_tile[k]) * kTile;
  const int64_t end = begin + kTile < table.n[k] ? begin + kTile : table.n[k];
  double sum = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    const double v = static_cast<double>(x[i]);
    sum += v * v;
  }
  part[threadIdx.x] = sum;
  __syncthreads();
  for (int width = kThreads / 2; width > 0; width /= 2) {
    if (static_cast<int>(threadIdx.x) < width) part[threadIdx.x] += part[threadIdx.x + width];
    __syncthreads();
  }
  if (threadIdx.x == 0) partial[tile] = part[0];
}

template <class T>
void sum_squares(const Table& table, double* sums) {
  const int64_t tiles = table.first_tile[table.tensors];
  Tensor scratch = Tensor::empty({std::max<int64_t>(tiles, 1)}, DType::f64, Device::cuda);
  double* partial = cuda::out_ptr<double>(scratch);
  if (tiles > 0) {
    cuda::run(SquareSums::name, {cuda::grid_of(SquareSums::name, tiles), kThreads},
              square_tiles_kernel<T>, table, partial);
  }
  cuda::for_items(SquareSums::name, table.tensors, [=] __device__(int64_t k) {
    double sum = 0;
    for (int64_t t = table.first_tile[k]; t < table.first_tile[k + 1]; ++t) sum += partial[t];
    sums[k] = sum;
  });
}

template <class T>
void scale(const T* x, const double* factor, T* out, int64_t n) {
  cuda::for_items(ScaleBy::name, n,
                  [=] __device__(int64_t i) { out[i] = static_cast<T>(x[i] * *factor); });
}

// The type of the tensors from `first` on, up to kMany of the same one; undefined ones fit any.
DType take_some(const Tensors& x, size_t first, Table& table) {
  DType type = DType::f32;
  bool known = false;
  table.tensors = 0;
  table.first_tile[0] = 0;
  for (size_t i = first; i < x.size() && table.tensors < kMany; ++i) {
    if (x[i].defined() && known && x[i].dtype() != type) break;
    if (x[i].defined() && !known) {
      type = x[i].dtype();
      known = true;
    }
    const int k = table.tensors++;
    table.x[k] = cuda::in_ptr<void>(x[i]);
    table.n[k] = x[i].defined() ? x[i].numel() : 0;
    table.first_tile[k + 1] = table.first_tile[k] + (table.n[k] + kTile - 1) / kTile;
  }
  return type;
}

}  // namespace

void SquareSums::cuda(const Tensors& x, Tensor& sums) {
  double* out = cuda::out_ptr<double>(sums);
  for (size_t first = 0; first < x.size();) {
    Table table{};
    const DType type = take_some(x, first, table);
    dispatch_float(type, name, [&](auto t) { sum_squares<decltype(t)>(table, out + first); });
    first += static_cast<size_t>(table.tensors);
  }
}

void ClipFactor::cuda(const Tensor& sums, double max_norm, Tensor& factor) {
  const double* s = cuda::in_ptr<double>(sums);
  double* f = cuda::out_ptr<double>(factor);
  const int64_t n = sums.numel();
  cuda::for_items(name, 1, [=] __device__(int64_t) {
    double total = 0;
    for (int64_t i = 0; i < n; ++i) total += s[i];
    const double norm = sqrt(total);
    *f = norm > max_norm && norm < INFINITY ? max_norm / norm : 1;
  });
}

void ScaleBy::cuda(const Tensor& x, const Tensor& factor, Tensor& out) {
  dispatch_float(x.dtype(), name, [&](auto t) {
    using T = decltype(t);
    scale(cuda::in_ptr<T>(x), cuda::in_ptr<double>(factor), cuda::out_ptr<T>(out), x.numel());
  });
}

}  // namespace basin
