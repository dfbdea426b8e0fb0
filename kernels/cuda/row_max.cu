// row_max on CUDA: a matrix product in tiles whose result never leaves the registers. A block holds
// 64 points x 128 channels, 8 x 8 of them per thread, and walks a run of 256 points of its cloud;
// the maxima of the runs are joined by whoever reads them. No library call: each product is one
// chain of multiply-adds over the depth, the same for every point, so that equal points give equal
// bits and a tie is a tie (a BLAS does not promise that), and nothing of size N x Cout is stored.
#include "basin/kernels/cuda/row_max.cuh"

namespace basin {
namespace {

using cuda::beats;
using cuda::Best;

constexpr int kPoints = 64, kChannels = 128;  // of a block's tile
constexpr int kEach = 8;                      // points and channels of a thread
constexpr int kHalf = kEach / 2;              // channels come in two runs, kChannels / 2 apart
constexpr int kChannelThreads = kChannels / kEach, kPointThreads = kPoints / kEach;
constexpr int kThreads = kChannelThreads * kPointThreads;
constexpr int kDepth = 32;  // of a tile in shared memory
constexpr int64_t kRunPoints = 256;

template <class T>
struct alignas(16) Quad {
  T v[kHalf];
};
template <class T>
__device__ const Quad<T>& quad_at(const T* p) {
  return *reinterpret_cast<const Quad<T>*>(p);
}

template <class T>
struct Problem {
  const T *x, *w, *gamma;
  int64_t points, depth, channels, runs;
};

// tile [depth, stride]: rows first .. first + count of `from` [rows, depth], columns d0 and on,
// zeros outside; scale(row) multiplies.
template <class T, class Scale>
__device__ void load_tile(const T* from, int64_t first, int64_t rows, int count, int64_t depth,
                          int64_t d0, int stride, const Scale& scale, T* tile) {
  for (int e = threadIdx.x; e < count * kDepth; e += kThreads) {
    const int64_t row = first + e / kDepth, d = d0 + e % kDepth;
    tile[e % kDepth * stride + e / kDepth] =
        row < rows && d < depth ? scale(row) * from[row * depth + d] : T(0);
  }
}

template <class T>
__device__ void multiply_tile(const T* x_tile, const T* w_tile, int x_stride, int w_stride,
                              int own_point, int own_channel, T (&sum)[kEach][kEach]) {
  for (int d = 0; d < kDepth; ++d) {
    Quad<T> x[2], w[2];
    for (int h = 0; h < 2; ++h) {
      x[h] = quad_at(x_tile + d * x_stride + own_point + h * kHalf);
      w[h] = quad_at(w_tile + d * w_stride + own_channel + h * kChannels / 2);
    }
    BASIN_UNROLL
    for (int i = 0; i < kEach; ++i) {
      BASIN_UNROLL
      for (int j = 0; j < kEach; ++j) {
        sum[i][j] += x[i / kHalf].v[i % kHalf] * w[j / kHalf].v[j % kHalf];
      }
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads) run_max_kernel(Problem<T> p, T* value, int32_t* where) {
  constexpr int kPad = 16 / sizeof(T), kPointStride = kPoints + kPad,
                kChannelStride = kChannels + kPad;
  T* x_tile = cuda::dynamic_shared<T>();       // [kDepth, kPointStride]
  T* w_tile = x_tile + kDepth * kPointStride;  // [kDepth, kChannelStride]
  const int64_t b = blockIdx.x / p.runs, run = blockIdx.x % p.runs;
  const int64_t first_channel = static_cast<int64_t>(blockIdx.y) * kChannels;
  const int own_channel = threadIdx.x % kChannelThreads * kHalf;
  const int own_point = threadIdx.x / kChannelThreads * kEach;
  const T* cloud = p.x + b * p.points * p.depth;
  const auto plain = [](int64_t) { return T(1); };
  const auto signs = [&](int64_t c) {
    return p.gamma[c] < T(0) ? T(-1) : p.gamma[c] > T(0) ? T(1) : T(0);
  };

  Best<T> best[kEach];
  const int64_t end = (run + 1) * kRunPoints < p.points ? (run + 1) * kRunPoints : p.points;
  for (int64_t n = run * kRunPoints; n < end; n += kPoints) {
    T sum[kEach][kEach] = {};
    for (int64_t d0 = 0; d0 < p.depth; d0 += kDepth) {
      __syncthreads();
      load_tile(cloud, n, end, kPoints, p.depth, d0, kPointStride, plain, x_tile);
      load_tile(p.w, first_channel, p.channels, kChannels, p.depth, d0, kChannelStride, signs,
                w_tile);
      __syncthreads();
      multiply_tile(x_tile, w_tile, kPointStride, kChannelStride, own_point, own_channel, sum);
    }
    BASIN_UNROLL
    for (int i = 0; i < kEach; ++i) {
      if (n + own_point + i >= end) break;
      BASIN_UNROLL
      for (int j = 0; j < kEach; ++j) {
        const Best<T> next{sum[i][j], static_cast<int32_t>(n + own_point + i)};
        if (beats(next, best[j])) best[j] = next;
      }
    }
  }

  // The tiles' memory now carries the maxima of the point groups, [groups, channels].
  __syncthreads();
  T* values = x_tile;
  int32_t* numbers = reinterpret_cast<int32_t*>(values + kPointThreads * kChannels);
  const int group = threadIdx.x / kChannelThreads;
  for (int j = 0; j < kEach; ++j) {
    const int c = own_channel + j % kHalf + j / kHalf * (kChannels / 2);
    values[group * kChannels + c] = best[j].value;
    numbers[group * kChannels + c] = best[j].point;
  }
  __syncthreads();
  const int64_t c = first_channel + threadIdx.x;
  if (c >= p.channels) return;
  Best<T> top;
  for (int g = 0; g < kPointThreads; ++g) {
    const int at = g * kChannels + static_cast<int>(threadIdx.x);
    const Best<T> next{values[at], numbers[at]};
    if (beats(next, top)) top = next;
  }
  value[blockIdx.x * p.channels + c] = top.value;
  where[blockIdx.x * p.channels + c] = top.point;
}
static_assert(kThreads == kChannels, "a thread finishes one channel");

Tensor per_run(int64_t runs, int64_t channels, DType dtype) {
  return Tensor::empty({runs, channels}, dtype, Device::cuda);
}

template <class T>
cuda::RunMaxima find_maxima(const char* name, const Problem<T>& p, int64_t batch) {
  cuda::RunMaxima m{per_run(batch * p.runs, p.channels, kDTypeOf<T>),
                    per_run(batch * p.runs, p.channels, DType::i32), p.runs};
  constexpr size_t kTiles = size_t{kDepth} * (kPoints + kChannels + 32 / sizeof(T)) * sizeof(T);
  constexpr size_t kMaxima = size_t{kPointThreads} * kChannels * (sizeof(T) + sizeof(int32_t));
  const dim3 blocks = cuda::grid_of(name, batch * p.runs, (p.channels + kChannels - 1) / kChannels);
  const cuda::Grid grid{blocks, dim3(kThreads), std::max(kTiles, kMaxima)};
  cuda::run(name, grid, run_max_kernel<T>, p, cuda::out_ptr<T>(m.value),
            cuda::out_ptr<int32_t>(m.place));
  return m;
}

}  // namespace

cuda::RunMaxima cuda::row_max(const char* name, const Tensor& x, const Tensor& w,
                              const Tensor& gamma) {
  const int64_t points = x.size(1);
  RunMaxima m;
  dispatch_float(x.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    const Problem<T> p{in_ptr<T>(x),
                       in_ptr<T>(w),
                       in_ptr<T>(gamma),
                       points,
                       x.size(2),
                       w.size(0),
                       (points + kRunPoints - 1) / kRunPoints};
    m = find_maxima(name, p, x.size(0));
  });
  return m;
}

}  // namespace basin
