// Products of bf16 matrices on the tensor cores, batched, sums in f32: c = alpha a b + beta d with
// b [k, n], or b^T where b is [n, k]. All sides are multiples of 64, memory beyond the matrices
// holds zeros. A block of 4 warps makes a tile of 64 x 64, a warp 32 x 32 of it by fragments of 16
// x 16, while the next tiles are copied. The depth is cut among blocks as in symmetric.cuh.
// `symmetric`: a b^T with b = a; only the tiles on and below the diagonal, mirrored.
#pragma once
#include <cuda_bf16.h>
#include <cuda_pipeline.h>
#include <mma.h>

#include "basin/kernels/cuda/symmetric.cuh"

namespace basin::cuda {

struct Bf16Terms {
  const __nv_bfloat16 *a, *b, *d;  // d null: none
  __nv_bfloat16* c;
  int64_t m, n, k;
  float alpha, beta;
  bool symmetric;
};

inline constexpr int kSide = 64;  // of a tile

inline constexpr int kBf16Threads = 128;
// Rows start in different banks, still 16-byte aligned.
inline constexpr int kBf16Pitch = kSide + 8;

struct alignas(16) EightBf16 {
  __nv_bfloat16 v[8];
};

// tile [64, kBf16Pitch] <- 64 x 64 elements at `from`; there when the copies have been waited for.
__device__ inline void stage_tile(const __nv_bfloat16* from, int64_t stride, __nv_bfloat16* tile) {
  for (int i = static_cast<int>(threadIdx.x); i < kSide * kSide / 8; i += kBf16Threads) {
    const int row = i / 8, column = i % 8 * 8;
    __pipeline_memcpy_async(tile + row * kBf16Pitch + column, from + row * stride + column,
                            sizeof(EightBf16));
  }
}

template <bool kTransposed>
__global__ void __launch_bounds__(kBf16Threads)
    bf16_kernel(Bf16Terms s, Cut cut, Parts<float> parts) {
  using namespace nvcuda;
  using Left = wmma::fragment<wmma::matrix_a, 16, 16, 16, __nv_bfloat16, wmma::row_major>;
  using RightLayout = std::conditional_t<kTransposed, wmma::col_major, wmma::row_major>;
  using Right = wmma::fragment<wmma::matrix_b, 16, 16, 16, __nv_bfloat16, RightLayout>;
  using Sum = wmma::fragment<wmma::accumulator, 16, 16, 16, float>;
  constexpr int kPitch = kBf16Pitch, kFloatPitch = kSide + 4, kOperand = kSide * kPitch;
  __shared__ __align__(32) unsigned char memory[2 * 2 * kOperand * sizeof(__nv_bfloat16)];
  auto* stage = reinterpret_cast<__nv_bfloat16*>(memory);  // twice: left and right operand
  auto* result = reinterpret_cast<float*>(memory);         // [64, kFloatPitch], afterwards
  static_assert(kSide * kFloatPitch * sizeof(float) <= sizeof memory);

  const int64_t columns = s.n / kSide;
  TrianglePlace place{static_cast<int>(blockIdx.x / columns),
                      static_cast<int>(blockIdx.x % columns)};
  if (s.symmetric) place = triangle_place(static_cast<int>(blockIdx.x));
  const int64_t row0 = int64_t{kSide} * place.row, column0 = int64_t{kSide} * place.column;
  const __nv_bfloat16* a = s.a + blockIdx.y * s.m * s.k;
  const __nv_bfloat16* b = s.b + blockIdx.y * s.n * s.k;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32;
  const int r = warp / 2 * 32, c = warp % 2 * 32;  // the warp's part of the tile
  const int64_t begin = blockIdx.z * cut.length;
  const int64_t end = begin + cut.length < s.k ? begin + cut.length : s.k;
  const auto load = [&](int64_t k0, __nv_bfloat16* to) {
    stage_tile(a + row0 * s.k + k0, s.k, to);
    stage_tile(kTransposed ? b + column0 * s.k + k0 : b + k0 * s.n + column0,
               kTransposed ? s.k : s.n, to + kOperand);
  };
  Sum sum[2][2];
  for (auto& row : sum) {
    for (Sum& part : row) wmma::fill_fragment(part, 0.0f);
  }
  load(begin, stage);
  __pipeline_commit();
  for (int64_t k0 = begin; k0 < end; k0 += kSide) {
    const int turn = static_cast<int>((k0 - begin) / kSide % 2);
    const __nv_bfloat16 *left = stage + turn * 2 * kOperand, *right = left + kOperand;
    if (k0 + kSide < end) load(k0 + kSide, stage + (1 - turn) * 2 * kOperand);
    __pipeline_commit();
    __pipeline_wait_prior(1);  // all but the copies just begun
    __syncthreads();
    BASIN_UNROLL
    for (int l = 0; l < kSide; l += 16) {
      Left p[2];
      Right q[2];
      for (int u = 0; u < 2; ++u) {
        const int at = c + 16 * u;
        wmma::load_matrix_sync(p[u], left + (r + 16 * u) * kPitch + l, kPitch);
        wmma::load_matrix_sync(q[u], right + (kTransposed ? at * kPitch + l : l * kPitch + at),
                               kPitch);
      }
      for (int u = 0; u < 2; ++u) {
        for (int v = 0; v < 2; ++v) wmma::mma_sync(sum[u][v], p[u], q[v], sum[u][v]);
      }
    }
    __syncthreads();
  }
  for (int u = 0; u < 2; ++u) {
    for (int v = 0; v < 2; ++v) {
      wmma::store_matrix_sync(result + (r + 16 * u) * kFloatPitch + c + 16 * v, sum[u][v],
                              kFloatPitch, wmma::mem_row_major);
    }
  }
  __syncthreads();
  if (cut.count > 1) {
    const int64_t tile = static_cast<int64_t>(blockIdx.y) * gridDim.x + blockIdx.x;
    const auto at = [&](int e) -> float& { return result[e / kSide * kFloatPitch + e % kSide]; };
    if (!add_parts(parts, tile, static_cast<int>(blockIdx.z), cut.count, kSide * kSide, at,
                   [&](int e, float total) { at(e) = total; })) {
      return;
    }
    __syncthreads();
  }
  const int64_t matrix = blockIdx.y * s.m * s.n;
  for (int i = thread; i < kSide * kSide / 8; i += kBf16Threads) {
    const int row = i / 8, column = i % 8 * 8;
    const int64_t to = matrix + (row0 + row) * s.n + column0 + column;
    EightBf16 out, before{};
    if (s.d) before = *reinterpret_cast<const EightBf16*>(s.d + to);
    for (int q = 0; q < 8; ++q) {
      float& value = result[row * kFloatPitch + column + q];
      value *= s.alpha;
      if (s.d) value += s.beta * __bfloat162float(before.v[q]);
      out.v[q] = __float2bfloat16(value);
    }
    *reinterpret_cast<EightBf16*>(s.c + to) = out;
  }
  if (!s.symmetric || place.row == place.column) return;
  __syncthreads();
  for (int i = thread; i < kSide * kSide / 8; i += kBf16Threads) {
    // Neighbouring threads take neighbouring columns of the result, so that no bank is met twice.
    const int row = i % kSide, column = i / kSide * 8;
    EightBf16 out;
    for (int q = 0; q < 8; ++q) {
      out.v[q] = __float2bfloat16(result[(column + q) * kFloatPitch + row]);
    }
    *reinterpret_cast<EightBf16*>(s.c + matrix + (column0 + row) * s.n + row0 + column) = out;
  }
}

inline int64_t bf16_tiles(bool symmetric, int64_t m, int64_t n) {
  return symmetric ? triangle_tiles(m, kSide) : m / kSide * (n / kSide);
}
inline Cut bf16_cut(int64_t batch, bool symmetric, int64_t m, int64_t n, int64_t k) {
  return cut_depth(batch * bf16_tiles(symmetric, m, n), k, kSide);
}
// Elements of Parts::sum, none where no depth is cut.
inline int64_t bf16_parts(int64_t batch, bool symmetric, int64_t m, int64_t n, int64_t k) {
  const Cut cut = bf16_cut(batch, symmetric, m, n, k);
  return cut.count == 1 ? 0 : batch * bf16_tiles(symmetric, m, n) * cut.count * kSide * kSide;
}

inline void bf16_product(const char* name, int64_t batch, bool transposed, const Bf16Terms& s,
                         const Parts<float>& parts) {
  const Cut cut = bf16_cut(batch, s.symmetric, s.m, s.n, s.k);
  const Grid grid{grid_of(name, bf16_tiles(s.symmetric, s.m, s.n), batch, cut.count),
                  dim3(kBf16Threads)};
  if (transposed) {
    run(name, grid, bf16_kernel<true>, s, cut, parts);
  } else {
    run(name, grid, bf16_kernel<false>, s, cut, parts);
  }
}

}  // namespace basin::cuda
