// row_screen: rounding, the integer tiles of each instruction set, and the search of their maxima.
#include "basin/kernels/cpu/row_screen.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/hot.h"
#include "basin/kernels/cpu/isa.h"

#if BASIN_HAS_X86_TILES
#ifndef __clang__  // GCC 12 takes the undefined operand inside its own intrinsics for a fault
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#endif

namespace basin {
namespace {

constexpr int kBlockRows = 6;
constexpr int64_t kLeastRows = 64, kLeastDepth = 16;
constexpr int64_t kCandidateShare = 24;  // of a panel's rows times channels: more cost too much

// Two integers of 16 bits, written one by one.
#if defined(__GNUC__)
typedef int32_t Pair __attribute__((may_alias));
#else
using Pair = int32_t;
#endif

struct Tile {
  int64_t width;  // channels
  void (*block_maxima)(const Pair* w, int64_t pairs, const Pair* x, int64_t blocks,
                       int32_t* maxima);
};

const Pair* pairs_in(const Tensor& t) { return static_cast<const Pair*>(t.raw()); }
Pair* pairs_in(Tensor& t) { return static_cast<Pair*>(t.mutable_raw()); }

#if BASIN_HAS_X86_TILES
// Inline assembly below: around the intrinsics GCC 12 copies every sum, or spills it.
#define BASIN_TARGET_VNNI \
  __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx512vnni,bmi,bmi2")))

#define BASIN_ISA avx2
#define BASIN_ISA_TARGET BASIN_TARGET_AVX2
namespace avx2 {
using Value = __m256i;
constexpr int kLanes = 8, kVectors = 2;
BASIN_TARGET_AVX2 inline Value zero() { return _mm256_setzero_si256(); }
BASIN_TARGET_AVX2 inline Value fill(int32_t x) { return _mm256_set1_epi32(x); }
BASIN_TARGET_AVX2 inline Value load(const Pair* x) {
  return _mm256_loadu_si256(reinterpret_cast<const Value*>(x));
}
BASIN_TARGET_AVX2 inline void store(int32_t* x, Value a) {
  _mm256_storeu_si256(reinterpret_cast<Value*>(x), a);
}
BASIN_TARGET_AVX2 inline Value larger(Value a, Value b) { return _mm256_max_epi32(a, b); }
BASIN_TARGET_AVX2 inline Value add_products(Value sum, Value a, Value b) {
  Value products;
  asm("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(sum), "=&x"(products) : "x"(a), "x"(b));
  return sum;
}
}  // namespace avx2
#include "basin/kernels/cpu/row_screen_tile.inc"

#define BASIN_ISA vnni
#define BASIN_ISA_TARGET BASIN_TARGET_VNNI
namespace vnni {
using Value = __m512i;
constexpr int kLanes = 16, kVectors = 4;
BASIN_TARGET_VNNI inline Value zero() { return _mm512_setzero_si512(); }
BASIN_TARGET_VNNI inline Value fill(int32_t x) { return _mm512_set1_epi32(x); }
BASIN_TARGET_VNNI inline Value load(const Pair* x) { return _mm512_loadu_si512(x); }
BASIN_TARGET_VNNI inline void store(int32_t* x, Value a) { _mm512_storeu_si512(x, a); }
BASIN_TARGET_VNNI inline Value larger(Value a, Value b) { return _mm512_max_epi32(a, b); }
BASIN_TARGET_VNNI inline Value add_products(Value sum, Value a, Value b) {
  asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  return sum;
}
}  // namespace vnni
#include "basin/kernels/cpu/row_screen_tile.inc"
#endif

// The fastest for this machine; null where f32 is as fast: without vectors, and with AVX-512 but
// without its integer multiply-adds (VNNI), where two instructions replace two.
const Tile* best_tile() {
#if BASIN_HAS_X86_TILES
  static constexpr Tile kAvx2{avx2::kWidth, avx2::block_maxima};
  static constexpr Tile kVnni{vnni::kWidth, vnni::block_maxima};
  static const bool has_vnni = __builtin_cpu_supports("avx512vnni") != 0;
  if (chosen_isa() >= Isa::avx512) return has_vnni ? &kVnni : nullptr;
  if (chosen_isa() == Isa::avx2) return &kAvx2;
#endif
  return nullptr;
}

int64_t pairs_of(int64_t depth) { return (depth + 1) / 2; }

// The largest integer of which `depth` squares still fit into a 32-bit sum.
float largest_integer(int64_t depth) {
  const double most = std::numeric_limits<int32_t>::max();
  return static_cast<float>(
      std::min(32767.0, std::floor(std::sqrt(most / static_cast<double>(2 * pairs_of(depth))))));
}

// The largest |x|, found by its bits, whose order is that of the numbers; not finite where one of
// them is not.
BASIN_HOT float largest_of(const float* x, int64_t n) {
  int32_t top = 0;
  for (int64_t i = 0; i < n; ++i) {
    const int32_t a = std::bit_cast<int32_t>(x[i]) & 0x7fffffff;
    top = a > top ? a : top;
  }
  return std::bit_cast<float>(top);
}

struct Lengths {
  float squares, errors;  // sums of t^2 and (t - q)^2
};
// q = x * inverse to the nearest integer, as 16 bits each.
BASIN_HOT Lengths round_row(const float* __restrict x, int64_t n, float inverse,
                            int16_t* __restrict q) {
  constexpr float kRound = 12582912.F;  // 1.5 * 2^23
  float squares = 0, errors = 0;
  constexpr int kWide = 16;
  float square[kWide] = {}, error[kWide] = {};
  int64_t i = 0;
  for (; i + kWide <= n; i += kWide) {
    for (int j = 0; j < kWide; ++j) {
      const float t = x[i + j] * inverse, integer = (t + kRound) - kRound, d = t - integer;
      q[i + j] = static_cast<int16_t>(static_cast<int32_t>(integer));
      square[j] += t * t;
      error[j] += d * d;
    }
  }
  for (; i < n; ++i) {
    const float t = x[i] * inverse, integer = (t + kRound) - kRound, d = t - integer;
    q[i] = static_cast<int16_t>(static_cast<int32_t>(integer));
    squares += t * t;
    errors += d * d;
  }
  for (int j = 0; j < kWide; ++j) {
    squares += square[j];
    errors += error[j];
  }
  return {squares, errors};
}

// Bounds of |t| and |d| from sums in f32, t itself rounded.
double length_bound(Lengths l) { return std::sqrt(static_cast<double>(l.squares)) * 1.001; }
double error_bound(Lengths l) {
  return std::sqrt(static_cast<double>(l.errors)) * 1.001 + length_bound(l) * 1e-7;
}

// The product of each row of a block with one channel.
BASIN_HOT void block_products(const int16_t* __restrict w, const int16_t* __restrict x, int64_t n,
                              int32_t* __restrict product) {
  for (int r = 0; r < kBlockRows; ++r) {
    int32_t sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += static_cast<int32_t>(w[i]) * x[r * n + i];
    product[r] = sum;
  }
}

BASIN_HOT void largest_blocks(const int32_t* __restrict maxima, int64_t blocks,
                              int32_t* __restrict top) {
  for (int64_t c = 0; c < kScreenWidth; ++c) top[c] = maxima[c];
  for (int64_t b = 1; b < blocks; ++b) {
    for (int64_t c = 0; c < kScreenWidth; ++c) {
      const int32_t value = maxima[b * kScreenWidth + c];
      top[c] = value > top[c] ? value : top[c];
    }
  }
}

// The first block from `first` on with a maximum that reaches its channel's limit, or `blocks`.
BASIN_HOT int64_t next_block(const int32_t* __restrict maxima, int64_t first, int64_t blocks,
                             const int32_t* __restrict limit) {
  for (int64_t b = first; b < blocks; ++b) {
    int32_t reached = 0;
    for (int64_t c = 0; c < kScreenWidth; ++c) {
      reached |= maxima[b * kScreenWidth + c] >= limit[c] ? 1 : 0;
    }
    if (reached != 0) return b;
  }
  return blocks;
}

}  // namespace

ScreenWeights screen_weights(const float* w, int64_t channels, int64_t depth, int64_t rows) {
  ScreenWeights out;
  const Tile* tile = best_tile();
  if (tile == nullptr || rows < kLeastRows || depth < kLeastDepth) return out;
  if (!std::isfinite(hot([&] { return largest_of(w, channels * depth); }))) return out;
  const int64_t pairs = pairs_of(depth), panels = tile_count(channels, kScreenWidth);
  const float most = largest_integer(depth);
  out.channels = channels;
  out.depth = depth;
  out.rows = Tensor::zeros({panels * kScreenWidth, pairs}, DType::i32);
  out.norms = Tensor::zeros({panels * kScreenWidth, 3}, DType::f64);
  out.tiles = Tensor::empty({panels, pairs * kScreenWidth}, DType::i32);
  Pair *integers = pairs_in(out.rows), *tiles = pairs_in(out.tiles);
  double* norms = out.norms.mutable_data<double>();
  parallel_tiles(panels, [&](int64_t panel) {
    const int64_t begin = panel * kScreenWidth, end = std::min(channels, begin + kScreenWidth);
    for (int64_t c = begin; c < end; ++c) {
      const float* row = w + c * depth;
      const float top = hot([&] { return largest_of(row, depth); });
      if (top == 0) continue;  // the scale stays 0
      const float inverse = most / top;
      if (!std::isfinite(inverse)) {
        norms[3 * c + 2] = std::numeric_limits<double>::quiet_NaN();  // beyond any range
        continue;
      }
      const Lengths l = hot([&] {
        return round_row(row, depth, inverse, reinterpret_cast<int16_t*>(integers + c * pairs));
      });
      norms[3 * c] = length_bound(l);
      norms[3 * c + 1] = error_bound(l);
      norms[3 * c + 2] = 1 / static_cast<double>(inverse);
    }
    for (int64_t c = 0; c < kScreenWidth; ++c) {
      Pair* to = tiles + (panel * kScreenWidth + c / tile->width * tile->width) * pairs;
      for (int64_t k = 0; k < pairs; ++k) {
        to[k * tile->width + c % tile->width] = integers[(begin + c) * pairs + k];
      }
    }
  });
  return out;
}

RowScreen::RowScreen(const ScreenWeights& w, const float* x, int64_t rows)
    : w_(w), rows_(rows), pairs_(pairs_of(w.depth)), blocks_(tile_count(rows, kBlockRows)) {
  const float top = hot([&] { return largest_of(x, rows * w.depth); });
  const float inverse = largest_integer(w.depth) / top;
  if (!std::isfinite(top) || !std::isfinite(inverse)) return;
  x_ = Tensor::zeros({blocks_ * kBlockRows, pairs_}, DType::i32);
  maxima_ = Tensor::empty({blocks_, kScreenWidth}, DType::i32);
  Pair* integers = pairs_in(x_);
  for (int64_t n = 0; n < rows; ++n) {
    const Lengths l = hot([&] {
      return round_row(x + n * w.depth, w.depth, inverse,
                       reinterpret_cast<int16_t*>(integers + n * pairs_));
    });
    length_ = std::max(length_, length_bound(l));
    error_ = std::max(error_, error_bound(l));
  }
  for (int64_t n = rows; n < blocks_ * kBlockRows; ++n) {  // a row that is there already
    std::copy(integers, integers + pairs_, integers + n * pairs_);
  }
  scale_ = 1 / static_cast<double>(inverse);
  usable_ = true;
}

bool RowScreen::candidates(int64_t panel, std::vector<Candidate>& found) {
  found.clear();
  if (!usable_) return false;
  const double* norms = w_.norms.data<double>() + panel * kScreenWidth * 3;
  const double k = static_cast<double>(w_.depth), u = std::ldexp(1.0, -23);  // twice the bound
  double window[kScreenWidth];
  for (int64_t c = 0; c < kScreenWidth; ++c, norms += 3) {
    const double length = norms[0], error = norms[1], scale = norms[2] * scale_;
    window[c] = 2 * (length * error_ + error * (length_ + error_) + k * u * length * length_) + 2;
    if (scale == 0) continue;
    // Where f32 products could leave its range, its order is not that of the numbers.
    if (!(scale > 1e-30 && scale * length * length_ < 1e30)) return false;
  }
  int32_t* maxima = maxima_.mutable_data<int32_t>();
  best_tile()->block_maxima(pairs_in(w_.tiles) + panel * kScreenWidth * pairs_, pairs_,
                            pairs_in(x_), blocks_, maxima);
  int32_t top[kScreenWidth], limit[kScreenWidth];
  hot([&] { largest_blocks(maxima, blocks_, top); });
  norms = w_.norms.data<double>() + panel * kScreenWidth * 3;
  for (int64_t c = 0; c < kScreenWidth; ++c) {
    constexpr double kLeast = std::numeric_limits<int32_t>::min();
    const bool zeros = norms[3 * c + 2] == 0;
    if (zeros && panel * kScreenWidth + c < w_.channels) {
      found.push_back({static_cast<int32_t>(c), 0});
    }
    limit[c] = zeros ? std::numeric_limits<int32_t>::max()
                     : static_cast<int32_t>(std::max(kLeast, std::floor(top[c] - window[c])));
  }
  const auto most = static_cast<size_t>(rows_ * kScreenWidth / kCandidateShare);
  const auto* weights =
      static_cast<const int16_t*>(w_.rows.raw()) + panel * kScreenWidth * 2 * pairs_;
  const auto* points = static_cast<const int16_t*>(x_.raw());
  const auto next = [&](int64_t b) {
    return hot([&] { return next_block(maxima, b, blocks_, limit); });
  };
  for (int64_t b = next(0); b < blocks_; b = next(b + 1)) {
    const int64_t first = b * kBlockRows, count = std::min<int64_t>(kBlockRows, rows_ - first);
    for (int64_t c = 0; c < kScreenWidth; ++c) {
      if (maxima[b * kScreenWidth + c] < limit[c]) continue;
      int32_t product[kBlockRows];
      hot([&] {
        block_products(weights + c * 2 * pairs_, points + first * 2 * pairs_, 2 * pairs_, product);
      });
      for (int64_t r = 0; r < count; ++r) {
        if (product[r] < limit[c]) continue;
        found.push_back({static_cast<int32_t>(c), static_cast<int32_t>(first + r)});
      }
    }
    if (found.size() > most) return false;
  }
  return true;
}

}  // namespace basin
