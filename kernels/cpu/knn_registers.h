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
};

struct KnnRow {
  const float *row, *minima;
  Slack<float> slack;
  int32_t excluded;    // a number that is no neighbour, or -1
  int32_t* candidate;  // scratch of `padded` + 64
  int32_t* out;        // [k]
};

struct KnnRegisters {
  // row[j] = |x_j|^2 - 2 x_j . x_self in three dimensions (x: three coordinates and the square of j
  // at d * count + j), and the minima [groups] of the interleaved groups j mod groups. count: a
  // multiple of 64; groups: 32 or 64.
  void (*products3)(const float* x, int64_t count, int64_t self, int64_t groups, float* row,
                    float* minima);
  void (*minima)(const float* row, int64_t count, int64_t groups, float* minima);
  // Numbers of the values that are not above the limit, in order; `out` has room for one vector
  // more. count: a multiple of 64.
  int64_t (*compress)(const float* row, int64_t count, float limit, int32_t* out);
  // Bit r: whether the k nearest of row r are certain; then they are in its `out`. Up to
  // kKnnTogether rows, stage by stage: what one stage of a row waits for hides behind the others.
  uint32_t (*select)(const KnnQuery& query, const KnnRow* rows, int64_t count);
};

// Of the chosen instruction set; null on the generic path.
const KnnRegisters* knn_registers();

}  // namespace basin
