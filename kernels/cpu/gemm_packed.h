// Basin's own GEMM core: B is packed in panels of 256-byte rows, A is read in place (a transposed A
// is packed), and a register tile of C walks over them. It depends on no library's idea of the
// machine, and rows of A that are equal give rows of C that are equal bit for bit, which a BLAS
// does not promise.
#pragma once
#include <cstdint>

#include "basin/kernels/gemm.h"

namespace basin {

template <class T>
inline constexpr int64_t kPanelWidth = 256 / static_cast<int64_t>(sizeof(T));  // columns
inline constexpr int kRegisterRows = 6;      // rows of the register tile
inline constexpr int64_t kBlockDepth = 256;  // k per pass over C

// False where the machine has neither AVX-512 nor AVX2: then the library is used instead.
bool has_packed_gemm();
const char* packed_gemm_name();  // "avx512", "avx2" or "none"

// panel [depth, width] = the columns j.. of op(B), rows l.. of it; b points at op(B)(l, j). cols <=
// width of them exist; the columns up to the next whole vector are zero.
template <class T>
void pack_panel(bool trans_b, const T* b, int64_t ldb, int64_t depth, int64_t cols, T* panel);

// The first rows of A^T, where A(i, l) = a[l * lda + i], in groups of kRegisterRows: packed
// [groups, depth, kRegisterRows], the last group with unset rows.
template <class T>
void pack_rows(const T* a, int64_t lda, int64_t rows, int64_t depth, T* packed);

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
};
template <class T>
void multiply_panel(const Block<T>& block, const T* panel, int64_t cols, T* c);

}  // namespace basin
