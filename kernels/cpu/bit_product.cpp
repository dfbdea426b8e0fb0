// bit_product: the loops for each instruction set, and the transpose of a square of bits.
#include "basin/kernels/cpu/bit_product.h"

#include <algorithm>

#include "basin/kernels/cpu/isa.h"

namespace basin {
namespace {

constexpr int64_t kGroup = 4, kSums = 1 << kGroup;  // rows of a table, and the sums of their sets
constexpr int64_t kTables = kBitDepth / kGroup;     // of a panel: 16 KiB, half of a first cache

#define BASIN_ISA baseline
#define BASIN_ISA_TARGET
#define BASIN_ISA_BYTES 16
#include "basin/kernels/cpu/bit_product_tile.inc"

#if BASIN_HAS_X86_TILES
#define BASIN_ISA avx2
#define BASIN_ISA_TARGET BASIN_TARGET_AVX2
#define BASIN_ISA_BYTES 32
#include "basin/kernels/cpu/bit_product_tile.inc"

#define BASIN_ISA avx512
#define BASIN_ISA_TARGET BASIN_TARGET_AVX512
#define BASIN_ISA_BYTES 64
#include "basin/kernels/cpu/bit_product_tile.inc"
#endif

}  // namespace

template <class T>
void add_bit_rows(const uint32_t* bits, int64_t rows, const T* panel, T* sums) {
#if BASIN_HAS_X86_TILES
  if (chosen_isa() >= Isa::avx512) return avx512::add_bit_rows<T>(bits, rows, panel, sums);
  if (chosen_isa() == Isa::avx2) return avx2::add_bit_rows<T>(bits, rows, panel, sums);
#endif
  baseline::add_bit_rows<T>(bits, rows, panel, sums);
}

template void add_bit_rows(const uint32_t*, int64_t, const float*, float*);
template void add_bit_rows(const uint32_t*, int64_t, const double*, double*);

// Squares of 16, 8, 4, 2 and 1 bits beside the diagonal change places (Warren, Hacker's Delight,
// section 7.3).
void transpose_bits(const uint32_t in[kBitDepth], uint32_t out[kBitDepth]) {
  std::copy_n(in, kBitDepth, out);
  uint32_t mask = 0x0000ffff;
  for (uint32_t size = kBitDepth / 2; size > 0; size /= 2, mask ^= mask << size) {
    for (uint32_t i = 0; i < kBitDepth; i = (i + size + 1) & ~size) {
      const uint32_t changed = ((out[i] >> size) ^ out[i + size]) & mask;
      out[i] ^= changed << size;
      out[i + size] ^= changed;
    }
  }
}

}  // namespace basin
