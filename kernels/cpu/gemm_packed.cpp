// Packing and the choice of the register tile (gemm_tile.inc) for this machine.
#include "basin/kernels/cpu/gemm_packed.h"

#include <algorithm>
#include <cstring>

#include "basin/kernels/cpu/isa.h"
#include "basin/kernels/cpu/vectors.h"

namespace basin {
namespace {

template <class T>
constexpr int64_t kPanel = kPanelWidth<T>;

#if BASIN_HAS_X86_TILES
#define BASIN_ISA avx2
#define BASIN_ISA_TARGET BASIN_TARGET_AVX2
#define BASIN_ISA_BYTES 32
#define BASIN_ISA_VECTORS 2
#include "basin/kernels/cpu/gemm_tile.inc"

#define BASIN_ISA avx512
#define BASIN_ISA_TARGET BASIN_TARGET_AVX512
#define BASIN_ISA_BYTES 64
#define BASIN_ISA_VECTORS 4
#include "basin/kernels/cpu/gemm_tile.inc"
#endif

}  // namespace

bool has_packed_gemm() { return chosen_isa() != Isa::generic; }

const char* packed_gemm_name() {
  if (chosen_isa() == Isa::avx512) return "avx512";
  return chosen_isa() == Isa::avx2 ? "avx2" : "none";
}

template <class T>
void pack_panel(bool trans_b, const T* b, int64_t ldb, int64_t depth, int64_t cols, T* panel) {
  constexpr int64_t kWidth = kPanel<T>, kVector = 64 / sizeof(T);
  const int64_t padded = (cols + kVector - 1) / kVector * kVector;
  if (!trans_b) {
    for (int64_t l = 0; l < depth; ++l) {
      std::copy(b + l * ldb, b + l * ldb + cols, panel + l * kWidth);
      std::fill(panel + l * kWidth + cols, panel + l * kWidth + padded, T(0));
    }
    return;
  }
  transpose<T>(b, cols, depth, ldb, panel, kWidth);
  for (int64_t l = 0; l < depth; ++l) {
    std::fill(panel + l * kWidth + cols, panel + l * kWidth + padded, T(0));
  }
}

template <class T>
void pack_rows(const T* a, int64_t lda, int64_t rows, int64_t depth, T* packed) {
  // Some of k at a time, so that a line of A, which feeds several groups, is fetched once.
  constexpr int64_t kDepth = 16;
  for (int64_t first = 0; first < depth; first += kDepth) {
    const int64_t last = std::min(depth, first + kDepth);
    int64_t i = 0;
    T* to = packed;
    for (; i + kRegisterRows <= rows; i += kRegisterRows, to += kRegisterRows * depth) {
      for (int64_t l = first; l < last; ++l) {  // a constant size: a few vector moves
        std::memcpy(to + l * kRegisterRows, a + l * lda + i, kRegisterRows * sizeof(T));
      }
    }
    for (int64_t l = first; l < last && i < rows; ++l) {
      std::copy(a + l * lda + i, a + l * lda + rows, to + l * kRegisterRows);
    }
  }
}

template <class T>
void multiply_panel(const Block<T>& block, const T* panel, int64_t cols, T* c) {
#if BASIN_HAS_X86_TILES
  if (!block.addend.data) {
    Block<T> in_place = block;
    in_place.addend = {c, block.ldc};
    return multiply_panel<T>(in_place, panel, cols, c);
  }
  if (chosen_isa() == Isa::avx512) {
    avx512::panel<T>(block, panel, cols, c);
  } else {
    avx2::panel<T>(block, panel, cols, c);
  }
#else
  (void)block, (void)panel, (void)cols, (void)c;  // has_packed_gemm() is false
#endif
}

template void pack_panel(bool, const float*, int64_t, int64_t, int64_t, float*);
template void pack_panel(bool, const double*, int64_t, int64_t, int64_t, double*);
template void pack_rows(const float*, int64_t, int64_t, int64_t, float*);
template void pack_rows(const double*, int64_t, int64_t, int64_t, double*);
template void multiply_panel(const Block<float>&, const float*, int64_t, float*);
template void multiply_panel(const Block<double>&, const double*, int64_t, double*);

}  // namespace basin
