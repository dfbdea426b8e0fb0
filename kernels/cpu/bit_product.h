// Products of a matrix of bits with one of numbers: sums over the rows that a row of bits chooses.
// Of each four rows of the numbers the sixteen sums that four bits can ask for are made once, and
// a row of bits then adds one sum for every four bits (the method of four Russians: Arlazarov,
// Dinic, Kronrod and Faradzev 1970; Aho, Hopcroft and Ullman, The Design and Analysis of Computer
// Algorithms, section 6.6). The order of the additions is fixed.
#pragma once
#include <cstdint>

namespace basin {

inline constexpr int64_t kBitDepth = 32;  // bits of a word
template <class T>
inline constexpr int64_t kBitWidth = 128 / static_cast<int64_t>(sizeof(T));  // columns of a panel

// sums[r, :] += sum of the rows k of the panel with bit k of bits[r] set. sums [rows, kBitWidth],
// panel [kBitDepth, kBitWidth], both 64-byte aligned; float and double. In the calling thread.
template <class T>
void add_bit_rows(const uint32_t* bits, int64_t rows, const T* panel, T* sums);

// The transpose of a square of bits: bit i of out[j] is bit j of in[i].
void transpose_bits(const uint32_t in[kBitDepth], uint32_t out[kBitDepth]);

}  // namespace basin
