// Kernels that make index tensors out of index tensors, labels or offsets: one thread per element,
// no arithmetic on values.
#pragma once
#include "basin/core/tensor.h"

namespace basin {

struct CloudRows {
  static constexpr const char* name = "cloud_rows";
  // Points of clouds to rows of the batch: rows[e] = index[e] + floor(e / per_cloud) * points.
  // index [clouds * per_cloud elements] i32, each in 0..points-1 -> rows of as many elements i32
  using Run = void(const Tensor& index, int64_t per_cloud, int64_t points, Tensor& rows);
  static Run cpu, cuda;
};

struct PickNeighbours {
  static constexpr const char* name = "pick_neighbours";
  // out[b, i, c] = index[b, i, q[b, i, c]]
  using Run = void(const Tensor& q,      // i32 words, read as bytes [B, N, C]
                   const Tensor& index,  // [B, N, k] i32
                   Tensor& out);         // [B, N, C] i32
  static Run cpu, cuda;
};

struct SegmentInverse {
  static constexpr const char* name = "segment_inverse";
  // offsets [S + 1] i32 -> out [S elements]: 1 / rows of the segment, 0 when it is empty
  using Run = void(const Tensor& offsets, Tensor& out);
  static Run cpu, cuda;
};

struct OneHot {
  static constexpr const char* name = "one_hot";
  // labels [B] i64 -> out [B, classes]: 1 at the label, else 0
  using Run = void(const Tensor& labels, Tensor& out);
  static Run cpu, cuda;
};

}  // namespace basin
