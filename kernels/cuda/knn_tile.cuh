// The clouds of the search for nearest neighbours (kernels/cuda/knn.cu) in shared memory, their
// products, and what rounding may have done to them. Points are taken less a point of the block;
//   |a_j|^2 - 2 a_i . a_j = |a_i - a_j|^2 - |a_i|^2
// is the score of j as a neighbour of i.
//
// Rounding, to first order in u = 2^-24: centring moves a distance by 4 u (|a_i|^2 + |a_j|^2), the
// D products and their sum by D u (|a_i|^2 + |a_j|^2), each square by D u of itself, the last
// additions by 5 u. So kappa (|a_i|^2 + |a_j|^2), kappa = (2 D + 9) u, bounds it; kappa_of() leaves
// room for the second order and the rounding in double. f64 becomes f32 when it is centred.
#pragma once
#include "basin/kernels/cuda/knn_select.cuh"

namespace basin::cuda::knn {

inline constexpr int kWarps = 8;  // of a block
inline constexpr int kThreads = kWarps * kLanes;
inline constexpr int kHeld = 8;  // candidates of a lane in a tile
inline constexpr int kTile = kHeld * kLanes;
inline constexpr int kChunk = 32;      // coordinates in shared memory at a time
inline constexpr int kSmallDims = 3;   // up to here a row of the tile is x, y, z and the square
inline constexpr int kResident = 128;  // up to here the block's own points stay in shared memory
// Squares beyond are not bounded: their point takes part in every exact measurement.
inline constexpr float kKnown = 1e36F;
inline constexpr int kKnownDims = 65536;

// Rows of the tiles are whole vectors; the odd number of them spreads rows over the banks.
__host__ __device__ constexpr int stride_for(int depth) { return (depth + 3) / 4 / 2 * 8 + 4; }
inline constexpr int kTileStride = stride_for(kChunk), kOwnStride = stride_for(kResident);

template <class T>
struct Cloud {
  const T* x;  // [N, D]
  int points, dims;
  int centre;  // a row
  bool fours;  // rows start at whole vectors
};

template <class T>
__device__ const T* row_of(const Cloud<T>& c, int row) {
  return c.x + int64_t{row < c.points ? row : c.points - 1} * c.dims;
}
template <class T>
__device__ float4 difference(const Run<T, 4>& a, const Run<T, 4>& b) {
  return make_float4(static_cast<float>(a.v[0] - b.v[0]), static_cast<float>(a.v[1] - b.v[1]),
                     static_cast<float>(a.v[2] - b.v[2]), static_cast<float>(a.v[3] - b.v[3]));
}
// Coordinates d .. d + 3 of rows first, first + step, .. less the centre, zero from dims on.
template <int kCount, class T>
__device__ void load_rows(const Cloud<T>& c, int first, int step, int d, float4 (&out)[kCount]) {
  if (c.fours) {
    if (d < c.dims) {
      Run<T, 4> row[kCount];
      BASIN_UNROLL
      for (int u = 0; u < kCount; ++u) row[u] = run_at<T, 4>(row_of(c, first + step * u) + d);
      const auto centre = run_at<T, 4>(row_of(c, c.centre) + d);
      BASIN_UNROLL
      for (int u = 0; u < kCount; ++u) out[u] = difference(row[u], centre);
      return;
    }
    for (float4& a : out) a = make_float4(0, 0, 0, 0);
    return;
  }
  BASIN_UNROLL
  for (int u = 0; u < kCount; ++u) {
    Run<T, 4> row{}, centre{};
    const T* x = row_of(c, first + step * u);
    BASIN_UNROLL
    for (int q = 0; q < 4; ++q) {
      if (d + q < c.dims) {
        row.v[q] = x[d + q];
        centre.v[q] = row_of(c, c.centre)[d + q];
      }
    }
    out[u] = difference(row, centre);
  }
}
template <class T>
__device__ float4 load_row(const Cloud<T>& c, int row, int d) {
  float4 out[1];
  load_rows(c, row, 0, d, out);
  return out[0];
}

__device__ inline float square_of(const float4& a) {
  return a.x * a.x + a.y * a.y + a.z * a.z + a.w * a.w;
}

__device__ inline float kappa_of(int dims) {
  return (2.1F * static_cast<float>(dims) + 20) * kUnit;
}
__device__ inline bool known(float square, int dims) {
  return square <= kKnown && dims <= kKnownDims;
}

// The lower bound of a candidate's score |a_j|^2 - 2 a_i . a_j but for the product, and what the
// upper one has more. Unknown: below every limit, and no upper bound of anything.
struct Bounds {
  float lower, spread;
};
__device__ inline Bounds bounds_of(float square, bool inside, int dims) {
  if (!inside) return {kInfinity, 0};
  if (!known(square, dims)) return {-kInfinity, kInfinity};
  const float kappa = kappa_of(dims);
  return {square * (1 - kappa), 2 * kappa * square};
}

// What a point's own square adds to a limit of scores, with room for underflow.
__device__ inline float slack_of(float own_square, int dims) {
  if (!known(own_square, dims)) return kInfinity;
  return 2 * kappa_of(dims) * own_square + static_cast<float>(4 * dims + 40) * kSmallest;
}
// A lower bound above it is behind all that have their upper bound at or below `bound`; with room
// for the rounding here.
__device__ inline float limit_for(float bound, float slack) {
  return bound + (4 * kUnit * fabsf(bound) + slack);
}
// The same for an exact distance.
__device__ inline float limit_from(double distance, float own_square, float slack) {
  const double score = distance - static_cast<double>(own_square);
  return score > static_cast<double>(kLargest) ? kInfinity
                                               : limit_for(static_cast<float>(score), slack);
}

// The sum over eight neighbouring lanes of each of two values; odd lanes have that of the second.
__device__ inline float fold(float even, float odd) {
  const bool upper = threadIdx.x % 2 != 0;
  float sum = upper ? odd : even;
  sum += __shfl_xor_sync(kAll, upper ? even : odd, 1);
  sum += __shfl_xor_sync(kAll, sum, 2);
  return sum + __shfl_xor_sync(kAll, sum, 4);
}

// Rows base .. of the cloud, coordinates d0 .. d0 + 32, in tile [256, kTileStride]; the square over
// them of row thread / 8 + 32 (thread % 8). Two rows at a time: registers are what the sums leave.
template <class T>
__device__ float load_chunk(const Cloud<T>& c, int base, int d0, float* tile) {
  const int thread = threadIdx.y * kLanes + threadIdx.x;
  const int row = thread / 8, column = thread % 8 * 4;
  float own = 0;
  BASIN_ROLL
  for (int u0 = 0; u0 < kHeld; u0 += 2) {
    float4 a[2];
    load_rows(c, base + row + kLanes * u0, kLanes, d0 + column, a);
    BASIN_UNROLL
    for (int u = 0; u < 2; ++u) {
      *reinterpret_cast<float4*>(tile + (row + kLanes * (u0 + u)) * kTileStride + column) = a[u];
    }
    const float folded = fold(square_of(a[0]), square_of(a[1]));
    if ((thread & 6) == u0) own = folded;
  }
  return own;
}

// The block's points, times -2, coordinates d0 .. d0 + depth in own [rows, kOwnStride].
template <class T>
__device__ void load_own(const Cloud<T>& c, int first, int rows, int d0, int depth, float* own) {
  const int fours = (depth + 3) / 4;
  for (int row = threadIdx.y; row < rows; row += kWarps) {
    for (int e = threadIdx.x; e < fours; e += kLanes) {
      const float4 a = load_row(c, first + row, d0 + 4 * e);
      *reinterpret_cast<float4*>(own + row * kOwnStride + 4 * e) =
          make_float4(-2 * a.x, -2 * a.y, -2 * a.z, -2 * a.w);
    }
  }
}

// sum[p][c] += candidate lane + 32 c times point p over `depth` coordinates, a multiple of 4.
template <int kPoints, int kStride, int kOwn>
__device__ void add_products(const float* tile, const float* own, int depth,
                             float (&sum)[kPoints][kHeld]) {
  const int lane = threadIdx.x;
  BASIN_ROLL
  for (int d = 0; d < depth; d += 4) {
    float4 b[kHeld];
    BASIN_UNROLL
    for (int c = 0; c < kHeld; ++c) {
      b[c] = *reinterpret_cast<const float4*>(tile + (lane + kLanes * c) * kStride + d);
    }
    BASIN_UNROLL
    for (int p = 0; p < kPoints; ++p) {
      const float4 a = *reinterpret_cast<const float4*>(own + p * kOwn + d);
      BASIN_UNROLL
      for (int c = 0; c < kHeld; ++c) {
        sum[p][c] += a.x * b[c].x;
        sum[p][c] += a.y * b[c].y;
        sum[p][c] += a.z * b[c].z;
        sum[p][c] += a.w * b[c].w;
      }
    }
  }
}

}  // namespace basin::cuda::knn
