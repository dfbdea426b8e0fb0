// The largest product of each channel with any row of a cloud, max_n x[n, :] . w[c, :], found as
// the products are made: the scan sits behind each register tile of the GEMM, so only the maxima
// are ever stored. Equal rows give equal bits whatever their place, so ties really are ties (a BLAS
// does not promise that). In f32 most products need not be made at all (row_screen.h).
#pragma once
#include <cstdint>

#include "basin/core/parallel.h"
#include "basin/core/tensor.h"
#include "basin/kernels/cpu/row_screen.h"

namespace basin {

// Weights laid out once per layer for row_max, in panels of `width` channels.
struct PackedWeights {
  Tensor data;  // [panels, depth, width], the last one padded; [channels, depth] beside a screen
  int64_t channels = 0, depth = 0, width = 0;
  ScreenWeights screen;
  int64_t panels() const { return tile_count(channels, width); }
};

// The rows of w [channels, depth], each multiplied by sign[c] (+1, -1 or 0, exact), for clouds of
// `rows` points. float and double.
template <class T>
PackedWeights pack_weights(const T* w, const T* sign, int64_t channels, int64_t depth,
                           int64_t rows);

// For the channels of panels [first, last): best = max_n x[n, :] . w[c, :] and index, the lowest n
// that reaches it. A NaN product wins. x [rows, depth]; best and index point at channel 0 and are
// written from the first panel's on.
template <class T>
void row_max(const PackedWeights& w, int64_t first, int64_t last, const T* x, int64_t rows, T* best,
             int32_t* index);

}  // namespace basin
