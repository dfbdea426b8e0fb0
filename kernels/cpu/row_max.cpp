// row_max: packs panels of 256-byte weight rows (one panel of depth 128 is 32 KiB, so it stays in
// L1 while the points stream past) and picks the tile of the widest instruction set the machine
// has. With AMX the packed core multiplies some points by some panels, and the products are scanned
// while they are in cache.
#include "basin/kernels/cpu/row_max.h"

#include <algorithm>
#include <cmath>
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
  if (chosen_isa() >= Isa::avx512) return avx512::scan_panel<T>;
  if (chosen_isa() == Isa::avx2) return avx2::scan_panel<T>;
#endif
  return baseline::scan_panel<T>;
}

#if BASIN_HAS_AMX
// best and index of a panel after `rows` more products [rows, kPanel], the first of row `first`.
BASIN_TARGET_AVX512 void scan_products(const float* products, int64_t rows, int32_t first,
                                       float* best, int32_t* index) {
  using Value = avx512::Vector<float>::value;
  using Index = avx512::Vector<float>::index;
  constexpr int kLanes = avx512::Vector<float>::kLanes, kVectors = kPanel<float> / kLanes;
  Value top[kVectors];
  Index where[kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    top[v] = *reinterpret_cast<const Value*>(best + v * kLanes);
    where[v] = *reinterpret_cast<const Index*>(index + v * kLanes);
  }
  for (int64_t r = 0; r < rows; ++r) {
    const Index row = first + static_cast<int32_t>(r) + Index{};
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const Value value =
          *reinterpret_cast<const Value*>(products + r * kPanel<float> + v * kLanes);
      const auto wins = (value > top[v]) | (value != value);
      top[v] = wins ? value : top[v];
      where[v] = wins ? row : where[v];
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    *reinterpret_cast<Value*>(best + v * kLanes) = top[v];
    *reinterpret_cast<Index*>(index + v * kLanes) = where[v];
  }
}

// top and where [panels, kPanel] of panels from `first` on.
void scan_by_products(const PackedWeights& w, int64_t first, int64_t panels, const float* x,
                      int64_t rows, float* top, int32_t* where) {
  constexpr int64_t kWidth = kPanel<float>;
  const int64_t size = panel_size<float>(w.form, w.depth),
                most = std::min(rows, block_rows(w.form));
  const float* weights = w.data.data<float>() + first * size;
  Tensor packed = Tensor::empty({rows_size<float>(w.form, most, w.depth)}, DType::f32);
  Tensor scratch = Tensor::empty({most, kWidth}, DType::f32);
  float* products = scratch.mutable_data<float>();
  for (int64_t begin = 0; begin < rows; begin += most) {
    const int64_t count = std::min(most, rows - begin);
    Block<float> block{x + begin * w.depth, w.depth, w.depth, 1, count, w.depth, 1, 0, kWidth};
    block.form = w.form;
    pack_rows<float>(block, packed.mutable_data<float>());
    for (int64_t p = 0; p < panels; ++p) {
      multiply_panel<float>(block, weights + p * size, kWidth, products);
      scan_products(products, count, static_cast<int32_t>(begin), top + p * kWidth,
                    where + p * kWidth);
    }
  }
}
#endif

}  // namespace

template <class T>
PackedWeights pack_weights(const T* w, const T* sign, int64_t channels, int64_t depth,
                           int64_t rows) {
  const int64_t width = kPanel<T>, panels = tile_count(channels, width);
  const PanelForm form = panel_form<T>(Factors::any, rows, channels, depth);
  const int64_t size = panel_size<T>(form, depth);
  PackedWeights packed{Tensor::empty({panels, size}, kDTypeOf<T>), channels, depth, width, form};
  T* data = packed.data.template mutable_data<T>();
  parallel_tiles(panels, [&](int64_t panel) {
    T* p = data + panel * size;
    const int64_t first = panel * width, count = std::min(width, channels - first);
    if (form != PanelForm::plain) {
      Tensor scratch = Tensor::zeros({width, depth}, kDTypeOf<T>);
      T* signed_rows = scratch.template mutable_data<T>();
      for (int64_t c = 0; c < count; ++c) {
        for (int64_t k = 0; k < depth; ++k) {
          signed_rows[c * depth + k] = sign[first + c] * w[(first + c) * depth + k];
        }
      }
      pack_panel<T>(form, true, signed_rows, depth, depth, width, p);
      return;
    }
    for (int64_t k = 0; k < depth; ++k) {
      for (int64_t c = 0; c < count; ++c)
        p[k * width + c] = sign[first + c] * w[(first + c) * depth + k];
      std::fill(p + k * width + count, p + (k + 1) * width, T(0));
    }
  });
  return packed;
}

template <class T>
void row_max(const PackedWeights& w, int64_t first, int64_t last, const T* x, int64_t rows, T* best,
             int32_t* index) {
  static const Scan<T> scan = best_scan<T>();
  int64_t panels = last - first;
  const int64_t begin = first * w.width;
  Tensor tops = Tensor::full({panels, w.width}, kDTypeOf<T>, -INFINITY);
  Tensor places = Tensor::zeros({panels, w.width}, sizeof(T) == 4 ? DType::i32 : DType::i64);
  T* top = tops.template mutable_data<T>();
  Wide<T>* where = places.template mutable_data<Wide<T>>();
#if BASIN_HAS_AMX
  if constexpr (sizeof(T) == 4) {
    if (w.form != PanelForm::plain) {
      scan_by_products(w, first, panels, x, rows, top, where);
      panels = 0;
    }
  }
#endif
  const int64_t size = w.depth * w.width;
  for (int64_t p = 0; p < panels; ++p) {
    scan(w.data.template data<T>() + (first + p) * size, w.depth, x, rows, top + p * w.width,
         where + p * w.width);
  }
  const int64_t count = std::min(w.channels, last * w.width) - begin;
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
