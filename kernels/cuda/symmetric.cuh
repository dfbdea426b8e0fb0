// Symmetric products on the device, batched: c = alpha a a^T + beta d + shift I, of which only the
// tiles on and below the diagonal are computed and written twice. A block makes a tile of 64 x 64
// through shared memory, a thread 4 x 4 of it. d is symmetric or null.
#pragma once
#include "basin/kernels/cuda/grid.cuh"

namespace basin::cuda {

inline constexpr int kSide = 64;  // of a tile

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
inline int64_t triangle_tiles(int64_t p) {
  const int64_t tiles = (p + kSide - 1) / kSide;
  return tiles * (tiles + 1) / 2;
}

template <class T>
struct SymmetricTerms {
  const T *a, *d;
  T* c;
  int64_t p, k;  // a [batch, p, k], c and d [batch, p, p]
  T alpha, beta, shift;
};

template <class T>
__global__ void symmetric_kernel(SymmetricTerms<T> s) {
  constexpr int kDepth = 16, kPitch = kSide + 1;  // the odd pitch spreads columns over the banks
  __shared__ T memory[kSide * kPitch];
  T *left = memory, *right = memory + kDepth * kPitch;  // [depth, pitch], and then the tile
  const TrianglePlace place = triangle_place(static_cast<int>(blockIdx.x));
  const int64_t row0 = int64_t{kSide} * place.row, column0 = int64_t{kSide} * place.column;
  const T* a = s.a + blockIdx.y * s.p * s.k;
  const int x = static_cast<int>(threadIdx.x % 16), y = static_cast<int>(threadIdx.x / 16);
  T sum[4][4] = {};
  for (int64_t k0 = 0; k0 < s.k; k0 += kDepth) {
    const bool inside = k0 + x < s.k;
    for (int u = 0; u < 4; ++u) {
      const int64_t r = row0 + y + 16 * u, c = column0 + y + 16 * u;
      left[x * kPitch + y + 16 * u] = inside && r < s.p ? a[r * s.k + k0 + x] : T(0);
      right[x * kPitch + y + 16 * u] = inside && c < s.p ? a[c * s.k + k0 + x] : T(0);
    }
    __syncthreads();
    for (int l = 0; l < kDepth; ++l) {
      T p[4], q[4];
      for (int u = 0; u < 4; ++u) {
        p[u] = left[l * kPitch + y + 16 * u];
        q[u] = right[l * kPitch + x + 16 * u];
      }
      for (int u = 0; u < 4; ++u) {
        for (int v = 0; v < 4; ++v) sum[u][v] += p[u] * q[v];
      }
    }
    __syncthreads();
  }
  T* c = s.c + blockIdx.y * s.p * s.p;
  const T* d = s.d ? s.d + blockIdx.y * s.p * s.p : nullptr;
  for (int u = 0; u < 4; ++u) {
    for (int v = 0; v < 4; ++v) {
      const int64_t i = row0 + y + 16 * u, j = column0 + x + 16 * v;
      if (i >= s.p || j >= s.p) continue;
      T out = s.alpha * sum[u][v];
      if (d) out += s.beta * d[i * s.p + j];
      if (i == j) out += s.shift;
      c[i * s.p + j] = out;
      memory[(y + 16 * u) * kPitch + x + 16 * v] = out;
    }
  }
  if (place.row == place.column) return;  // both halves are in the tile
  __syncthreads();
  for (int u = 0; u < 4; ++u) {  // the mirror image, again in rows
    for (int v = 0; v < 4; ++v) {
      const int64_t i = column0 + y + 16 * u, j = row0 + x + 16 * v;
      if (j < s.p) c[i * s.p + j] = memory[(x + 16 * v) * kPitch + y + 16 * u];
    }
  }
}

template <class T>
void symmetric_product(const char* name, int64_t batch, const SymmetricTerms<T>& s) {
  run(name, {grid_of(name, triangle_tiles(s.p), batch), dim3(256)}, symmetric_kernel<T>, s);
}

}  // namespace basin::cuda
