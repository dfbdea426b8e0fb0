// The vector operations of knn_registers.inc for each instruction set, and the compression, which
// they do in different ways.
#include "basin/kernels/cpu/knn_registers.h"

#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "basin/kernels/cpu/isa.h"

#if BASIN_HAS_X86_TILES
#ifndef __clang__  // GCC 12 takes the undefined operand inside its own intrinsics for a fault
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#define BASIN_TARGET_VBMI2 \
  __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx512vbmi2,fma,popcnt")))

namespace basin {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int kMostCandidates = 96;

#define BASIN_ISA avx512
#define BASIN_ISA_TARGET BASIN_TARGET_AVX512
namespace avx512 {

using Value = __m512;
using Index = __m512i;
using Mask = __mmask16;
constexpr int kLanes = 16;

BASIN_TARGET_AVX512 inline Value fill(float x) { return _mm512_set1_ps(x); }
BASIN_TARGET_AVX512 inline Value load(const float* x) { return _mm512_loadu_ps(x); }
BASIN_TARGET_AVX512 inline void store(float* x, Value a) { _mm512_storeu_ps(x, a); }
BASIN_TARGET_AVX512 inline Value minus(Value a, Value b) { return _mm512_sub_ps(a, b); }
BASIN_TARGET_AVX512 inline Value multiply_add(Value a, Value b, Value c) {
  return _mm512_fmadd_ps(a, b, c);
}
BASIN_TARGET_AVX512 inline Value smaller(Value a, Value b) { return _mm512_min_ps(a, b); }
BASIN_TARGET_AVX512 inline Value larger(Value a, Value b) { return _mm512_max_ps(a, b); }
BASIN_TARGET_AVX512 inline float smallest_lane(Value a) { return _mm512_reduce_min_ps(a); }
BASIN_TARGET_AVX512 inline Value needed(Value above, Value absolute, Value relative) {
  return _mm512_add_ps(absolute, _mm512_mul_ps(relative, _mm512_abs_ps(above)));
}
BASIN_TARGET_AVX512 inline Index zero_index() { return _mm512_setzero_si512(); }
BASIN_TARGET_AVX512 inline Index load_index(const int32_t* x) { return _mm512_loadu_si512(x); }
BASIN_TARGET_AVX512 inline void store_index(int32_t* x, Index a) { _mm512_storeu_si512(x, a); }
BASIN_TARGET_AVX512 inline void store_index_where(int32_t* x, Mask where, Index a) {
  _mm512_mask_storeu_epi32(x, where, a);
}
// Values in the lower, numbers in the upper halves of 16 words, and back.
BASIN_TARGET_AVX512 inline void store_pairs(uint64_t* to, Value value, Index number) {
  const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
  const __m512i bits = _mm512_castps_si512(value);
  _mm512_storeu_si512(to, _mm512_permutex2var_epi32(bits, low, number));
  _mm512_storeu_si512(to + 8, _mm512_permutex2var_epi32(bits, high, number));
}
BASIN_TARGET_AVX512 inline Value load_values(const uint64_t* x) {
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  return _mm512_permutex2var_ps(_mm512_loadu_ps(x), even, _mm512_loadu_ps(x + 8));
}
BASIN_TARGET_AVX512 inline Index load_numbers(const uint64_t* x) {
  const __m512i odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  return _mm512_permutex2var_epi32(_mm512_loadu_si512(x), odd, _mm512_loadu_si512(x + 8));
}
template <int kPredicate>
BASIN_TARGET_AVX512 inline Mask compare(Value a, Value b) {
  return _mm512_cmp_ps_mask(a, b, kPredicate);
}
BASIN_TARGET_AVX512 inline Mask at_least(Index a, int b) {
  return _mm512_cmpge_epi32_mask(a, _mm512_set1_epi32(b));
}
BASIN_TARGET_AVX512 inline Mask equal(Index a, int b) {
  return _mm512_cmpeq_epi32_mask(a, _mm512_set1_epi32(b));
}
BASIN_TARGET_AVX512 inline Mask first_lanes(int64_t count) {
  if (count <= 0) return 0;
  return count >= 16 ? Mask{0xffff} : static_cast<Mask>((1 << count) - 1);
}
BASIN_TARGET_AVX512 inline Mask no_lane() { return 0; }
BASIN_TARGET_AVX512 inline Mask both(Mask a, Mask b) { return a & b; }
BASIN_TARGET_AVX512 inline Mask either(Mask a, Mask b) { return a | b; }
BASIN_TARGET_AVX512 inline bool any(Mask a) { return a != 0; }
BASIN_TARGET_AVX512 inline Index add_one_where(Mask where, Index a) {
  return _mm512_mask_add_epi32(a, where, a, _mm512_set1_epi32(1));
}
BASIN_TARGET_AVX512 inline Value choose(Mask where, Value yes, Value no) {
  return _mm512_mask_mov_ps(no, where, yes);
}
BASIN_TARGET_AVX512 inline Value gather(const float* x, Index index, Mask where, Value no) {
  return _mm512_mask_i32gather_ps(no, where, index, x, 4);
}

// Comparison masks first, then 64 numbers at a time: a byte compression for four word ones.
BASIN_TARGET_VBMI2 int64_t compress_bytes(const float* row, int64_t count, float limit,
                                          int32_t* out) {
  constexpr int64_t kChunk = 4096;
  alignas(64) uint64_t words[kChunk / 64];
  alignas(64) static constexpr uint8_t kNumbers[64] = {
      0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
      22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
      44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};
  const __m512 top = _mm512_set1_ps(limit);
  const __m512i numbers = _mm512_load_si512(kNumbers), step = _mm512_set1_epi32(64);
  __m512i base = _mm512_setzero_si512();
  int64_t n = 0;
  for (; count > 0; count -= kChunk, row += kChunk) {
    const int64_t here = count < kChunk ? count : kChunk;
    for (int64_t j = 0; j < here; j += 64) {
      char* word = reinterpret_cast<char*>(words) + j / 8;
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) {
        const __mmask16 keep =
            _mm512_cmp_ps_mask(_mm512_loadu_ps(row + j + 16 * v), top, _CMP_NGT_UQ);
        std::memcpy(word + 2 * v, &keep, sizeof(keep));
      }
    }
    for (int64_t w = 0; w < here / 64; ++w, base = _mm512_add_epi32(base, step)) {
      const int found = __builtin_popcountll(words[w]);
      const __m512i kept = _mm512_maskz_compress_epi8(words[w], numbers);
      const auto put = [&](int place, __m128i few) BASIN_TARGET_VBMI2 {
        _mm512_storeu_si512(out + n + place, _mm512_add_epi32(_mm512_cvtepu8_epi32(few), base));
      };
      put(0, _mm512_castsi512_si128(kept));
      if (found > 16) {
        put(16, _mm512_extracti32x4_epi32(kept, 1));
        put(32, _mm512_extracti32x4_epi32(kept, 2));
        put(48, _mm512_extracti32x4_epi32(kept, 3));
      }
      n += found;
    }
  }
  return n;
}

BASIN_TARGET_AVX512 inline int64_t compress_words(const float* row, int64_t count, float limit,
                                                  int32_t* out) {
  const __m512 top = _mm512_set1_ps(limit);
  __m512i number = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  int64_t n = 0;
  for (int64_t j = 0; j < count; j += 16) {
    const __mmask16 keep = _mm512_cmp_ps_mask(_mm512_loadu_ps(row + j), top, _CMP_NGT_UQ);
    _mm512_storeu_si512(out + n, _mm512_maskz_compress_epi32(keep, number));
    n += __builtin_popcount(keep);
    number = _mm512_add_epi32(number, _mm512_set1_epi32(16));
  }
  return n;
}

int64_t compress(const float* row, int64_t count, float limit, int32_t* out) {
  static const bool bytes = __builtin_cpu_supports("avx512vbmi2");
  return bytes ? compress_bytes(row, count, limit, out) : compress_words(row, count, limit, out);
}

}  // namespace avx512
#include "basin/kernels/cpu/knn_registers.inc"

#define BASIN_ISA avx2
#define BASIN_ISA_TARGET BASIN_TARGET_AVX2
namespace avx2 {

using Value = __m256;
using Index = __m256i;
using Mask = __m256i;
constexpr int kLanes = 8;

BASIN_TARGET_AVX2 inline Value fill(float x) { return _mm256_set1_ps(x); }
BASIN_TARGET_AVX2 inline Value load(const float* x) { return _mm256_loadu_ps(x); }
BASIN_TARGET_AVX2 inline void store(float* x, Value a) { _mm256_storeu_ps(x, a); }
BASIN_TARGET_AVX2 inline Value minus(Value a, Value b) { return _mm256_sub_ps(a, b); }
BASIN_TARGET_AVX2 inline Value multiply_add(Value a, Value b, Value c) {
  return _mm256_fmadd_ps(a, b, c);
}
BASIN_TARGET_AVX2 inline Value smaller(Value a, Value b) { return _mm256_min_ps(a, b); }
BASIN_TARGET_AVX2 inline Value larger(Value a, Value b) { return _mm256_max_ps(a, b); }
BASIN_TARGET_AVX2 inline float smallest_lane(Value a) {
  __m128 low = _mm_min_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  low = _mm_min_ps(low, _mm_movehl_ps(low, low));
  return _mm_cvtss_f32(_mm_min_ss(low, _mm_shuffle_ps(low, low, 1)));
}
BASIN_TARGET_AVX2 inline Value needed(Value above, Value absolute, Value relative) {
  const Value size = _mm256_andnot_ps(_mm256_set1_ps(-0.F), above);
  return _mm256_add_ps(absolute, _mm256_mul_ps(relative, size));
}
BASIN_TARGET_AVX2 inline Index zero_index() { return _mm256_setzero_si256(); }
BASIN_TARGET_AVX2 inline Index load_index(const int32_t* x) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
}
BASIN_TARGET_AVX2 inline void store_index(int32_t* x, Index a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(x), a);
}
BASIN_TARGET_AVX2 inline void store_index_where(int32_t* x, Mask where, Index a) {
  _mm256_maskstore_epi32(x, where, a);
}
BASIN_TARGET_AVX2 inline void store_pairs(uint64_t* to, Value value, Index number) {
  const __m256i bits = _mm256_castps_si256(value);
  const __m256i low = _mm256_unpacklo_epi32(bits, number);  // pairs 0, 1, 4, 5
  const __m256i high = _mm256_unpackhi_epi32(bits, number);
  auto* out = reinterpret_cast<__m256i*>(to);
  _mm256_storeu_si256(out, _mm256_permute2x128_si256(low, high, 0x20));
  _mm256_storeu_si256(out + 1, _mm256_permute2x128_si256(low, high, 0x31));
}
template <int kHalves>
BASIN_TARGET_AVX2 inline Index load_halves(const uint64_t* x) {
  const auto* from = reinterpret_cast<const float*>(x);
  const __m256 mixed = _mm256_shuffle_ps(_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8), kHalves);
  return _mm256_permute4x64_epi64(_mm256_castps_si256(mixed), 0xd8);
}
BASIN_TARGET_AVX2 inline Value load_values(const uint64_t* x) {
  return _mm256_castsi256_ps(load_halves<0x88>(x));
}
BASIN_TARGET_AVX2 inline Index load_numbers(const uint64_t* x) { return load_halves<0xdd>(x); }
template <int kPredicate>
BASIN_TARGET_AVX2 inline Mask compare(Value a, Value b) {
  return _mm256_castps_si256(_mm256_cmp_ps(a, b, kPredicate));
}
BASIN_TARGET_AVX2 inline Mask at_least(Index a, int b) {
  return _mm256_cmpgt_epi32(a, _mm256_set1_epi32(b - 1));
}
BASIN_TARGET_AVX2 inline Mask equal(Index a, int b) {
  return _mm256_cmpeq_epi32(a, _mm256_set1_epi32(b));
}
BASIN_TARGET_AVX2 inline Mask first_lanes(int64_t count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
BASIN_TARGET_AVX2 inline Mask no_lane() { return _mm256_setzero_si256(); }
BASIN_TARGET_AVX2 inline Mask both(Mask a, Mask b) { return _mm256_and_si256(a, b); }
BASIN_TARGET_AVX2 inline Mask either(Mask a, Mask b) { return _mm256_or_si256(a, b); }
BASIN_TARGET_AVX2 inline bool any(Mask a) { return _mm256_movemask_epi8(a) != 0; }
BASIN_TARGET_AVX2 inline Index add_one_where(Mask where, Index a) {
  return _mm256_sub_epi32(a, where);  // a lane that holds is -1
}
BASIN_TARGET_AVX2 inline Value choose(Mask where, Value yes, Value no) {
  return _mm256_blendv_ps(no, yes, _mm256_castsi256_ps(where));
}
BASIN_TARGET_AVX2 inline Value gather(const float* x, Index index, Mask where, Value no) {
  return _mm256_mask_i32gather_ps(no, x, index, _mm256_castsi256_ps(where), 4);
}

// The numbers of the bits that are set in each byte, in order.
constexpr auto kBits = [] {
  std::array<std::array<uint8_t, 8>, 256> out{};
  for (size_t byte = 0; byte < 256; ++byte) {
    size_t n = 0;
    for (uint8_t bit = 0; bit < 8; ++bit) {
      if ((byte >> bit & 1) != 0) out[byte][n++] = bit;
    }
  }
  return out;
}();

// No instruction compresses: the mask of eight values finds their numbers in a table of 2 KiB.
BASIN_TARGET_AVX2 int64_t compress(const float* row, int64_t count, float limit, int32_t* out) {
  const __m256 top = _mm256_set1_ps(limit);
  int64_t n = 0;
  for (int64_t j = 0; j < count; j += 8) {
    const int keep = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(row + j), top, _CMP_NGT_UQ));
    const __m128i bits =
        _mm_loadl_epi64(reinterpret_cast<const __m128i*>(kBits[static_cast<size_t>(keep)].data()));
    const __m256i base = _mm256_set1_epi32(static_cast<int>(j));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + n),
                        _mm256_add_epi32(_mm256_cvtepu8_epi32(bits), base));
    n += __builtin_popcount(static_cast<unsigned>(keep));
  }
  return n;
}

}  // namespace avx2
#include "basin/kernels/cpu/knn_registers.inc"

}  // namespace

const KnnRegisters* knn_registers() {
  switch (chosen_isa()) {
    case Isa::amx:
    case Isa::avx512: return &avx512::kRegisters;
    case Isa::avx2: return &avx2::kRegisters;
    case Isa::generic: break;
  }
  return nullptr;
}

}  // namespace basin

#else  // without x86 there is no such machine

namespace basin {

const KnnRegisters* knn_registers() { return nullptr; }

}  // namespace basin

#endif
