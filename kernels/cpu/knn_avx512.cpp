// Comparisons are written so that NaN never lowers a bound and is kept as a candidate; a candidate
// that is not finite sends the point to the general selection.
#include "basin/kernels/cpu/knn_avx512.h"

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

inline __mmask16 first_lanes(int64_t count) {
  if (count <= 0) return 0;
  return count >= 16 ? __mmask16{0xffff} : static_cast<__mmask16>((1 << count) - 1);
}

// rank of lane i = how many of value[0 .. count) are smaller, or also equal; kVectors vectors.
template <int kVectors, int kPredicate>
BASIN_TARGET_AVX512 inline void count_ranks(const float* value, int64_t count,
                                            const __m512 (&mine)[kVectors],
                                            __m512i (&rank)[kVectors]) {
  const __m512i one = _mm512_set1_epi32(1);
  for (int v = 0; v < kVectors; ++v) rank[v] = _mm512_setzero_si512();
#pragma GCC unroll 4
  for (int64_t i = 0; i < count; ++i) {
    const __m512 other = _mm512_set1_ps(value[i]);
    for (int v = 0; v < kVectors; ++v) {
      const __mmask16 below = _mm512_cmp_ps_mask(other, mine[v], kPredicate);
      rank[v] = _mm512_mask_add_epi32(rank[v], below, rank[v], one);
    }
  }
}

// The smallest of the minima that has `wanted` of them at or below it.
template <int kVectors>
BASIN_TARGET_AVX512 inline float bound_of(const float* minima, int64_t wanted) {
  __m512 mine[kVectors];
  __m512i rank[kVectors];
  for (int v = 0; v < kVectors; ++v) mine[v] = _mm512_loadu_ps(minima + 16 * v);
  count_ranks<kVectors, _CMP_LE_OQ>(minima, 16 * kVectors, mine, rank);
  const __m512i least = _mm512_set1_epi32(static_cast<int>(wanted));
  __m512 best = _mm512_set1_ps(kInfinity);
  for (int v = 0; v < kVectors; ++v) {
    best = _mm512_mask_min_ps(best, _mm512_cmpge_epi32_mask(rank[v], least), mine[v], best);
  }
  return _mm512_reduce_min_ps(best);
}

// Puts the candidates in order and copies the first k of them, if each is apart from the next.
// Lanes beyond the last candidate hold infinity and share the place behind all others; equal values
// share a place too, and leave a NaN in the next one.
template <int kVectors>
BASIN_TARGET_AVX512 inline bool order_and_copy(const KnnQuery& query, const float* row,
                                               const int32_t* candidate, int64_t count,
                                               Slack<float> slack, int32_t* out) {
  alignas(64) float value[16 * kVectors], sorted[kMostCandidates + 16];
  alignas(64) int32_t place[16 * kVectors], number[kMostCandidates + 16];
  const __m512 infinite = _mm512_set1_ps(kInfinity);
  __m512 mine[kVectors];
  __m512i rank[kVectors];
  __mmask16 not_finite = 0;
  for (int v = 0; v < kVectors; ++v) {
    const __mmask16 valid = first_lanes(count - 16 * v);
    const __m512i index = _mm512_loadu_si512(candidate + 16 * v);
    mine[v] = _mm512_mask_i32gather_ps(infinite, valid, index, row, 4);
    not_finite |= _mm512_mask_cmp_ps_mask(valid, mine[v], infinite, _CMP_NLT_UQ);
    const __mmask16 self =
        _mm512_mask_cmpeq_epi32_mask(valid, index, _mm512_set1_epi32(query.excluded));
    mine[v] = _mm512_mask_mov_ps(mine[v], self, infinite);
    _mm512_store_ps(value + 16 * v, mine[v]);
  }
  if (not_finite != 0) return false;
  count_ranks<kVectors, _CMP_LT_OQ>(value, count, mine, rank);
  const __m512 nothing = _mm512_set1_ps(std::numeric_limits<float>::quiet_NaN());
  for (int v = 0; v < kVectors; ++v) {
    _mm512_store_si512(place + 16 * v, rank[v]);
    _mm512_store_ps(sorted + 16 * v, nothing);
  }
  _mm512_store_ps(sorted + 16 * kVectors, nothing);
  for (int c = 0; c < 16 * kVectors; ++c) {
    sorted[place[c]] = value[c];
    number[place[c]] = candidate[c];
  }
  const __m512 absolute = _mm512_set1_ps(slack.absolute);
  const __m512 relative = _mm512_set1_ps(slack.relative);
  __mmask16 close = 0;
  for (int64_t q = 0; q < query.k; q += 16) {
    const __mmask16 valid = first_lanes(query.k - q);
    const __m512 below = _mm512_loadu_ps(sorted + q), above = _mm512_loadu_ps(sorted + q + 1);
    const __m512 needed = _mm512_add_ps(absolute, _mm512_mul_ps(relative, _mm512_abs_ps(above)));
    close |= _mm512_mask_cmp_ps_mask(valid, _mm512_sub_ps(above, below), needed, _CMP_NGT_UQ);
    _mm512_mask_storeu_epi32(out + q, valid, _mm512_load_si512(number + q));
  }
  return close == 0;
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
  const __m512i numbers = _mm512_load_si512(kNumbers);
  int64_t n = 0;
  for (int64_t first = 0; first < count; first += kChunk) {
    const int64_t here = count - first < kChunk ? count - first : kChunk;
    for (int64_t j = 0; j < here; j += 16) {
      const __mmask16 keep = _mm512_cmp_ps_mask(_mm512_loadu_ps(row + first + j), top, _CMP_NGT_UQ);
      std::memcpy(reinterpret_cast<char*>(words) + j / 8, &keep, sizeof(keep));
    }
    for (int64_t j = 0; j < here; j += 64) {
      const uint64_t word = words[j / 64];
      const int found = __builtin_popcountll(word);
      const __m512i kept = _mm512_maskz_compress_epi8(word, numbers);
      const __m512i base = _mm512_set1_epi32(static_cast<int>(first + j));
      const __m512i low = _mm512_cvtepu8_epi32(_mm512_castsi512_si128(kept));
      _mm512_storeu_si512(out + n, _mm512_add_epi32(low, base));
      if (found > 16) {
        alignas(64) uint8_t bytes[64];
        _mm512_store_si512(bytes, kept);
        for (int c = 16; c < found; ++c) {
          out[n + c] = static_cast<int32_t>(first + j) + bytes[c];
        }
      }
      n += found;
    }
  }
  return n;
}

BASIN_TARGET_AVX512 int64_t compress_words(const float* row, int64_t count, float limit,
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

// Four accumulators hide the latency of a minimum; 32 groups fold them in two.
BASIN_TARGET_AVX512 inline void store_minima(__m512 (&best)[4], int64_t groups, float* minima) {
  if (groups == 32) {
    _mm512_storeu_ps(minima, _mm512_min_ps(best[0], best[2]));
    _mm512_storeu_ps(minima + 16, _mm512_min_ps(best[1], best[3]));
    return;
  }
  for (int v = 0; v < 4; ++v) _mm512_storeu_ps(minima + 16 * v, best[v]);
}

BASIN_TARGET_AVX512 void distances3(const float* x, int64_t stride, const float* point,
                                    int64_t count, int64_t groups, float* row, float* minima) {
  const __m512 p0 = _mm512_set1_ps(point[0]), p1 = _mm512_set1_ps(point[1]);
  const __m512 p2 = _mm512_set1_ps(point[2]);
  const float *y = x + stride, *z = y + stride;
  __m512 best[4];
  for (__m512& b : best) b = _mm512_set1_ps(kInfinity);
  for (int64_t j = 0; j < count; j += 64) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      const int64_t at = j + 16 * v;
      const __m512 d0 = _mm512_sub_ps(_mm512_loadu_ps(x + at), p0);
      const __m512 d1 = _mm512_sub_ps(_mm512_loadu_ps(y + at), p1);
      const __m512 d2 = _mm512_sub_ps(_mm512_loadu_ps(z + at), p2);
      const __m512 sum = _mm512_fmadd_ps(d2, d2, _mm512_fmadd_ps(d1, d1, _mm512_mul_ps(d0, d0)));
      _mm512_storeu_ps(row + at, sum);
      best[v] = _mm512_min_ps(sum, best[v]);  // the second where the first is no number
    }
  }
  store_minima(best, groups, minima);
}

BASIN_TARGET_AVX512 void minima_of(const float* row, int64_t count, int64_t groups, float* minima) {
  __m512 best[4];
  for (__m512& b : best) b = _mm512_set1_ps(kInfinity);
  for (int64_t j = 0; j < count; j += 64) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      best[v] = _mm512_min_ps(_mm512_loadu_ps(row + j + 16 * v), best[v]);
    }
  }
  store_minima(best, groups, minima);
}

BASIN_TARGET_AVX512 bool select(const KnnQuery& query, const float* row, const float* minima,
                                Slack<float> slack, int32_t* candidate, int32_t* out) {
  const float bound =
      query.groups == 32 ? bound_of<2>(minima, query.wanted) : bound_of<4>(minima, query.wanted);
  const float limit = bound + (slack.absolute + slack.relative * std::abs(bound)) * 1.01F;
  if (!(limit < kInfinity)) return false;
  const int64_t count = compress_avx512(row, query.padded, limit, candidate);
  if (count <= 32) return order_and_copy<2>(query, row, candidate, count, slack, out);
  if (count <= 48) return order_and_copy<3>(query, row, candidate, count, slack, out);
  if (count <= 64) return order_and_copy<4>(query, row, candidate, count, slack, out);
  return count <= kMostCandidates && order_and_copy<6>(query, row, candidate, count, slack, out);
}

}  // namespace

bool has_knn_avx512() { return chosen_isa() == Isa::avx512; }

void distances3_avx512(const float* x, int64_t stride, const float* point, int64_t count,
                       int64_t groups, float* row, float* minima) {
  distances3(x, stride, point, count, groups, row, minima);
}

void minima_avx512(const float* row, int64_t count, int64_t groups, float* minima) {
  minima_of(row, count, groups, minima);
}

int64_t compress_avx512(const float* row, int64_t count, float limit, int32_t* out) {
  static const bool bytes = __builtin_cpu_supports("avx512vbmi2");
  return bytes ? compress_bytes(row, count, limit, out) : compress_words(row, count, limit, out);
}

bool select_avx512(const KnnQuery& query, const float* row, const float* minima, Slack<float> slack,
                   int32_t* candidate, int32_t* out) {
  return select(query, row, minima, slack, candidate, out);
}

}  // namespace basin

#else  // without x86 there is no such machine

namespace basin {

bool has_knn_avx512() { return false; }
void distances3_avx512(const float*, int64_t, const float*, int64_t, int64_t, float*, float*) {}
void minima_avx512(const float*, int64_t, int64_t, float*) {}
int64_t compress_avx512(const float*, int64_t, float, int32_t*) { return 0; }
bool select_avx512(const KnnQuery&, const float*, const float*, Slack<float>, int32_t*, int32_t*) {
  return false;
}

}  // namespace basin

#endif
