// CUDA scatter_sum: the rows of x are sorted by target (count, scan, place, order each target's
// list), then one thread sums each output element in the order of the rows, as the CPU does. The
// integer atomics fix how many rows a target has and which ones; the lists are sorted afterwards,
// so the bits do not depend on the order in which the atomics arrive.
#include "basin/kernels/cuda/by_target.cuh"
#include "basin/kernels/cuda/grid.cuh"
#include "basin/kernels/index.h"

namespace basin {
namespace {

constexpr int kThreads = 256;

// start[n + 1] holds the count of target n on entry, the rows up to and with it on return. One
// block walks the targets in chunks of 16 per thread; within a chunk the sums go through shuffles.
__global__ void scan_kernel(int32_t* start, int64_t n) {
  constexpr int kRun = 16, kWarps = kThreads / 32;
  __shared__ int32_t warp_total[kWarps];
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  int32_t before = 0;  // rows of the chunks already done
  for (int64_t base = 0; base < n; base += kThreads * kRun) {
    const int64_t first = base + threadIdx.x * kRun;
    int32_t own[kRun], sum = 0;
    BASIN_UNROLL
    for (int k = 0; k < kRun; ++k) {
      own[k] = first + k < n ? start[first + k + 1] : 0;
      sum += own[k];
    }
    int32_t through = sum;  // of the lanes up to this one
    BASIN_UNROLL
    for (int apart = 1; apart < 32; apart *= 2) {
      const int32_t other = __shfl_up_sync(0xffffffffu, through, apart);
      if (lane >= apart) through += other;
    }
    if (lane == 31) warp_total[warp] = through;
    __syncthreads();
    int32_t value = before + through - sum;
    for (int w = 0; w < kWarps; ++w) {
      if (w < warp) value += warp_total[w];
      before += warp_total[w];
    }
    BASIN_UNROLL
    for (int k = 0; k < kRun; ++k) {
      value += own[k];
      if (first + k < n) start[first + k + 1] = value;
    }
    __syncthreads();  // the totals are read before the next chunk writes its own
  }
}

// Heap sort for long lists: no recursion, no extra memory, and a target that takes every row stays
// affordable. A short list, the usual one, is sorted by insertion.
__device__ inline void sift(int32_t* v, int64_t i, int64_t n) {
  const int32_t value = v[i];
  for (int64_t child = 2 * i + 1; child < n; child = 2 * i + 1) {
    if (child + 1 < n && v[child + 1] > v[child]) ++child;
    if (v[child] <= value) break;
    v[i] = v[child];
    i = child;
  }
  v[i] = value;
}
__device__ inline void sort_ascending(int32_t* v, int64_t n) {
  if (n <= 32) {
    for (int64_t i = 1; i < n; ++i) {
      const int32_t value = v[i];
      int64_t at = i;
      for (; at > 0 && v[at - 1] > value; --at) v[at] = v[at - 1];
      v[at] = value;
    }
    return;
  }
  for (int64_t i = n / 2; i-- > 0;) sift(v, i, n);
  for (int64_t last = n - 1; last > 0; --last) {
    const int32_t top = v[0];
    v[0] = v[last];
    v[last] = top;
    sift(v, 0, last);
  }
}

}  // namespace

void cuda::add_up(const char* name, int32_t* start, int64_t n) {
  run(name, {1, kThreads}, scan_kernel, start, n);
}

cuda::ByTarget cuda::sort_by_target(const char* name, const Tensor& index, int64_t rows) {
  constexpr int64_t kMost = 0x7fffffff;  // the lists hold positions in 32 bits
  check(index.numel() <= kMost && rows < kMost, name, ": ", index.numel(), " indices of ", rows,
        " rows, a GPU sorts at most ", kMost);
  ByTarget s{Tensor::zeros({rows + 1}, DType::i32, Device::cuda),
             Tensor::empty({index.numel()}, DType::i32, Device::cuda)};
  Tensor next = Tensor::empty({rows}, DType::i32, Device::cuda);
  const int32_t* target = in_ptr<int32_t>(index);
  int32_t* start = out_ptr<int32_t>(s.start);
  int32_t* order = out_ptr<int32_t>(s.order);
  int32_t* cursor = out_ptr<int32_t>(next);
  for_items(name, index.numel(),
            [=] __device__(int64_t e) { atomicAdd(start + target[e] + 1, 1); });
  add_up(name, start, rows);
  for_items(name, rows, [=] __device__(int64_t n) { cursor[n] = start[n]; });
  for_items(name, index.numel(), [=] __device__(int64_t e) {
    order[atomicAdd(cursor + target[e], 1)] = static_cast<int32_t>(e);
  });
  for_items(name, rows, [=] __device__(int64_t n) {
    sort_ascending(order + start[n], start[n + 1] - start[n]);
  });
  return s;
}

namespace {

template <class T>
void sum_lists(const T* x, const int32_t* start, const int32_t* order, int64_t width, T* out,
               int64_t n) {
  cuda::for_items(ScatterSum::name, n, [=] __device__(int64_t i) {
    const int64_t row = i / width, f = i % width;
    T sum = 0;
    for (int32_t k = start[row]; k < start[row + 1]; ++k) sum += x[order[k] * width + f];
    out[i] = sum;
  });
}

}  // namespace

void ScatterSum::cuda(const Tensor& x, const Tensor& index, Tensor& out) {
  check_index(index, out.size(0), 0, name);
  if (out.numel() == 0) return;
  const cuda::ByTarget sorted = cuda::sort_by_target(name, index, out.size(0));
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    sum_lists(cuda::in_ptr<T>(x), cuda::in_ptr<int32_t>(sorted.start),
              cuda::in_ptr<int32_t>(sorted.order), out.numel() / out.size(0), cuda::out_ptr<T>(out),
              out.numel());
  });
}

}  // namespace basin
