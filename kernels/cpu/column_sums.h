// Sums over the rows of a matrix, per column: partial sums in double for fixed row tiles, added in
// tile order. Shared by the batch-norm kernels.
#pragma once
#include <algorithm>

#include "basin/core/parallel.h"
#include "basin/core/tensor.h"

namespace basin {

inline constexpr int64_t kTileElements = int64_t{1} << 16;

inline int64_t rows_per_tile(int64_t channels) {
  return std::max<int64_t>(16, kTileElements / std::max<int64_t>(1, channels));
}

// body(begin row, rows, p) adds into its tile's partial sums p [kinds, C]; the totals land in the
// first kinds * C elements of the result.
template <class Body>
Tensor column_sums(int64_t rows, int64_t channels, int64_t kinds, Body&& body) {
  const int64_t grain = rows_per_tile(channels), tiles = tile_count(rows, grain);
  Tensor sums = Tensor::zeros({std::max<int64_t>(1, tiles), kinds, channels}, DType::f64);
  double* p = sums.mutable_data<double>();
  parallel_tiles(tiles, [&](int64_t tile) {
    body(tile * grain, std::min(grain, rows - tile * grain), p + tile * kinds * channels);
  });
  for (int64_t tile = 1; tile < tiles; ++tile) {
    for (int64_t c = 0; c < kinds * channels; ++c) p[c] += p[tile * kinds * channels + c];
  }
  return sums;
}

}  // namespace basin
