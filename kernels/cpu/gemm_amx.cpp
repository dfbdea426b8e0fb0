// Splitting into bf16 parts, and the tile of 32 x 32 over them (gemm_amx.h).
#include "basin/kernels/cpu/gemm_amx.h"

#if BASIN_HAS_AMX
#include <immintrin.h>

#include <algorithm>

#include "basin/core/parallel.h"

namespace basin::amx {
namespace {

// A tile register: 16 rows of 64 bytes. As a left factor its rows are rows of A, as a right factor
// pairs of rows of B, the two numbers of a column side by side.
constexpr int64_t kTileRows = 16, kTileSize = 512;  // of bf16
constexpr int64_t kPartSize = 2 * kTileSize;        // the two tiles of a group
template <int kParts>
constexpr int64_t kStepSize = kParts* kPartSize;
template <int kParts>
constexpr int64_t kStepsInCache = 9 / kParts;  // 18 KiB of the right factor stay in the first cache

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// Vectors of the language where GCC 12 warns of what its intrinsics leave unset.
typedef float Floats __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef uint64_t Longs __attribute__((vector_size(64)));
typedef uint16_t Halves __attribute__((vector_size(64)));

// The upper halves of the numbers are the parts; of h and m the lower ones are zero.
template <int kParts>
struct Parts {
  Words part[kParts];
};

// h and m are rounded to nearest, halves away from zero, so the rest fits l, and the sign of a part
// says nothing of x: what the products leave out does not add up.
BASIN_TARGET_AMX inline Words upper_half(Floats x) {
  return (reinterpret_cast<Words>(x) + 0x8000U) & 0xffff0000U;
}

template <int kParts>
BASIN_TARGET_AMX inline Parts<kParts> parts_of(Floats x) {
  const Words h = upper_half(x);
  if constexpr (kParts == 1) {
    return {{h}};
  } else {
    x -= reinterpret_cast<Floats>(h);
    const Words m = upper_half(x);
    x -= reinterpret_cast<Floats>(m);
    return {{h, m, reinterpret_cast<Words>(x)}};
  }
}

BASIN_TARGET_AMX inline __mmask16 first_lanes(int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xffff : count <= 0 ? 0 : (1 << count) - 1);
}

BASIN_TARGET_AMX inline Floats load(const float* x, int64_t count) {
  return reinterpret_cast<Floats>(_mm512_maskz_loadu_ps(first_lanes(count), x));
}

// 32 numbers of one line, as pairs of neighbours.
template <int kParts>
BASIN_TARGET_AMX inline void split_line(const float* x, int64_t count, Words* pairs) {
  const Parts<kParts> first = parts_of<kParts>(load(x, count));
  const Parts<kParts> second = parts_of<kParts>(load(x + 16, count - 16));
  for (int q = 0; q < kParts; ++q) {
    pairs[q] = reinterpret_cast<Words>(__builtin_shufflevector(
        reinterpret_cast<Halves>(first.part[q]), reinterpret_cast<Halves>(second.part[q]), 1, 3, 5,
        7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31, 33, 35, 37, 39, 41, 43, 45, 47, 49, 51,
        53, 55, 57, 59, 61, 63));
  }
}

// Two lines of 16 numbers, as pairs across them.
template <int kParts>
BASIN_TARGET_AMX inline void split_pair(const float* x, int64_t stride, bool both, int64_t count,
                                        Words* pairs) {
  const Parts<kParts> first = parts_of<kParts>(load(x, count));
  const Parts<kParts> second = parts_of<kParts>(load(both ? x + stride : x, both ? count : 0));
  for (int q = 0; q < kParts; ++q) {
    pairs[q] = first.part[q] >> 16 | (second.part[q] & 0xffff0000U);
  }
}

// A square of 16 x 16 pairs to the rows of a tile: single pairs change places, then two, four and
// eight.
BASIN_TARGET_AMX inline void store_transposed(const Words* in, uint16_t* tile) {
  Longs one[16], two[16];
  for (int i = 0; i < 16; i += 2) {
    one[i] = reinterpret_cast<Longs>(__builtin_shufflevector(in[i], in[i + 1], 0, 16, 1, 17, 4, 20,
                                                             5, 21, 8, 24, 9, 25, 12, 28, 13, 29));
    one[i + 1] = reinterpret_cast<Longs>(__builtin_shufflevector(
        in[i], in[i + 1], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31));
  }
  for (int i = 0; i < 16; i += 4) {
    for (int c = 0; c < 2; ++c) {
      const Longs above = one[i + c], below = one[i + 2 + c];
      two[i + 2 * c] = __builtin_shufflevector(above, below, 0, 8, 2, 10, 4, 12, 6, 14);
      two[i + 2 * c + 1] = __builtin_shufflevector(above, below, 1, 9, 3, 11, 5, 13, 7, 15);
    }
  }
  for (int c = 0; c < 4; ++c) {
    Longs four[4];
    for (int half = 0; half < 2; ++half) {
      const Longs above = two[8 * half + c], below = two[8 * half + 4 + c];
      four[half] = __builtin_shufflevector(above, below, 0, 1, 4, 5, 8, 9, 12, 13);
      four[2 + half] = __builtin_shufflevector(above, below, 2, 3, 6, 7, 10, 11, 14, 15);
    }
    for (int odd = 0; odd < 2; ++odd) {
      const Longs left = four[2 * odd], right = four[2 * odd + 1];
      *reinterpret_cast<Longs*>(tile + (4 * odd + c) * kStep) =
          __builtin_shufflevector(left, right, 0, 1, 4, 5, 8, 9, 12, 13);
      *reinterpret_cast<Longs*>(tile + (8 + 4 * odd + c) * kStep) =
          __builtin_shufflevector(left, right, 2, 3, 6, 7, 10, 11, 14, 15);
    }
  }
}

// Where the tile of a part of line `line`, or of depth from step `step` on, begins.
template <int kParts>
inline uint16_t* tile_at(float* packed, int64_t steps, int64_t line, int64_t step, int64_t part) {
  return reinterpret_cast<uint16_t*>(packed) + (line / kGroup * steps + step) * kStepSize<kParts> +
         part * kPartSize + line % kGroup / kTileRows * kTileSize;
}

// Lines of `depth` neighbouring numbers, `stride` apart, as rows of tiles or, turned, as columns.
template <int kParts, bool kTurned>
BASIN_TARGET_AMX void split_lines(const float* x, int64_t stride, int64_t lines, int64_t depth,
                                  float* packed) {
  const int64_t steps = tile_count(depth, kStep);
  for (int64_t i = 0; i < lines; i += kTileRows) {
    const int64_t count = std::min(kTileRows, lines - i);
    for (int64_t s = 0; s < steps; ++s) {
      Words pairs[kParts][kTileRows];
      for (int64_t r = 0; r < count; ++r) {
        Words line[kParts];
        split_line<kParts>(x + (i + r) * stride + s * kStep, depth - s * kStep, line);
        for (int64_t q = 0; q < kParts; ++q) {
          if constexpr (kTurned) {
            pairs[q][r] = line[q];
          } else {
            *reinterpret_cast<Words*>(tile_at<kParts>(packed, steps, i, s, q) + r * kStep) =
                line[q];
          }
        }
      }
      if constexpr (kTurned) {
        for (int64_t q = 0; q < kParts; ++q) {
          std::fill(pairs[q] + count, pairs[q] + kTileRows, Words{});
          store_transposed(pairs[q], tile_at<kParts>(packed, steps, i, s, q));
        }
      }
    }
  }
}

// Lines whose numbers lie `stride` apart, neighbours beside each other, as columns of tiles or,
// turned, as rows.
template <int kParts, bool kTurned>
BASIN_TARGET_AMX void split_across(const float* x, int64_t stride, int64_t lines, int64_t depth,
                                   float* packed) {
  const int64_t steps = tile_count(depth, kStep);
  for (int64_t s = 0; s < steps; ++s) {  // a step of all lines: their numbers share cache lines
    for (int64_t i = 0; i < lines; i += kTileRows) {
      Words pairs[kParts][kTileRows];
      for (int64_t r = 0; r < kTileRows; ++r) {
        const int64_t l = s * kStep + 2 * r;
        Words pair[kParts];
        if (l < depth) {
          split_pair<kParts>(x + l * stride + i, stride, l + 1 < depth, lines - i, pair);
        } else {
          std::fill(pair, pair + kParts, Words{});
        }
        for (int64_t q = 0; q < kParts; ++q) {
          if constexpr (kTurned) {
            pairs[q][r] = pair[q];
          } else {
            *reinterpret_cast<Words*>(tile_at<kParts>(packed, steps, i, s, q) + r * kStep) =
                pair[q];
          }
        }
      }
      if constexpr (kTurned) {
        for (int64_t q = 0; q < kParts; ++q) {
          store_transposed(pairs[q], tile_at<kParts>(packed, steps, i, s, q));
        }
      }
    }
  }
}

// sums [32, 32] (+)= A B over some steps, of which the first 16 kDown rows and 16 kAcross columns
// are made. Products in the order l h, m h, m m, h m, h l, h h, each of which shares one side with
// the one before. Meanwhile the left factor's next step, after the last one that of `next`, is
// fetched from the second cache.
template <int kParts, int kDown, int kAcross>
BASIN_TARGET_AMX void multiply_group(const uint16_t* a, const uint16_t* b, int64_t steps,
                                     bool first, const uint16_t* next, float* sums) {
  constexpr bool kFour = kDown == 2 && kAcross == 2;
  constexpr int64_t kRowBytes = kGroup * sizeof(float);
  float* below = sums + kTileRows * kGroup;
  if (first) {
    _tile_zero(0);
    if constexpr (kAcross == 2) _tile_zero(1);
    if constexpr (kDown == 2) _tile_zero(2);
    if constexpr (kFour) _tile_zero(3);
  } else {
    _tile_loadd(0, sums, kRowBytes);
    if constexpr (kAcross == 2) _tile_loadd(1, sums + 16, kRowBytes);
    if constexpr (kDown == 2) _tile_loadd(2, below, kRowBytes);
    if constexpr (kFour) _tile_loadd(3, below + 16, kRowBytes);
  }
#define BASIN_LEFT(part)                    \
  _tile_loadd(4, a + (part)*kPartSize, 64); \
  if constexpr (kDown == 2) _tile_loadd(5, a + (part)*kPartSize + kTileSize, 64)
#define BASIN_RIGHT(part)                   \
  _tile_loadd(6, b + (part)*kPartSize, 64); \
  if constexpr (kAcross == 2) _tile_loadd(7, b + (part)*kPartSize + kTileSize, 64)
#define BASIN_PRODUCTS(tile)                                    \
  for (int64_t row = 0; row < kTileRows; ++row) {               \
    __builtin_prefetch(ahead + (tile)*kTileSize + row * kStep); \
  }                                                             \
  _tile_dpbf16ps(0, 4, 6);                                      \
  if constexpr (kAcross == 2) _tile_dpbf16ps(1, 4, 7);          \
  if constexpr (kDown == 2) _tile_dpbf16ps(2, 5, 6);            \
  if constexpr (kFour) _tile_dpbf16ps(3, 5, 7)
  for (int64_t s = 0; s < steps; ++s, a += kStepSize<kParts>, b += kStepSize<kParts>) {
    const uint16_t* ahead = s + 1 < steps ? a + kStepSize<kParts> : next;
    BASIN_RIGHT(0);
    if constexpr (kParts == 1) {
      BASIN_LEFT(0);
      BASIN_PRODUCTS(0);
      continue;
    }
    BASIN_LEFT(2);
    BASIN_PRODUCTS(4);
    BASIN_LEFT(1);
    BASIN_PRODUCTS(5);
    BASIN_RIGHT(1);
    BASIN_PRODUCTS(2);
    BASIN_LEFT(0);
    BASIN_PRODUCTS(3);
    BASIN_RIGHT(2);
    BASIN_PRODUCTS(0);
    BASIN_RIGHT(0);
    BASIN_PRODUCTS(1);
  }
#undef BASIN_LEFT
#undef BASIN_RIGHT
#undef BASIN_PRODUCTS
  _tile_stored(0, sums, kRowBytes);
  if constexpr (kAcross == 2) _tile_stored(1, sums + 16, kRowBytes);
  if constexpr (kDown == 2) _tile_stored(2, below, kRowBytes);
  if constexpr (kFour) _tile_stored(3, below + 16, kRowBytes);
}

BASIN_TARGET_AMX inline void store(float* to, int64_t count, Floats x, bool streamed) {
  if (streamed) {
    _mm512_stream_ps(to, reinterpret_cast<__m512>(x));
  } else {
    _mm512_mask_storeu_ps(to, first_lanes(count), reinterpret_cast<__m512>(x));
  }
}

// C [rows, cols] = alpha sums + beta D.
BASIN_TARGET_AMX void finish_group(const float* sums, int64_t rows, int64_t cols, float alpha,
                                   float beta, const float* d, int64_t ldd, float* c, int64_t ldc,
                                   bool streamed) {
  for (int64_t r = 0; r < rows; ++r, sums += kGroup, d += ldd, c += ldc) {
    Floats left = alpha * load(sums, 16), right = alpha * load(sums + 16, 16);
    if (beta != 0) {
      left += beta * load(d, cols);
      right += beta * load(d + 16, cols - 16);
    }
    store(c, cols, left, streamed);
    store(c + 16, cols - 16, right, streamed);
  }
}

using Multiply = void (*)(const uint16_t*, const uint16_t*, int64_t, bool, const uint16_t*, float*);
template <int kParts>
Multiply multiply_of(int64_t down, int64_t across) {
  if (down > kTileRows) {
    return across > kTileRows ? multiply_group<kParts, 2, 2> : multiply_group<kParts, 2, 1>;
  }
  return across > kTileRows ? multiply_group<kParts, 1, 2> : multiply_group<kParts, 1, 1>;
}

// Sums are made in a memory of their own, whose rows follow each other: rows of C, whose stride is
// often a power of two, would meet in a few sets of the first cache.
template <int kParts>
BASIN_TARGET_AMX void multiply_parts(const Block<float>& q, const float* panel, int64_t cols,
                                     float* c) {
  alignas(64) float sums[kBlockRows * kGroup];
  constexpr int64_t kSteps = kStepsInCache<kParts>, kSize = kStepSize<kParts>;
  const int64_t steps = tile_count(q.depth, kStep), ldd = q.addend.stride;
  const auto* left = reinterpret_cast<const uint16_t*>(q.a);
  const auto* right = reinterpret_cast<const uint16_t*>(panel);
  const bool streamed = q.streamed && q.ldc % 16 == 0 && reinterpret_cast<uintptr_t>(c) % 64 == 0;
  const TileConfig config;
  asm volatile("" ::: "memory");  // the compiler does not know that loads of a tile read memory
  _tile_loadconfig(&config);
  for (int64_t begin = 0; begin < q.rows; begin += kBlockRows) {
    const int64_t end = std::min(q.rows, begin + kBlockRows);
    for (int64_t j = 0; j < cols; j += kGroup) {
      const int64_t across = std::min(kGroup, cols - j);
      for (int64_t s = 0; s < steps; s += kSteps) {
        const int64_t count = std::min(kSteps, steps - s);
        const uint16_t* b = right + (j / kGroup * steps + s) * kSize;
        for (int64_t i = begin; i < end; i += kGroup) {
          const int64_t down = std::min(kGroup, end - i);
          const uint16_t* a = left + (i / kGroup * steps + s) * kSize;
          float* group = sums + (steps > kSteps ? i - begin : 0) * kGroup;
          const uint16_t* next = i + kGroup < end ? a + steps * kSize : a;
          multiply_of<kParts>(down, across)(a, b, count, s == 0, next, group);
          if (s + count < steps) continue;
          finish_group(group, down, across, q.alpha, q.beta, q.addend.data + i * ldd + j, ldd,
                       c + i * q.ldc + j, q.ldc, streamed && across == kGroup);
        }
      }
    }
  }
  _tile_release();
  if (streamed) _mm_sfence();  // other threads see C when they see that this one is done
}

template <int kParts>
void pack_parts(bool trans_b, const float* b, int64_t ldb, int64_t depth, int64_t cols,
                float* panel) {
  if (trans_b) {
    split_lines<kParts, true>(b, ldb, cols, depth, panel);
  } else {
    split_across<kParts, false>(b, ldb, cols, depth, panel);
  }
}

template <int kParts>
void split_parts(const Block<float>& q, float* packed) {
  if (q.depth_stride == 1) {
    split_lines<kParts, false>(q.a, q.row_stride, q.rows, q.depth, packed);
  } else {
    split_across<kParts, true>(q.a, q.depth_stride, q.rows, q.depth, packed);
  }
}

}  // namespace

void pack_panel(PanelForm form, bool trans_b, const float* b, int64_t ldb, int64_t depth,
                int64_t cols, float* panel) {
  const auto pack = form == PanelForm::bf16 ? pack_parts<1> : pack_parts<3>;
  pack(trans_b, b, ldb, depth, cols, panel);
}

void split_rows(const Block<float>& q, float* packed) {
  (q.form == PanelForm::bf16 ? split_parts<1> : split_parts<3>)(q, packed);
}

void multiply_panel(const Block<float>& q, const float* panel, int64_t cols, float* c) {
  (q.form == PanelForm::bf16 ? multiply_parts<1> : multiply_parts<3>)(q, panel, cols, c);
}

}  // namespace basin::amx
#endif
