// CUDA scatter_sum: the rows of x are sorted by target (count, scan, place, order each target's
// list), then one thread sums each output element in the order of the rows, as the CPU does. The
// integer atomics fix how many rows a target has and which ones; the lists are sorted afterwards,
// so the bits do not depend on the order in which the atomics arrive.
#include "basin/kernels/cuda/by_target.cuh"
#include "basin/kernels/cuda/elements.cuh"
#include "basin/kernels/index.h"
#include "basin/kernels/index_map.h"

namespace basin {
namespace {

constexpr int kThreads = 256;
constexpr int kMostThreads = 1024;

// The running sum of `own` over the threads of the block up to and with this one; `total` gets that
// of all. All threads take part.
__device__ inline int32_t sum_through(int32_t own, int32_t& total) {
  __shared__ int32_t warp_total[kMostThreads / 32];
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  int32_t through = own;  // of the lanes up to this one
  BASIN_UNROLL
  for (int apart = 1; apart < 32; apart *= 2) {
    const int32_t other = __shfl_up_sync(0xffffffffu, through, apart);
    if (lane >= apart) through += other;
  }
  if (lane == 31) warp_total[warp] = through;
  __syncthreads();
  total = 0;
  for (int w = 0; w < static_cast<int>(blockDim.x / 32); ++w) {
    if (w < warp) through += warp_total[w];
    total += warp_total[w];
  }
  __syncthreads();  // the totals are read before the next call writes its own
  return through;
}

// start[n + 1] holds the count of target n on entry, the rows up to and with it on return. One
// block walks the targets in chunks of 16 per thread; within a chunk the sums go through shuffles.
__global__ void scan_kernel(int32_t* start, int64_t n) {
  constexpr int kRun = 16;
  int32_t before = 0;  // rows of the chunks already done
  for (int64_t base = 0; base < n; base += kThreads * kRun) {
    const int64_t first = base + threadIdx.x * kRun;
    int32_t own[kRun], sum = 0, total = 0;
    BASIN_UNROLL
    for (int k = 0; k < kRun; ++k) {
      own[k] = first + k < n ? start[first + k + 1] : 0;
      sum += own[k];
    }
    int32_t value = before + sum_through(sum, total) - sum;
    before += total;
    BASIN_UNROLL
    for (int k = 0; k < kRun; ++k) {
      value += own[k];
      if (first + k < n) start[first + k + 1] = value;
    }
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

// A block for one cloud: counts in shared memory, their running sums, then each edge to the place
// that its point's cursor gives, and each list sorted. degree and rows may be null.
__global__ void __launch_bounds__(kMostThreads)
    sort_clouds_kernel(const int32_t* index, int64_t points, int64_t per_cloud, int32_t* degree,
                       int32_t* rows, int32_t* start, int32_t* order) {
  int32_t* cursor = cuda::dynamic_shared<int32_t>();  // [points]
  const int64_t first_point = blockIdx.x * points, first = blockIdx.x * per_cloud;
  for (int64_t p = threadIdx.x; p < points; p += blockDim.x) cursor[p] = 0;
  __syncthreads();
  for (int64_t e = threadIdx.x; e < per_cloud; e += blockDim.x) {
    const int32_t p = index[first + e];
    atomicAdd(cursor + p, 1);
    if (rows) rows[first + e] = static_cast<int32_t>(first_point) + p;
  }
  __syncthreads();
  int32_t before = 0;  // edges of the points already done
  for (int64_t base = 0; base < points; base += blockDim.x) {
    const int64_t p = base + threadIdx.x;
    const int32_t own = p < points ? cursor[p] : 0;
    int32_t total;
    const int32_t begin = before + sum_through(own, total) - own;
    before += total;
    if (p >= points) continue;
    cursor[p] = begin;
    if (degree) degree[first_point + p] = own;
    start[first_point + p] = static_cast<int32_t>(first) + begin;
  }
  if (blockIdx.x + 1 == gridDim.x && threadIdx.x == 0) {
    start[first_point + points] = static_cast<int32_t>(first + per_cloud);
  }
  __syncthreads();
  for (int64_t e = threadIdx.x; e < per_cloud; e += blockDim.x) {
    order[first + atomicAdd(cursor + index[first + e], 1)] = static_cast<int32_t>(first + e);
  }
  __syncthreads();  // a cursor is now where the next point's list begins
  for (int64_t p = threadIdx.x; p < points; p += blockDim.x) {
    const int32_t begin = p == 0 ? 0 : cursor[p - 1];
    sort_ascending(order + first + begin, cursor[p] - begin);
  }
}

void count_lists(const char* name, const int32_t* start, int32_t* degree, int64_t n) {
  cuda::for_items(name, n, [=] __device__(int64_t i) { degree[i] = start[i + 1] - start[i]; });
}

}  // namespace

cuda::ByTarget cuda::sort_clouds(const char* name, const Tensor& index, Tensor& degree,
                                 Tensor& rows) {
  const int64_t points = index.size(1), per_cloud = points * index.size(2);
  check(index.numel() < int64_t{1} << 31, name, ": more edges than an i32 counts, index ",
        index.shape());
  if (points > tile_length((48 << 10) / sizeof(int32_t), 48) || index.numel() == 0) {
    Tensor named = rows.defined() ? rows : Tensor::empty({index.numel()}, DType::i32, Device::cuda);
    CloudRows::cuda(index, per_cloud, points, named);
    ByTarget s = sort_by_target(name, named, index.size(0) * points);
    if (degree.defined()) {
      count_lists(name, in_ptr<int32_t>(s.start), out_ptr<int32_t>(degree), degree.numel());
    }
    return s;
  }
  const auto optional = [](Tensor& t) { return t.defined() ? out_ptr<int32_t>(t) : nullptr; };
  ByTarget s{Tensor::empty({index.size(0) * points + 1}, DType::i32, Device::cuda),
             Tensor::empty({index.numel()}, DType::i32, Device::cuda)};
  const Grid grid{grid_of(name, index.size(0)),
                  dim3(static_cast<unsigned>(tile_length(kMostThreads, 32))),
                  static_cast<size_t>(points) * sizeof(int32_t)};
  run(name, grid, sort_clouds_kernel, in_ptr<int32_t>(index), points, per_cloud, optional(degree),
      optional(rows), out_ptr<int32_t>(s.start), out_ptr<int32_t>(s.order));
  return s;
}

namespace {

template <class T>
void sum_lists(const T* x, const int32_t* start, const int32_t* order, int64_t width, T* out,
               int64_t rows) {
  cuda::map_elements(ScatterSum::name, rows, width, [=] __device__(int64_t row, int64_t f) {
    T sum = 0;
    for (int32_t k = start[row]; k < start[row + 1]; ++k) sum += x[order[k] * width + f];
    out[row * width + f] = sum;
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
              out.size(0));
  });
}

}  // namespace basin
