// Stands in for the CUDA toolkit's header of this name: warp-wide 16 x 16 x 16 products. Every lane
// keeps whole operands and the 8 elements of the result whose number is its own modulo 32; which
// lane holds what is not specified on the device either.
#pragma once
#include "basin/tests/emulation/cuda_bf16.h"
#include "basin/tests/emulation/device_functions.h"

namespace nvcuda::wmma {

struct matrix_a {};
struct matrix_b {};
struct accumulator {};
struct row_major {};
struct col_major {};
enum layout_t { mem_row_major, mem_col_major };

template <class Use, int m, int n, int k, class T, class Layout = void>
struct fragment {
  static_assert(m == 16 && n == 16 && k == 16);
  float value[16][16];  // row, column
};
template <class T>
struct fragment<accumulator, 16, 16, 16, T> {
  T value[8];
};

template <class T>
void fill_fragment(fragment<accumulator, 16, 16, 16, T>& f, float v) {
  for (T& x : f.value) x = v;
}

template <class Use, class Layout>
void load_matrix_sync(fragment<Use, 16, 16, 16, __nv_bfloat16, Layout>& f, const __nv_bfloat16* p,
                      unsigned stride) {
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 16; ++j) {
      constexpr bool kRows = std::is_same_v<Layout, row_major>;
      f.value[i][j] = __bfloat162float(kRows ? p[i * stride + j] : p[j * stride + i]);
    }
  }
}

template <class LayoutA, class LayoutB>
void mma_sync(fragment<accumulator, 16, 16, 16, float>& d,
              const fragment<matrix_a, 16, 16, 16, __nv_bfloat16, LayoutA>& a,
              const fragment<matrix_b, 16, 16, 16, __nv_bfloat16, LayoutB>& b,
              const fragment<accumulator, 16, 16, 16, float>& c) {
  for (int e = 0; e < 8; ++e) {
    const int at = 32 * e + basin::emu::lane_id();
    float sum = c.value[e];
    for (int l = 0; l < 16; ++l) sum += a.value[at / 16][l] * b.value[l][at % 16];
    d.value[e] = sum;
  }
}

inline void store_matrix_sync(float* p, const fragment<accumulator, 16, 16, 16, float>& f,
                              unsigned stride, layout_t layout) {
  for (int e = 0; e < 8; ++e) {
    const int at = 32 * e + basin::emu::lane_id();
    const int i = at / 16, j = at % 16;
    p[layout == mem_row_major ? i * stride + j : j * stride + i] = f.value[e];
  }
}

}  // namespace nvcuda::wmma
