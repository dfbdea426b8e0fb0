// CUDA reductions. A block of 256 threads owns one output element where rows are long. Where the
// inner axis is wide, neighbouring lanes own neighbouring outputs: of one matrix by tiles of rows
// (rows.cuh), of several by a block for 32 outputs of each, whose lanes share the rows; short axes
// by one thread. The order of the sums is fixed by the shape, so the bits are the same from run to
// run. Eight threads share an arg-max.
#include "basin/kernels/reduce.h"

#include "basin/kernels/cuda/extreme.cuh"
#include "basin/kernels/cuda/rows.cuh"

namespace basin {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kShort = 64;  // elements that one thread adds

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

// [n, inner] for each of blockIdx.x / slices, 32 columns of it to a block.
template <class T>
__global__ void sum_columns_kernel(const T* x, int64_t n, int64_t inner, int64_t slices, T* out) {
  __shared__ double part[1][cuda::kRowLanes][cuda::kChannelLanes];
  const int64_t outer = blockIdx.x / slices;
  const int64_t c = (blockIdx.x - outer * slices) * cuda::kChannelLanes + threadIdx.x;
  double sum = 0;
  if (c < inner) {
    const T* column = x + outer * n * inner + c;
    for (int64_t k = threadIdx.y; k < n; k += cuda::kRowLanes) {
      sum += static_cast<double>(column[k * inner]);
    }
  }
  part[0][threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || c >= inner) return;
  cuda::add_lanes(part, &sum);
  out[outer * inner + c] = static_cast<T>(sum);
}

template <class T>
void sum_axis(const T* x, AxisView v, T* out) {
  const char* name = ReduceSum::name;
  if (v.inner == 1 && v.n >= kShort) {
    const unsigned blocks = static_cast<unsigned>(std::min<int64_t>(v.outer, 65535));
    cuda::run(name, {blocks, kThreads}, sum_rows_kernel<T>, x, v.outer, v.n, out);
  } else if (v.outer == 1 && v.n >= kShort) {
    const int64_t inner = v.inner;
    cuda::finish_column_sums<1>(
        name, v.n, inner,
        [=] __device__(int64_t r, int64_t c, double* s) {
          s[0] += static_cast<double>(x[r * inner + c]);
        },
        [=] __device__(int64_t c, const double* s) { out[c] = static_cast<T>(s[0]); });
  } else if (v.n >= kShort) {
    const int64_t slices = (v.inner + cuda::kChannelLanes - 1) / cuda::kChannelLanes;
    cuda::run(name,
              {cuda::grid_of(name, v.outer * slices), dim3(cuda::kChannelLanes, cuda::kRowLanes)},
              sum_columns_kernel<T>, x, v.n, v.inner, slices, out);
  } else {
    cuda::map_elements(name, v.outer, v.inner, [=] __device__(int64_t o, int64_t c) {
      const T* column = x + o * v.n * v.inner + c;
      double sum = 0;
      for (int64_t k = 0; k < v.n; ++k) sum += static_cast<double>(column[k * v.inner]);
      out[o * v.inner + c] = static_cast<T>(sum);
    });
  }
}

using cuda::Found;
constexpr int kOutputs = 32, kParts = 8;  // of a block: outputs, threads that share one

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
      if (cuda::replaces(largest, next, best)) best = next;
    }
  }
  found[threadIdx.y][threadIdx.x] = best;
  __syncthreads();
  if (threadIdx.y != 0 || !own) return;
  for (int part = 1; part < kParts; ++part) {
    const Found<T> next = found[part][threadIdx.x];
    if (cuda::replaces(largest, next, best)) best = next;
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
