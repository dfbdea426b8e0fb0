// row_max: packs panels of 256-byte weight rows (one panel of depth 128 is 32 KiB, so it stays in
// L1 while the points stream past) and picks the tile of the widest instruction set the machine
// has.
#include "basin/kernels/cpu/row_max.h"

#include <algorithm>
#include <limits>
#include <type_traits>

#include "basin/core/parallel.h"
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
  if (chosen_isa() == Isa::avx512) return avx512::scan_panel<T>;
  if (chosen_isa() == Isa::avx2) return avx2::scan_panel<T>;
#endif
  return baseline::scan_panel<T>;
}

}  // namespace

int64_t PackedWeights::last(int64_t panel) const {
  return std::min(channels, first(panel) + width());
}

template <class T>
PackedWeights pack_weights(const T* w, const T* sign, int64_t channels, int64_t depth) {
  const int64_t width = kPanel<T>, panels = tile_count(channels, width);
  PackedWeights packed{Tensor::empty({panels, depth, width}, kDTypeOf<T>), channels};
  T* data = packed.data.template mutable_data<T>();
  parallel_tiles(panels, [&](int64_t panel) {
    T* p = data + panel * depth * width;
    const int64_t first = panel * width, count = std::min(width, channels - first);
    for (int64_t k = 0; k < depth; ++k) {
      for (int64_t c = 0; c < count; ++c)
        p[k * width + c] = sign[first + c] * w[(first + c) * depth + k];
      std::fill(p + k * width + count, p + (k + 1) * width, T(0));
    }
  });
  return packed;
}

template <class T>
void row_max(const PackedWeights& w, int64_t panel, const T* x, int64_t rows, T* best,
             int32_t* index) {
  static const Scan<T> scan = best_scan<T>();
  alignas(64) T top[kPanel<T>];
  alignas(64) Wide<T> where[kPanel<T>] = {};
  std::fill(top, top + kPanel<T>, -std::numeric_limits<T>::infinity());
  const T* weights = w.data.template data<T>() + panel * w.depth() * w.width();
  scan(weights, w.depth(), x, rows, top, where);
  const int64_t count = w.last(panel) - w.first(panel);
  std::copy(top, top + count, best);
  std::transform(where, where + count, index, [](Wide<T> n) { return static_cast<int32_t>(n); });
}

template PackedWeights pack_weights(const float*, const float*, int64_t, int64_t);
template PackedWeights pack_weights(const double*, const double*, int64_t, int64_t);
template void row_max(const PackedWeights&, int64_t, const float*, int64_t, float*, int32_t*);
template void row_max(const PackedWeights&, int64_t, const double*, int64_t, double*, int32_t*);

}  // namespace basin
