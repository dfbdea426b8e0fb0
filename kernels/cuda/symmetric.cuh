// Symmetric products on the device, batched: c = alpha a a^T + beta d + shift I, of which only the
// tiles on and below the diagonal are computed and written twice. d is symmetric or null. A block
// makes a square tile; its threads are four groups, and each takes a fourth of the depth. Where
// tiles do not fill a device the depth is cut once more, among blocks; the last of a tile's blocks
// adds the parts. Both sums are in the order of the depth.
#pragma once
#include "basin/kernels/cuda/grid.cuh"

namespace basin::cuda {

// Number `t` of the lower triangle's tiles, row by row: row and column.
struct TrianglePlace {
  int row, column;
};
__device__ inline TrianglePlace triangle_place(int t) {
  int row = static_cast<int>((sqrt(8.0 * t + 1) - 1) / 2);
  while (row * (row + 1) / 2 > t) --row;  // the root is rounded
  while ((row + 1) * (row + 2) / 2 <= t) ++row;
  return {row, t - row * (row + 1) / 2};
}
inline int64_t triangle_tiles(int64_t p, int64_t side) {
  const int64_t tiles = (p + side - 1) / side;
  return tiles * (tiles + 1) / 2;
}

// How the depth of a product is cut among blocks, and where they leave their parts.
struct Cut {
  int64_t length;  // of a part
  int count;
};
// `blocks` tiles of all matrices; lengths are multiples of `step`.
inline Cut cut_depth(int64_t blocks, int64_t depth, int64_t step) {
  constexpr int64_t kFull = 2 * 132;  // blocks that the largest device holds at a time
  const int64_t least = tile_length(64, step);
  const int64_t most = std::max<int64_t>(1, std::min(kFull / blocks, depth / least));
  const int64_t length = ((depth + most - 1) / most + step - 1) / step * step;
  return {length, static_cast<int>((depth + length - 1) / length)};
}
template <class Sum>
struct Parts {
  Sum* sum;           // [tiles of all matrices, parts, side, side]
  unsigned* arrived;  // [tiles of all matrices], zeros before and after a product
};

// Leaves element e of this block's part of tile `tile` as part(e), for e in [0, n), and tells
// whether the block is the last of the tile's; if so, total(e, sum) has had the sum of all parts.
template <class Sum, class Part, class Total>
__device__ bool add_parts(const Parts<Sum>& parts, int64_t tile, int part, int count, int n,
                          const Part& value, const Total& total) {
  __shared__ bool last;
  Sum* all = parts.sum + tile * count * n;
  const int step = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  for (int e = thread; e < n; e += step) all[part * n + e] = value(e);
  __threadfence();
  __syncthreads();
  if (thread == 0) {
    last = atomicAdd(parts.arrived + tile, 1u) == static_cast<unsigned>(count) - 1;
    if (last) parts.arrived[tile] = 0;
  }
  __syncthreads();
  if (!last) return false;
  __threadfence();
  for (int e = thread; e < n; e += step) {
    Sum sum = 0;
    for (int s = 0; s < count; ++s) sum += all[s * n + e];
    total(e, sum);
  }
  return true;
}

template <class T>
struct SymmetricTerms {
  const T *a, *d;
  T* c;
  int64_t p, k;  // a [batch, p, k], c and d [batch, p, p]
  T alpha, beta, shift;
};

// A thread makes kEdge x kEdge sums, a group of 64 threads a tile.
template <class T>
struct SymmetricPlan {
  static constexpr int kEdge = sizeof(T) == 4 ? 8 : 4, kSide = 8 * kEdge;
  static constexpr int kGroups = 4, kThreads = 64 * kGroups;
  static constexpr int kDepth = 4 * kGroups;         // of a step
  static constexpr int kPitch = kDepth + 4;          // an odd number of vectors: no bank twice
  static constexpr int kLoads = 2 * kSide / 64;      // vectors of a thread and step
  static constexpr int kStage = 2 * kSide * kPitch;  // rows of the left operand, then of the right
  static constexpr int kResultPitch = kSide + 1;
  static constexpr int kMemory = std::max(2 * kStage, kSide* kResultPitch);
};

template <class T>
struct alignas(16) Four {
  T v[4];
};

template <class T>
__global__ void __launch_bounds__(256, 2)
    symmetric_kernel(SymmetricTerms<T> s, Cut cut, Parts<T> parts, bool fours) {
  using P = SymmetricPlan<T>;
  constexpr int kEdge = P::kEdge, kSide = P::kSide, kPitch = P::kPitch;
  constexpr int kResultPitch = P::kResultPitch;
  __shared__ __align__(16) T memory[P::kMemory];
  const TrianglePlace place = triangle_place(static_cast<int>(blockIdx.x));
  const int64_t row0 = int64_t{kSide} * place.row, column0 = int64_t{kSide} * place.column;
  const T* a = s.a + blockIdx.y * s.p * s.k;
  const int thread = static_cast<int>(threadIdx.x), group = thread / 64;
  const int x = thread % 8, y = thread / 8 % 8;
  const int64_t begin = blockIdx.z * cut.length;
  const int64_t end = begin + cut.length < s.k ? begin + cut.length : s.k;

  // Vector e of a step: row e / 4 of both operands, quarter e % 4 of the depth.
  const auto load = [&](int64_t k0, Four<T>(&next)[P::kLoads]) {
    BASIN_UNROLL
    for (int u = 0; u < P::kLoads; ++u) {
      const int e = thread + P::kThreads * u, row = e / 4;
      const int64_t r = row < kSide ? row0 + row : column0 + row - kSide, k = k0 + e % 4 * 4;
      next[u] = {};
      if (r >= s.p) continue;
      const T* from = a + r * s.k + k;
      if (fours && k < end) {
        next[u] = *reinterpret_cast<const Four<T>*>(from);
      } else {
        for (int q = 0; q < 4; ++q) {
          if (k + q < end) next[u].v[q] = from[q];
        }
      }
    }
  };
  T sum[kEdge][kEdge] = {};
  Four<T> next[P::kLoads];
  load(begin, next);
  T* stage = memory;
  for (int64_t k0 = begin; k0 < end; k0 += P::kDepth) {
    BASIN_UNROLL
    for (int u = 0; u < P::kLoads; ++u) {
      const int e = thread + P::kThreads * u;
      *reinterpret_cast<Four<T>*>(stage + e / 4 * kPitch + e % 4 * 4) = next[u];
    }
    __syncthreads();  // the other stage has been read by all that arrive here
    if (k0 + P::kDepth < end) load(k0 + P::kDepth, next);
    const T *left = stage + y * kPitch + 4 * group, *right = left + (kSide + x - y) * kPitch;
    Four<T> b[kEdge];
    BASIN_UNROLL
    for (int v = 0; v < kEdge; ++v) {
      b[v] = *reinterpret_cast<const Four<T>*>(right + 8 * v * kPitch);
    }
    BASIN_UNROLL
    for (int u = 0; u < kEdge; ++u) {
      const Four<T> own = *reinterpret_cast<const Four<T>*>(left + 8 * u * kPitch);
      BASIN_UNROLL
      for (int q = 0; q < 4; ++q) {
        BASIN_UNROLL
        for (int v = 0; v < kEdge; ++v) sum[u][v] += own.v[q] * b[v].v[q];
      }
    }
    stage = stage == memory ? memory + P::kStage : memory;
  }
  for (int g = 0; g < P::kGroups; ++g) {
    __syncthreads();
    if (group != g) continue;
    BASIN_UNROLL
    for (int u = 0; u < kEdge; ++u) {
      BASIN_UNROLL
      for (int v = 0; v < kEdge; ++v) {
        T& out = memory[(y + 8 * u) * kResultPitch + x + 8 * v];
        out = g == 0 ? sum[u][v] : out + sum[u][v];
      }
    }
  }
  __syncthreads();
  const auto at = [&](int e) -> T& { return memory[e / kSide * kResultPitch + e % kSide]; };
  if (cut.count > 1) {
    const int64_t tile = static_cast<int64_t>(blockIdx.y) * gridDim.x + blockIdx.x;
    if (!add_parts(parts, tile, static_cast<int>(blockIdx.z), cut.count, kSide * kSide, at,
                   [&](int e, T total) { at(e) = total; })) {
      return;
    }
  }
  T* c = s.c + blockIdx.y * s.p * s.p;
  const T* d = s.d ? s.d + blockIdx.y * s.p * s.p : nullptr;
  for (int e = thread; e < kSide * kSide; e += P::kThreads) {
    const int64_t i = row0 + e / kSide, j = column0 + e % kSide;
    if (i >= s.p || j >= s.p) continue;
    T out = s.alpha * at(e);
    if (d) out += s.beta * d[i * s.p + j];
    if (i == j) out += s.shift;
    c[i * s.p + j] = out;
    at(e) = out;
  }
  if (place.row == place.column) return;  // both halves are in the tile
  __syncthreads();
  for (int e = thread; e < kSide * kSide; e += P::kThreads) {  // the mirror image, again in rows
    const int64_t i = column0 + e / kSide, j = row0 + e % kSide;
    if (j < s.p) c[i * s.p + j] = memory[e % kSide * kResultPitch + e / kSide];
  }
}

template <class T>
Cut symmetric_cut(int64_t batch, int64_t p, int64_t k) {
  using P = SymmetricPlan<T>;
  return cut_depth(batch * triangle_tiles(p, P::kSide), k, P::kDepth);
}
// Elements of Parts::sum, none where no depth is cut.
template <class T>
int64_t symmetric_parts(int64_t batch, int64_t p, int64_t k) {
  constexpr int64_t kSide = SymmetricPlan<T>::kSide;
  const Cut cut = symmetric_cut<T>(batch, p, k);
  return cut.count == 1 ? 0 : batch * triangle_tiles(p, kSide) * cut.count * kSide * kSide;
}

template <class T>
void symmetric_product(const char* name, int64_t batch, const SymmetricTerms<T>& s,
                       const Parts<T>& parts) {
  using P = SymmetricPlan<T>;
  const Cut cut = symmetric_cut<T>(batch, s.p, s.k);
  const bool fours = s.k % 4 == 0;  // matrices start at multiples of 16 bytes then
  run(name, {grid_of(name, triangle_tiles(s.p, P::kSide), batch, cut.count), dim3(P::kThreads)},
      symmetric_kernel<T>, s, cut, parts, fours);
}

}  // namespace basin::cuda
