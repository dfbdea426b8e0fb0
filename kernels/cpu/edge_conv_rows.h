// What the passes of the edge convolution share: sizes, constants per channel in the form the loops
// read them, the cut into clouds and slices, and sums over all points.
#pragma once
#include <algorithm>

#include "basin/core/parallel.h"
#include "basin/core/tensor.h"
#include "basin/kernels/cpu/edge_conv_tiles.h"

namespace basin {

struct EdgeSizes {
  int64_t batch, points, neighbours, channels;

  static EdgeSizes of(const Tensor& u, const Tensor& index) {  // [B, N, C], [B, N, k]
    return {u.size(0), u.size(1), index.size(2), u.size(2)};
  }
  int64_t rows() const { return batch * points; }
  double edges() const { return static_cast<double>(rows() * neighbours); }
  int64_t rows_per_tile() const { return std::max<int64_t>(16, 65536 / channels); }
};

// Constants per channel in T, padded so that a slice may read past the last channel.
template <class T>
class EdgeChannels {
 public:
  EdgeChannels(const EdgeSizes& s, const Tensor& centre, const Tensor& gamma)
      : stride_(s.channels + kEdgeWidth), values_(Tensor::zeros({4, stride_}, kDTypeOf<T>)) {
    T* p = values_.mutable_data<T>();
    for (int64_t c = 0; c < s.channels; ++c) {
      for (int64_t row = 0; row < 3; ++row) {
        p[row * stride_ + c] = static_cast<T>(centre.data<double>()[row * s.channels + c]);
      }
      p[3 * stride_ + c] = gamma.data<T>()[c] < T(0) ? T(-1) : T(1);
    }
    tied_ = Tensor::zeros({(stride_ + 3) / 4}, DType::i32);
    bool* tied = static_cast<bool*>(tied_.mutable_raw());
    for (int64_t c = 0; c < s.channels; ++c) tied[c] = gamma.data<T>()[c] == T(0);
  }
  int64_t stride() const { return stride_; }
  const T* centre_u() const { return values_.data<T>(); }
  const T* centre_v() const { return centre_u() + stride_; }
  const T* mean_offset() const { return centre_u() + 2 * stride_; }  // mean - centre_u - centre_v
  const T* sign() const { return centre_u() + 3 * stride_; }  // -1 where the minimum is wanted
  const bool* tied() const { return static_cast<const bool*>(tied_.raw()); }  // gamma = 0

 private:
  int64_t stride_;
  Tensor values_, tied_;
};

// body(loops, tile, cloud) for every cloud and slice of channels.
template <class T, class Body>
void for_edge_tiles(const EdgeSizes& s, const Tensor& index, Body&& body) {
  const EdgeLoops<T>& loops = edge_loops<T>(s.batch, s.points, s.channels);
  const int64_t slices = tile_count(s.channels, loops.width);
  const int32_t* neighbour = index.data<int32_t>();
  parallel_tiles(s.batch * slices, [&](int64_t task) {
    const int64_t b = task / slices, first = task % slices * loops.width;
    const EdgeTile tile{s.points,
                        s.neighbours,
                        s.channels,
                        first,
                        std::min(loops.width, s.channels - first),
                        neighbour + b * s.points * s.neighbours};
    body(loops, tile, b);
  });
}

// body(begin row, rows, p) adds into its tile's partial sums [count, C]; returns their totals, f64,
// added in tile order.
template <class Body>
Tensor edge_column_sums(const EdgeSizes& s, int64_t count, Body&& body) {
  const int64_t grain = s.rows_per_tile(), tiles = tile_count(s.rows(), grain);
  const int64_t n = count * s.channels;
  Tensor sums = Tensor::zeros({tiles, count, s.channels}, DType::f64);
  double* p = sums.mutable_data<double>();
  parallel_tiles(tiles, [&](int64_t tile) {
    body(tile * grain, std::min(grain, s.rows() - tile * grain), p + tile * n);
  });
  for (int64_t tile = 1; tile < tiles; ++tile) {
    for (int64_t c = 0; c < n; ++c) p[c] += p[tile * n + c];
  }
  return sums;
}

}  // namespace basin
