// The packed core (gemm_packed.h) for f32 on AMX, whose tile registers multiply bf16 numbers and
// add in f32. Each factor is taken apart into three bf16 numbers, x = h + m + l, which together
// hold its 24 bits; of the nine products six are made: h h, h m, m h, h l, m m, l h (Henry, Tang,
// Heinecke, Leveraging the bfloat16 artificial intelligence datatype for higher-precision
// computations, 2019). m l and l m are left out, each at most 2^-25 |a b|, so a product is off by
// 2^-23 of itself at most (0.43 of 2^-24 in the mean square, where one rounding is 0.42); sums are
// rounded less often than one by one. Six products on tiles take 96 cycles where two AVX-512 units
// take 256.
//
// Unlike on the other paths, parts below 2^-126 are zero, so subnormal numbers are, and those below
// 2^-103 lose digits; and an infinite factor, or one of at least 2^128 - 2^119, makes the entries
// that it reaches NaN.
#pragma once
#include <cstdint>

#include "basin/kernels/cpu/gemm_packed.h"
#include "basin/kernels/cpu/isa.h"

namespace basin::amx {

// The parts of a group of 32 rows or columns lie together, step by step of depth 32.
inline constexpr int64_t kGroup = 32, kStep = 32;
// Whether C [rows, cols] gains: a step of a small depth is mostly padding, and where a side is
// short, splitting the other takes as long as the tiles save.
constexpr bool pays(int64_t rows, int64_t cols, int64_t depth) {
  return rows > 48 && cols > 64 && depth >= 24;
}
// k per pass over C, and rows of A that are split at a time: they and some panels stay in L2.
inline constexpr int64_t kBlockDepth = 512, kBlockRows = 192;

// Of `lines` rows or columns, in floats.
constexpr int64_t split_size(PanelForm form, int64_t lines, int64_t depth) {
  const int64_t groups = (lines + kGroup - 1) / kGroup, steps = (depth + kStep - 1) / kStep;
  return groups * steps * kGroup * kStep * (form == PanelForm::bf16 ? 1 : 3) / 2;
}

#if BASIN_HAS_AMX
// What pack_panel, pack_rows and multiply_panel do for the forms split and bf16. The addend is set,
// and what is packed has room for split_size and is 64-byte aligned.
void pack_panel(PanelForm form, bool trans_b, const float* b, int64_t ldb, int64_t depth,
                int64_t cols, float* panel);
void split_rows(const Block<float>& block, float* packed);
void multiply_panel(const Block<float>& block, const float* panel, int64_t cols, float* c);
#endif

}  // namespace basin::amx
