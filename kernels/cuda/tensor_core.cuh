// Products of bf16 matrices on the tensor cores, batched, sums in f32: c = alpha a b + beta d with
// b [k, n], or b^T where b is [n, k]. All sides are multiples of 64, memory beyond the matrices
// holds zeros. A block of 4 warps makes a tile of 64 x 64, a warp 32 x 32 of it by fragments of 16
// x 16. `symmetric`: a b^T with b = a; only the tiles on and below the diagonal, mirrored.
#pragma once
#include <cuda_bf16.h>
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

// tile [64, kPitch] <- 64 x 64 elements at `from`
inline constexpr int kBf16Pitch =
    kSide + 8;  // rows start in different banks, still 16-byte aligned
__device__ inline void stage_tile(const __nv_bfloat16* from, int64_t stride, __nv_bfloat16* tile) {
  for (int i = static_cast<int>(threadIdx.x); i < kSide * kSide / 8; i += 128) {
    const int row = i / 8, column = i % 8 * 8;  // 8 elements are 16 bytes
    *reinterpret_cast<uint4*>(tile + row * kBf16Pitch + column) =
        *reinterpret_cast<const uint4*>(from + row * stride + column);
  }
}

template <bool kTransposed>
__global__ void bf16_kernel(Bf16Terms s) {
  using namespace nvcuda;
  using Left = wmma::fragment<wmma::matrix_a, 16, 16, 16, __nv_bfloat16, wmma::row_major>;
  using RightLayout = std::conditional_t<kTransposed, wmma::col_major, wmma::row_major>;
  using Right = wmma::fragment<wmma::matrix_b, 16, 16, 16, __nv_bfloat16, RightLayout>;
  using Sum = wmma::fragment<wmma::accumulator, 16, 16, 16, float>;
  constexpr int kPitch = kBf16Pitch, kFloatPitch = kSide + 4;
  __shared__ __align__(32) unsigned char memory[2 * kSide * kPitch * sizeof(__nv_bfloat16)];
  auto* left = reinterpret_cast<__nv_bfloat16*>(memory);
  auto* right = left + kSide * kPitch;
  auto* result = reinterpret_cast<float*>(memory);  // [64, kFloatPitch], afterwards
  static_assert(kSide * kFloatPitch * sizeof(float) <= sizeof memory);

  const int64_t columns = s.n / kSide;
  TrianglePlace place{static_cast<int>(blockIdx.x / columns),
                      static_cast<int>(blockIdx.x % columns)};
  if (s.symmetric) place = triangle_place(static_cast<int>(blockIdx.x));
  const int64_t row0 = int64_t{kSide} * place.row, column0 = int64_t{kSide} * place.column;
  const __nv_bfloat16* a = s.a + blockIdx.y * s.m * s.k;
  const __nv_bfloat16* b = s.b + blockIdx.y * s.n * s.k;
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int r = warp / 2 * 32, c = warp % 2 * 32;  // the warp's part of the tile
  Sum sum[2][2];
  for (auto& row : sum) {
    for (Sum& part : row) wmma::fill_fragment(part, 0.0f);
  }
  for (int64_t k0 = 0; k0 < s.k; k0 += kSide) {
    stage_tile(a + row0 * s.k + k0, s.k, left);
    stage_tile(kTransposed ? b + column0 * s.k + k0 : b + k0 * s.n + column0,
               kTransposed ? s.k : s.n, right);
    __syncthreads();
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
  const int64_t at = blockIdx.y * s.m * s.n;
  for (int i = static_cast<int>(threadIdx.x); i < kSide * kSide; i += 128) {
    const int64_t to = at + (row0 + i / kSide) * s.n + column0 + i % kSide;
    float& value = result[i / kSide * kFloatPitch + i % kSide];
    value *= s.alpha;
    if (s.d) value += s.beta * __bfloat162float(s.d[to]);
    s.c[to] = __float2bfloat16(value);
  }
  if (!s.symmetric || place.row == place.column) return;
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < kSide * kSide; i += 128) {
    const int64_t to = at + (column0 + i / kSide) * s.n + row0 + i % kSide;
    s.c[to] = __float2bfloat16(result[i % kSide * kFloatPitch + i / kSide]);
  }
}

inline void bf16_product(const char* name, int64_t batch, bool transposed, const Bf16Terms& s) {
  const int64_t tiles = s.symmetric ? triangle_tiles(s.m) : s.m / kSide * (s.n / kSide);
  const Grid grid{grid_of(name, tiles, batch), dim3(128)};
  if (transposed) {
    run(name, grid, bf16_kernel<true>, s);
  } else {
    run(name, grid, bf16_kernel<false>, s);
  }
}

}  // namespace basin::cuda
