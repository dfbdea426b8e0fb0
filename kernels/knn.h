// Exact k nearest neighbours inside each cloud of a batch, any dimension. The distance of i and j
// is sum_d (x_jd - x_id)^2 evaluated in double; neighbours come by rising distance, equal ones by
// rising number, so the lists are those of brute force and independent of threads and instruction
// set. Method: distances in the input's precision (by differences in few dimensions, as a matrix
// product of centred points in many) for a strip of points that stays in cache; where a quarter of
// N x N is at most 8 MB and there are clouds enough, a pair is multiplied once and kept for the
// other point. An upper bound of the k-th from the minima of interleaved groups; candidates below
// it ranked; those that the rounding error of the first pass cannot tell apart are measured again
// in double.
#pragma once
#include <cstdint>

#include "basin/core/tensor.h"

namespace basin {

// [B, N, k]; usage error unless x is a float [B, N, D] and every point has k neighbours: k is in
// 1..N, or 1..N - 1 when a point is no neighbour of itself.
Shape knn_shape(const Tensor& x, int64_t k, bool include_self);

struct Knn {
  static constexpr const char* name = "knn";
  // x [B, N, D] -> index [B, N, k] i32: numbers 0..N-1 within the cloud. A NaN distance counts as
  // infinite.
  using Run = void(const Tensor& x, int64_t k, bool include_self, Tensor& index);
  static Run cpu, cuda;
};

}  // namespace basin
