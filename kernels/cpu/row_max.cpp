// row_max: packs panels of 256-byte weight rows (one panel of depth 128 is 32 KiB, so it stays in
// L1 while the points stream past) and picks the tile of the widest instruction set the machine
// has. In f32 integers find the rows that count first (row_screen.h), where they are faster.
#include "basin/kernels/cpu/row_max.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/hot.h"
#include "basin/kernels/cpu/isa.h"

namespace basin {
namespace {

template <class T>
constexpr int kPanel = 256 / sizeof(T);  // channels

constexpr int kTileRows = 6;

// An index as wide as the value, so that both move through the same vector lanes.
template <class T>
using Wide = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;

#define BASIN_ISA baseline
#define BASIN_ISA_TARGET
#define BASIN_ISA_BYTES 16
#define BASIN_ISA_VECTORS 2
#include "basin/kernels/cpu/row_max_tile.inc"

#if BASIN_HAS_X86_TILES
#define BASIN_ISA avx2
#define BASIN_ISA_TARGET BASIN_TARGET_AVX2
#define BASIN_ISA_BYTES 32
#define BASIN_ISA_VECTORS 2
#include "basin/kernels/cpu/row_max_tile.inc"

#define BASIN_ISA avx512
#define BASIN_ISA_TARGET BASIN_TARGET_AVX512
#define BASIN_ISA_BYTES 64
#define BASIN_ISA_VECTORS 4
#include "basin/kernels/cpu/row_max_tile.inc"
#endif

template <class T>
using Scan = void (*)(const T* w, int64_t depth, const T* x, int64_t rows, T* best, Wide<T>* index);

template <class T>
Scan<T> best_scan() {
#if BASIN_HAS_X86_TILES
  if (chosen_isa() >= Isa::avx512) return avx512::scan_panel<T>;
  if (chosen_isa() == Isa::avx2) return avx2::scan_panel<T>;
#endif
  return baseline::scan_panel<T>;
}

// Panel [depth, kPanel] of weights, each row multiplied by its sign.
template <class T>
void pack_panel_of(const T* w, const T* sign, int64_t count, int64_t depth, T* panel) {
  for (int64_t k = 0; k < depth; ++k) {
    for (int64_t c = 0; c < count; ++c) panel[k * kPanel<T> + c] = sign[c] * w[c * depth + k];
    std::fill(panel + k * kPanel<T> + count, panel + (k + 1) * kPanel<T>, T(0));
  }
}

// Products of pairs of rows, each the chain of multiply-adds that a tile makes of them.
constexpr int kChains = 8;  // hide each other's latency
BASIN_HOT void multiply_rows(const float* const* w, const float* const* x, int64_t depth,
                             float* product) {
  float sum[kChains] = {};
  for (int64_t k = 0; k < depth; ++k) {
    for (int j = 0; j < kChains; ++j) sum[j] = std::fma(x[j][k], w[j][k], sum[j]);
  }
  for (int j = 0; j < kChains; ++j) product[j] = sum[j];
}

// best and index of a panel's channels from their candidates; w: the panel's signed rows.
void choose(const std::vector<Candidate>& candidates, const float* w, int64_t depth, const float* x,
            float* best, int32_t* index) {
  for (size_t first = 0; first < candidates.size(); first += kChains) {
    const float *left[kChains], *right[kChains];
    const size_t count = std::min<size_t>(kChains, candidates.size() - first);
    for (size_t j = 0; j < kChains; ++j) {
      const Candidate& c = candidates[first + std::min(j, count - 1)];
      left[j] = w + c.channel * depth;
      right[j] = x + c.row * depth;
    }
    float product[kChains];
    hot([&] { multiply_rows(left, right, depth, product); });
    for (size_t j = 0; j < count; ++j) {
      const Candidate& c = candidates[first + j];
      if (product[j] > best[c.channel]) {
        best[c.channel] = product[j];
        index[c.channel] = c.row;
      }
    }
  }
}

// top and where [panels, kPanel] of the panels from `first` on.
void scan_screened(const PackedWeights& w, int64_t first, int64_t last, const float* x,
                   int64_t rows, float* top, int32_t* where) {
  RowScreen screen(w.screen, x, rows);
  std::vector<Candidate> candidates;
  for (int64_t p = first; p < last; ++p, top += w.width, where += w.width) {
    const float* weights = w.data.data<float>() + p * w.width * w.depth;
    if (screen.candidates(p, candidates)) {
      choose(candidates, weights, w.depth, x, top, where);
      continue;
    }
    const std::vector<float> signs(static_cast<size_t>(w.width), 1.F);
    Tensor panel = Tensor::empty({w.depth, w.width}, DType::f32);
    pack_panel_of<float>(weights, signs.data(), std::min(w.width, w.channels - p * w.width),
                         w.depth, panel.mutable_data<float>());
    best_scan<float>()(panel.data<float>(), w.depth, x, rows, top, where);
  }
}

}  // namespace

template <class T>
PackedWeights pack_weights(const T* w, const T* sign, int64_t channels, int64_t depth,
                           int64_t rows) {
  const int64_t width = kPanel<T>, panels = tile_count(channels, width);
  PackedWeights packed{{}, channels, depth, width, {}};
  if constexpr (sizeof(T) == 4) {
    packed.data = Tensor::empty({channels, depth}, kDTypeOf<T>);
    T* data = packed.data.template mutable_data<T>();
    parallel_for(channels, 64, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin * depth; i < end * depth; ++i) data[i] = sign[i / depth] * w[i];
    });
    packed.screen = screen_weights(data, channels, depth, rows);
    if (packed.screen.usable()) return packed;
  }
  packed.data = Tensor::empty({panels, depth, width}, kDTypeOf<T>);
  T* data = packed.data.template mutable_data<T>();
  parallel_tiles(panels, [&](int64_t panel) {
    const int64_t first = panel * width;
    pack_panel_of<T>(w + first * depth, sign + first, std::min(width, channels - first), depth,
                     data + panel * depth * width);
  });
  return packed;
}

template <class T>
void row_max(const PackedWeights& w, int64_t first, int64_t last, const T* x, int64_t rows, T* best,
             int32_t* index) {
  static const Scan<T> scan = best_scan<T>();
  const int64_t begin = first * w.width, panels = last - first;
  Tensor tops = Tensor::full({panels, w.width}, kDTypeOf<T>, -INFINITY);
  Tensor places = Tensor::zeros({panels, w.width}, sizeof(T) == 4 ? DType::i32 : DType::i64);
  T* top = tops.template mutable_data<T>();
  Wide<T>* where = places.template mutable_data<Wide<T>>();
  const T* data = w.data.template data<T>();
  if constexpr (sizeof(T) == 4) {
    if (w.screen.usable()) {
      scan_screened(w, first, last, x, rows, top, where);
      last = first;
    }
  }
  for (int64_t p = 0; p < last - first; ++p) {
    scan(data + (first + p) * w.depth * w.width, w.depth, x, rows, top + p * w.width,
         where + p * w.width);
  }
  const int64_t count = std::min(w.channels, begin + panels * w.width) - begin;
  std::copy(top, top + count, best + begin);
  std::transform(where, where + count, index + begin,
                 [](Wide<T> n) { return static_cast<int32_t>(n); });
}

template PackedWeights pack_weights(const float*, const float*, int64_t, int64_t, int64_t);
template PackedWeights pack_weights(const double*, const double*, int64_t, int64_t, int64_t);
template void row_max(const PackedWeights&, int64_t, int64_t, const float*, int64_t, float*,
                      int32_t*);
template void row_max(const PackedWeights&, int64_t, int64_t, const double*, int64_t, double*,
                      int32_t*);

}  // namespace basin
