// Packing and the choice of the register tile (gemm_tile.inc) for this machine.
#include "basin/kernels/cpu/gemm_packed.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <type_traits>

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/gemm_amx.h"
#include "basin/kernels/cpu/hot.h"
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

#define BASIN_ISA avx512_bf16
#define BASIN_ISA_TARGET BASIN_TARGET_AVX512_BF16
#define BASIN_ISA_BYTES 64
#define BASIN_ISA_VECTORS 4
#define BASIN_ISA_PAIRS
namespace avx512_bf16 {
typedef float Floats __attribute__((vector_size(64), may_alias, aligned(4)));
BASIN_TARGET_AVX512_BF16 inline Floats fill(float x) {  // moves bits: a pair may look like a NaN
  return Floats{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}
}  // namespace avx512_bf16
#include "basin/kernels/cpu/gemm_tile.inc"
#endif

// Products of pairs of bf16 numbers without tile registers: twice as many as of f32 ones.
bool multiplies_pairs() {
#if BASIN_HAS_X86_TILES
  static const bool has = chosen_isa() == Isa::avx512 && __builtin_cpu_supports("avx512bf16");
  return has;
#else
  return false;
#endif
}

constexpr int64_t pairs_of(int64_t depth) { return (depth + 1) / 2; }

// Two bf16 numbers, given as f32, in the place of one.
BASIN_HOT float pair_of(float first, float second) {
  return std::bit_cast<float>(std::bit_cast<uint32_t>(first) >> 16 |
                              (std::bit_cast<uint32_t>(second) & 0xffff0000U));
}

// [pairs, width] of the numbers x[l * stride + j] of successive l; 0 beyond the depth.
BASIN_HOT void pair_rows(const float* __restrict x, int64_t stride, int64_t depth, int64_t count,
                         int64_t width, float* __restrict pairs) {
  for (int64_t k = 0; k < pairs_of(depth); ++k, pairs += width) {
    const float* first = x + 2 * k * stride;
    const float* second = 2 * k + 1 < depth ? first + stride : nullptr;
    for (int64_t j = 0; j < count; ++j) pairs[j] = pair_of(first[j], second ? second[j] : 0.F);
  }
}

// The same of lines along which l runs: x[j * stride + l].
BASIN_HOT void pair_lines(const float* __restrict x, int64_t stride, int64_t depth, int64_t count,
                          int64_t width, float* __restrict pairs) {
  for (int64_t j = 0; j < count; ++j) {
    const float* line = x + j * stride;
    for (int64_t k = 0; k < depth / 2; ++k) {
      pairs[k * width + j] = pair_of(line[2 * k], line[2 * k + 1]);
    }
    if (depth % 2 != 0) pairs[depth / 2 * width + j] = pair_of(line[depth - 1], 0.F);
  }
}

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
  if (!std::is_same_v<T, float>) return PanelForm::plain;
  if (factors == Factors::bf16 && multiplies_pairs()) return PanelForm::bf16;
  if (chosen_isa() != Isa::amx || !amx::pays(rows, cols, depth)) return PanelForm::plain;
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
  if (form == PanelForm::plain) return depth * kPanel<T>;
  if (multiplies_pairs()) return pairs_of(depth) * kPanel<T>;
  return amx::split_size(form, kPanel<T>, depth);
}

template <class T>
int64_t rows_size(PanelForm form, int64_t rows, int64_t depth) {
  const bool pairs = multiplies_pairs();
  if (form != PanelForm::plain && !pairs) return amx::split_size(form, rows, depth);
  return tile_count(rows, kRegisterRows) * kRegisterRows *
         (form == PanelForm::plain ? depth : pairs_of(depth));
}

template <class T>
void pack_panel(PanelForm form, bool trans_b, const T* b, int64_t ldb, int64_t depth, int64_t cols,
                T* panel) {
  if constexpr (std::is_same_v<T, float>) {
    if (form != PanelForm::plain && multiplies_pairs()) {
      std::fill(panel, panel + panel_size<T>(form, depth), 0.F);
      return hot([&] {
        if (trans_b) {
          pair_lines(b, ldb, depth, cols, kPanel<T>, panel);
        } else {
          pair_rows(b, ldb, depth, cols, kPanel<T>, panel);
        }
      });
    }
#if BASIN_HAS_AMX
    if (form != PanelForm::plain) return amx::pack_panel(form, trans_b, b, ldb, depth, cols, panel);
#endif
  }
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

// Groups of kRegisterRows rows as pairs.
void pack_pairs(Block<float>& q, float* packed) {
  const int64_t pairs = pairs_of(q.depth);
  const bool lines = q.depth_stride == 1;
  hot([&] {
    for (int64_t i = 0; i < q.rows; i += kRegisterRows) {
      const int64_t count = std::min<int64_t>(kRegisterRows, q.rows - i);
      const float* from = q.a + i * q.row_stride;
      if (lines) {
        pair_lines(from, q.row_stride, q.depth, count, kRegisterRows, packed + i * pairs);
      } else {
        pair_rows(from, q.depth_stride, q.depth, count, kRegisterRows, packed + i * pairs);
      }
    }
  });
  q.a = packed;
  q.tile_stride = pairs;
  q.row_stride = 1;
  q.depth_stride = kRegisterRows;
}

}  // namespace

template <class T>
void pack_rows(Block<T>& q, T* packed) {
  if constexpr (std::is_same_v<T, float>) {
    if (q.form != PanelForm::plain && multiplies_pairs()) return pack_pairs(q, packed);
#if BASIN_HAS_AMX
    if (q.form != PanelForm::plain) {
      amx::split_rows(q, packed);
      q.a = packed;
      return;
    }
#endif
  }
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
  if constexpr (std::is_same_v<T, float>) {
    if (block.form != PanelForm::plain && multiplies_pairs()) {
      Block<T> pairs = block;
      pairs.depth = pairs_of(block.depth);
      return avx512_bf16::panel<T>(pairs, panel, cols, c);
    }
#if BASIN_HAS_AMX
    if (block.form != PanelForm::plain) return amx::multiply_panel(block, panel, cols, c);
#endif
  }
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
