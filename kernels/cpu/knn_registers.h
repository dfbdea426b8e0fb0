// The selection of knn_select.h for f32 on machines with AVX-512 or AVX2, in registers: group
// minima while the distances are made, their ranks by counting, candidates compressed from
// comparison masks, their ranks by counting again, and one pass that sees whether all of the first
// k are apart. It answers only where that is so; equal or nearly equal distances, non-finite ones
// and more than 96 candidates are left to the general way, which therefore decides every tie.
#pragma once
#include <cstdint>

#include "basin/kernels/cpu/knn_select.h"

namespace basin {

struct KnnQuery {
  int64_t padded, groups;
  int64_t wanted;  // values that the bound is to admit
  int64_t k;
  int32_t excluded;  // a number that is no neighbour, or -1
};

struct KnnRegisters {
  // row[j] = |x_j - point|^2 in three dimensions (x: coordinate d of j at d * stride + j), and the
  // minima [groups] of the interleaved groups j mod groups. count: a multiple of 64; groups: 32 or
  // 64.
  void (*distances3)(const float* x, int64_t stride, const float* point, int64_t count,
                     int64_t groups, float* row, float* minima);
  void (*minima)(const float* row, int64_t count, int64_t groups, float* minima);
  // Numbers of the values that are not above the limit, in order; `out` has room for one vector
  // more. count: a multiple of 64.
  int64_t (*compress)(const float* row, int64_t count, float limit, int32_t* out);
  // Whether the k nearest are certain; then they are in out [k]. candidate: scratch of `padded` +
  // 64.
  bool (*select)(const KnnQuery& query, const float* row, const float* minima, Slack<float> slack,
                 int32_t* candidate, int32_t* out);
};

// Of the chosen instruction set; null on the generic path.
const KnnRegisters* knn_registers();

}  // namespace basin
