// Packing and the choice of the register tile (gemm_tile.inc) for this machine.
#include "basin/kernels/cpu/gemm_packed.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/gemm_amx.h"
#include "basin/kernels/cpu/isa.h"
#include "basin/kernels/cpu/vectors.h"

namespace basin {
namespace {

template <class T>
constexpr int64_t kPanel = kPanelWidth<T>;
constexpr int64_t kBlockDepth = 256;  // of plain panels

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
  switch (chosen_isa()) {
    case Isa::amx: return "amx";
    case Isa::avx512: return "avx512";
    case Isa::avx2: return "avx2";
    case Isa::generic: break;
  }
  return "none";
}

template <class T>
PanelForm panel_form(Factors factors, int64_t rows, int64_t cols, int64_t depth) {
  const bool tiles = std::is_same_v<T, float> && chosen_isa() == Isa::amx;
  if (!tiles || !amx::pays(rows, cols, depth)) return PanelForm::plain;
  return factors == Factors::bf16 ? PanelForm::bf16 : PanelForm::split;
}

int64_t block_depth(PanelForm form) {
  return form == PanelForm::plain ? kBlockDepth : amx::kBlockDepth;
}

int64_t block_rows(PanelForm form) {
  return form == PanelForm::plain ? 64 * kRegisterRows : amx::kBlockRows;
}

template <class T>
int64_t panel_size(PanelForm form, int64_t depth) {
  return form == PanelForm::plain ? depth * kPanel<T> : amx::split_size(form, kPanel<T>, depth);
}

template <class T>
int64_t rows_size(PanelForm form, int64_t rows, int64_t depth) {
  if (form != PanelForm::plain) return amx::split_size(form, rows, depth);
  return tile_count(rows, kRegisterRows) * kRegisterRows * depth;
}

template <class T>
void pack_panel(PanelForm form, bool trans_b, const T* b, int64_t ldb, int64_t depth, int64_t cols,
                T* panel) {
#if BASIN_HAS_AMX
  if constexpr (std::is_same_v<T, float>) {
    if (form != PanelForm::plain) return amx::pack_panel(form, trans_b, b, ldb, depth, cols, panel);
  }
#endif
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

namespace {

// Rows of A^T, where A(i, l) = a[l * lda + i].
template <class T>
void pack_groups(const T* a, int64_t lda, int64_t rows, int64_t depth, T* packed) {
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

}  // namespace

template <class T>
void pack_rows(Block<T>& q, T* packed) {
#if BASIN_HAS_AMX
  if constexpr (std::is_same_v<T, float>) {
    if (q.form != PanelForm::plain) {
      amx::split_rows(q, packed);
      q.a = packed;
      return;
    }
  }
#endif
  if (q.depth_stride == 1) return;
  pack_groups<T>(q.a, q.depth_stride, q.rows, q.depth, packed);
  q.a = packed;
  q.tile_stride = q.depth;
  q.row_stride = 1;
  q.depth_stride = kRegisterRows;
}

template <class T>
void multiply_panel(const Block<T>& block, const T* panel, int64_t cols, T* c) {
#if BASIN_HAS_X86_TILES
  if (!block.addend.data) {
    Block<T> in_place = block;
    in_place.addend = {c, block.ldc};
    return multiply_panel<T>(in_place, panel, cols, c);
  }
#if BASIN_HAS_AMX
  if constexpr (std::is_same_v<T, float>) {
    if (block.form != PanelForm::plain) return amx::multiply_panel(block, panel, cols, c);
  }
#endif
  if (chosen_isa() >= Isa::avx512) {
    avx512::panel<T>(block, panel, cols, c);
  } else {
    avx2::panel<T>(block, panel, cols, c);
  }
#else
  (void)block, (void)panel, (void)cols, (void)c;  // has_packed_gemm() is false
#endif
}

#define BASIN_PACKED_INSTANTIATE(T)                                                   \
  template PanelForm panel_form<T>(Factors, int64_t, int64_t, int64_t);               \
  template int64_t panel_size<T>(PanelForm, int64_t);                                 \
  template int64_t rows_size<T>(PanelForm, int64_t, int64_t);                         \
  template void pack_panel(PanelForm, bool, const T*, int64_t, int64_t, int64_t, T*); \
  template void pack_rows(Block<T>&, T*);                                             \
  template void multiply_panel(const Block<T>&, const T*, int64_t, T*);
BASIN_PACKED_INSTANTIATE(float)
BASIN_PACKED_INSTANTIATE(double)
#undef BASIN_PACKED_INSTANTIATE

}  // namespace basin
