// Basin's own GEMM core: B is packed in panels of 256-byte rows, A is read in place (a transposed A
// is packed), and a register tile of C walks over them; f32 on AMX has a form of its own for both
// (gemm_amx.h). It depends on no library's idea of the machine, and rows of A that are equal give
// rows of C that are equal bit for bit, which a BLAS does not promise.
#pragma once
#include <cstdint>

#include "basin/kernels/gemm.h"

namespace basin {

template <class T>
inline constexpr int64_t kPanelWidth = 256 / static_cast<int64_t>(sizeof(T));  // columns
inline constexpr int kRegisterRows = 6;  // rows of the register tile

// False where the machine has neither AVX-512 nor AVX2: then the library is used instead.
bool has_packed_gemm();
const char* packed_gemm_name();  // "amx", "avx512", "avx2" or "none"

// What panels and rows are packed to: the numbers as they are; f32 on AMX in three parts of each
// (gemm_amx.h); where all are bf16, in pairs, for AMX or for the dot products of AVX-512 BF16. For
// blocks that are used once, splitting would weigh as much as it saves: they stay plain.
enum class PanelForm { plain, split, bf16 };

// The fastest one for a product of these sizes, in which each panel meets all rows of A.
template <class T>
PanelForm panel_form(Factors factors, int64_t rows, int64_t cols, int64_t depth);
int64_t block_depth(PanelForm form);  // k per pass over C
int64_t block_rows(PanelForm form);  // rows of A per pass over a panel, a multiple of kRegisterRows

// panel = the columns j.. of op(B), rows l.. of it; b points at op(B)(l, j). cols <= kPanelWidth of
// them exist. A plain one is [depth, kPanelWidth], the columns up to the next whole vector zero.
// panel: panel_size entries, 64-byte aligned.
template <class T>
void pack_panel(PanelForm form, bool trans_b, const T* b, int64_t ldb, int64_t depth, int64_t cols,
                T* panel);
template <class T>
int64_t panel_size(PanelForm form, int64_t depth);

// C [rows, cols] = alpha A B + beta D for one packed panel; D is C where there is no addend.
// Group t of kRegisterRows rows starts at a + t * kRegisterRows * tile_stride; inside it, A(r, l)
// is at r * row_stride + l * depth_stride.
template <class T>
struct Block {
  const T* a;
  int64_t tile_stride, row_stride, depth_stride;
  int64_t rows, depth;
  T alpha, beta;
  int64_t ldc;
  Addend<T> addend = {};  // at the columns of C
  PanelForm form = PanelForm::plain;
  bool streamed = false;  // C is too large to be in a cache again; split ones write it past them
};

// Packs A where the tile would read it badly: a transposed one in groups [depth, kRegisterRows],
// the last with unset rows. Split ones must be packed. packed: rows_size entries, 64-byte aligned.
template <class T>
void pack_rows(Block<T>& block, T* packed);
template <class T>
int64_t rows_size(PanelForm form, int64_t rows, int64_t depth);

// The panel is of the block's form.
template <class T>
void multiply_panel(const Block<T>& block, const T* panel, int64_t cols, T* c);

}  // namespace basin
