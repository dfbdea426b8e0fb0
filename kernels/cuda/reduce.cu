// CUDA reductions. A block of 256 threads owns one output element when rows are long; one thread
// owns it when the inner axis is wide (neighbouring threads then read neighbouring addresses). The
// order of the sums is fixed by the shape: no atomics, same bits from run to run.
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

template <class T>
void arg_extreme(bool largest, const T* x, AxisView v, int32_t* index) {
  cuda::for_items(ArgExtreme::name, v.outer * v.inner, [=] __device__(int64_t i) {
    const T* column = x + i / v.inner * v.n * v.inner + i % v.inner;
    int32_t best = 0;
    for (int64_t k = 1; k < v.n; ++k) {
      const T candidate = column[k * v.inner], held = column[best * v.inner];
      if (held != held) break;  // the first NaN stays
      const bool wins = largest ? candidate > held : candidate < held;
      if (candidate != candidate || wins) best = static_cast<int32_t>(k);
    }
    index[i] = best;
  });
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
