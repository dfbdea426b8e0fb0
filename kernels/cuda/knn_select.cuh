// What a warp knows of the candidates of one point in the search for nearest neighbours
// (kernels/cuda/knn.cu): the bound from minima, the list of candidates below it, their exact
// distances and places.
#pragma once
#include <limits>

#include "basin/kernels/cuda/grid.cuh"

// In front of a loop whose body is too long for copies.
#ifdef BASIN_EMULATION
#define BASIN_ROLL
#else
#define BASIN_ROLL _Pragma("unroll 1")
#endif

namespace basin::cuda::knn {

inline constexpr int kLanes = 32;
inline constexpr unsigned kAll = 0xffffffffu;
inline constexpr int32_t kNobody = std::numeric_limits<int32_t>::max();
// Device code may read these, but not call the functions that they come from.
inline constexpr float kInfinity = std::numeric_limits<float>::infinity();
inline constexpr double kFar = std::numeric_limits<double>::infinity();
inline constexpr float kLargest = std::numeric_limits<float>::max();
inline constexpr float kSmallest = std::numeric_limits<float>::min();
inline constexpr float kUnit = std::numeric_limits<float>::epsilon() / 2;

// kCount neighbours in memory, read in whole vectors.
template <class T, int kCount>
struct alignas(kCount * sizeof(T) < 16 ? kCount * sizeof(T) : 16) Run {
  T v[kCount];
};
template <class T, int kCount>
__device__ const Run<T, kCount>& run_at(const T* p) {
  return *reinterpret_cast<const Run<T, kCount>*>(p);
}

// --- the bound ---

// Floats, none of them NaN, as numbers of the same order.
__device__ inline unsigned ordered(float x) {
  const unsigned bits = __float_as_uint(x);
  return bits ^ (bits >> 31 != 0 ? 0xffffffffu : 0x80000000u);
}
__device__ inline float unordered(unsigned x) {
  return __uint_as_float(x ^ (x >> 31 != 0 ? 0x80000000u : 0xffffffffu));
}

// The smallest of the warp's 32 kRows values that `wanted` of them do not exceed. value: the
// lane's, every 32nd of all [32 kRows].
template <int kRows>
__device__ float kth_of(const float (&value)[kRows], int wanted, const float* all) {
  int reached[kRows] = {};
  BASIN_UNROLL
  for (int e = 0; e < kLanes * kRows; e += 4) {
    const auto other = run_at<float, 4>(all + e);
    BASIN_UNROLL
    for (int q = 0; q < 4; ++q) {
      BASIN_UNROLL
      for (int r = 0; r < kRows; ++r) reached[r] += other.v[q] <= value[r];
    }
  }
  unsigned least = 0xffffffffu;
  BASIN_UNROLL
  for (int r = 0; r < kRows; ++r) {
    const unsigned own = ordered(value[r]);
    if (reached[r] >= wanted && own < least) least = own;
  }
  return unordered(__reduce_min_sync(kAll, least));
}

// --- exact distances ---

// 16 bytes, which are read at once.
struct alignas(16) Neighbour {
  double distance;
  int32_t number;
};
__device__ inline bool before(const Neighbour& a, const Neighbour& b) {
  // Without branches: a warp compares everything with everything.
  return static_cast<bool>(
      static_cast<int>(a.distance < b.distance) |
      (static_cast<int>(a.distance == b.distance) & static_cast<int>(a.number < b.number)));
}

// The difference squared, added to `sum` without a fused multiply-add, so that ties are the CPU's.
template <class T>
__device__ double add_square(double sum, T a, T b) {
  const double gap = __dadd_rn(static_cast<double>(b), -static_cast<double>(a));
  return __dadd_rn(sum, __dmul_rn(gap, gap));
}

inline constexpr int kSharers = 2;  // lanes that measure a candidate together

// squared_distance of kernels/cpu/knn_select.cpp, operation by operation. Its eight sums are those
// of two neighbouring lanes, four each, and are added in their order. All lanes of the warp call
// it; the second of the two has the result. `fours`: rows start at whole vectors.
template <class T>
__device__ double exact_distance(const T* a, const T* b, int dims, bool fours) {
  constexpr int kOwn = 8 / kSharers, kTurns = 2;  // sums of a lane, loads under way
  const int part = static_cast<int>(threadIdx.x) % kSharers;
  double sum[kOwn] = {};
  int d = kOwn * part;
  if (fours) {
    for (; d + (kTurns - 1) * 8 < dims; d += kTurns * 8) {
      Run<T, kOwn> left[kTurns], right[kTurns];
      BASIN_UNROLL
      for (int t = 0; t < kTurns; ++t) {
        left[t] = run_at<T, kOwn>(a + d + t * 8);
        right[t] = run_at<T, kOwn>(b + d + t * 8);
      }
      BASIN_UNROLL
      for (int t = 0; t < kTurns; ++t) {
        BASIN_UNROLL
        for (int q = 0; q < kOwn; ++q) sum[q] = add_square(sum[q], left[t].v[q], right[t].v[q]);
      }
    }
  }
  BASIN_ROLL
  for (; d < dims; d += 8) {
    BASIN_UNROLL
    for (int q = 0; q < kOwn; ++q) {
      if (d + q < dims) sum[q] = add_square(sum[q], a[d + q], b[d + q]);
    }
  }
  double total = 0;
  BASIN_UNROLL
  for (int next = 0; next < kSharers; ++next) {
    const double so_far = __shfl_up_sync(kAll, total, 1);
    if (part != next) continue;
    if (next > 0) total = so_far;
    BASIN_UNROLL
    for (int q = 0; q < kOwn; ++q) total = __dadd_rn(total, sum[q]);
  }
  return total != total ? kFar : total;
}
// The same by one lane, for at most eight coordinates.
template <class T>
__device__ double exact_distance_alone(const T* a, const T* b, int dims) {
  double total = 0;
  for (int d = 0; d < dims; ++d) total = add_square(total, a[d], b[d]);
  return total != total ? kFar : total;
}

// --- the list ---

struct Candidate {
  float lower;  // bound of its distance, as the limit measures it
  int32_t number;
};

// Appends the lanes' candidates `near`, for which there is room; the new length.
__device__ inline int append(Candidate* entry, int count, bool near, const Candidate& c) {
  const unsigned who = __ballot_sync(kAll, near);
  if (near) entry[count + __popc(who & ((1u << threadIdx.x) - 1))] = c;
  return count + __popc(who);
}

// Drops what lies above the limit; the new length.
__device__ inline int sift(Candidate* entry, int count, float limit) {
  const int lane = threadIdx.x;
  int kept = 0;
  __syncwarp();
  for (int first = 0; first < count; first += kLanes) {
    const Candidate c = first + lane < count ? entry[first + lane] : Candidate{0, 0};
    __syncwarp();
    kept = append(entry, kept, first + lane < count && !(c.lower > limit), c);
    __syncwarp();
  }
  return kept;
}

// The list of point i and what is asked of it. Entries that have been settled come first, with a
// lower bound that always passes.
template <class T, int kQueue>
struct List {
  Candidate* entry;     // [kQueue]
  Neighbour* measured;  // [kQueue], of the warp
  const T* cloud;       // [N, D]
  int dims, i, wanted;
  bool include_self, fours;
  Neighbour floor;  // only what lies behind it is asked for

  // Measures all and keeps the first `wanted` of them in their order; the new length. last: the
  // `wanted`-th, where there are so many. kAlone: at most eight coordinates.
  template <bool kAlone>
  __device__ int settle(int count, Neighbour& last) const {
    const int lane = threadIdx.x;
    constexpr int kStep = kAlone ? kLanes : kLanes / kSharers;
    const int offset = kAlone ? lane : lane / kSharers;
    __syncwarp();
    for (int first = 0; first < count; first += kStep) {
      const int e = first + offset;
      const int32_t j = entry[e < count ? e : 0].number;
      const T *a = cloud + int64_t{i} * dims, *b = cloud + int64_t{j} * dims;
      double distance;
      if constexpr (kAlone) {
        distance = exact_distance_alone(a, b, dims);
      } else {
        distance = exact_distance(a, b, dims, fours);
      }
      if (e >= count || (!kAlone && lane % kSharers != kSharers - 1)) continue;
      const Neighbour found{distance, j};
      const bool asked = (include_self || j != i) && before(floor, found);
      measured[e] = asked ? found : Neighbour{kFar, kNobody};
    }
    __syncwarp();
    int kept = 0;
    for (int first = 0; first < count; first += kLanes) {
      const Neighbour own = first + lane < count ? measured[first + lane] : Neighbour{0, kNobody};
      int place = 0;
      for (int e = 0; e < count; ++e) {
        const Neighbour other = measured[e];
        place += before(other, own);
      }
      const bool taken = own.number != kNobody && place < wanted;
      if (taken) entry[place] = {-kInfinity, own.number};
      kept += __popc(__ballot_sync(kAll, taken));
      const unsigned ends = __ballot_sync(kAll, taken && place == wanted - 1);
      if (ends != 0) {
        const int who = __ffs(static_cast<int>(ends)) - 1;
        last = {__shfl_sync(kAll, own.distance, who), __shfl_sync(kAll, own.number, who)};
      }
    }
    __syncwarp();
    return kept;
  }
};

}  // namespace basin::cuda::knn
