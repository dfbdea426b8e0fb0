// CUDA reductions. A block of 256 threads owns one output element when rows are long; one thread
// owns it when the inner axis is wide (neighbouring threads then read neighbouring addresses). The
// order of the sums is fixed by the shape: no atomics, same bits from run to run. Eight threads
// share an arg-max.
#include "basin/kernels/reduce.h"

#include "basin/kernels/cuda/grid.cuh"

namespace basin {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void sum_rows_kernel(const T* x, int64_t outer, int64_t n, T* out) {
  __shared__ double partial[kThreads];
  for (int64_t row = blockIdx.x; row < outer; row += gridDim.x) {
    double sum = 0;
    for (int64_t i = threadIdx.x; i < n; i += kThreads) sum += static_cast<double>(x[row * n + i]);
    partial[threadIdx.x] = sum;
    __syncthreads();
    for (int width = kThreads / 2; width > 0; width /= 2) {
      if (static_cast<int>(threadIdx.x) < width)
        partial[threadIdx.x] += partial[threadIdx.x + width];
      __syncthreads();
    }
    if (threadIdx.x == 0) out[row] = static_cast<T>(partial[0]);
    __syncthreads();
  }
}

template <class T>
void sum_axis(const T* x, AxisView v, T* out) {
  if (v.inner == 1 && v.n >= 64) {
    const unsigned blocks = static_cast<unsigned>(std::min<int64_t>(v.outer, 65535));
    cuda::run(ReduceSum::name, {blocks, kThreads}, sum_rows_kernel<T>, x, v.outer, v.n, out);
    return;
  }
  cuda::for_items(ReduceSum::name, v.outer * v.inner, [=] __device__(int64_t i) {
    const T* column = x + i / v.inner * v.n * v.inner + i % v.inner;
    double sum = 0;
    for (int64_t k = 0; k < v.n; ++k) sum += static_cast<double>(column[k * v.inner]);
    out[i] = static_cast<T>(sum);
  });
}

constexpr int kOutputs = 32, kParts = 8;  // of a block: outputs, threads that share one

template <class T>
struct Found {
  T value;
  int32_t at;  // -1: nothing
};
// Whether b replaces a: a total order, so that elements may be met in any order.
template <class T>
__device__ bool replaces(bool largest, const Found<T>& b, const Found<T>& a) {
  if (b.at < 0 || a.at < 0) return b.at >= 0;
  const bool earlier = b.at < a.at;
  if (b.value != b.value) return a.value == a.value || earlier;
  if (a.value != a.value) return false;
  return (largest ? b.value > a.value : b.value < a.value) || (b.value == a.value && earlier);
}

// Neighbouring lanes own neighbouring outputs; the threads of one output take every kParts-th
// element.
template <class T>
__global__ void arg_extreme_kernel(bool largest, const T* x, AxisView v, int32_t* index) {
  __shared__ Found<T> found[kParts][kOutputs];
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kOutputs + threadIdx.x;
  const bool own = i < v.outer * v.inner;
  Found<T> best{T(0), -1};
  if (own) {
    const T* column = x + i / v.inner * v.n * v.inner + i % v.inner;
    for (int64_t k = threadIdx.y; k < v.n; k += kParts) {
      const Found<T> next{column[k * v.inner], static_cast<int32_t>(k)};
      if (replaces(largest, next, best)) best = next;
    }
  }
  found[threadIdx.y][threadIdx.x] = best;
  __syncthreads();
  if (threadIdx.y != 0 || !own) return;
  for (int part = 1; part < kParts; ++part) {
    const Found<T> next = found[part][threadIdx.x];
    if (replaces(largest, next, best)) best = next;
  }
  index[i] = best.at;
}

template <class T>
void arg_extreme(bool largest, const T* x, AxisView v, int32_t* index) {
  const int64_t count = v.outer * v.inner;
  if (count == 0) return;
  const dim3 blocks = cuda::grid_of(ArgExtreme::name, (count + kOutputs - 1) / kOutputs);
  cuda::run(ArgExtreme::name, cuda::Grid{blocks, dim3(kOutputs, kParts)}, arg_extreme_kernel<T>,
            largest, x, v, index);
}

}  // namespace

void ReduceSum::cuda(const Tensor& x, AxisView view, Tensor& out) {
  if (out.numel() == 0) return;
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    sum_axis(cuda::in_ptr<T>(x), view, cuda::out_ptr<T>(out));
  });
}

void ArgExtreme::cuda(Extreme which, const Tensor& x, AxisView view, Tensor& index) {
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    arg_extreme(which == Extreme::max, cuda::in_ptr<T>(x), view, cuda::out_ptr<int32_t>(index));
  });
}

}  // namespace basin
