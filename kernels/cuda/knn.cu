// CUDA k nearest neighbours: the lists of kernels/knn.h, equal to the CPU's to the last tie. A warp
// serves eight points of one cloud, or four for long lists; a block reads the cloud tile by tile
// into shared memory, a lane holds eight candidates of a tile. Three steps, nothing of size N x N:
//   scan     bounds of all distances in f32 as a product of points less a point of the block,
//              |a_j|^2 - 2 a_i . a_j = |a_i - a_j|^2 - |a_i|^2;
//   select   every lane keeps the least upper bound of its candidates so far, and the k-th of these
//            minima is a limit: what has its lower bound below it joins a list;
//   settle   at the end the list, about 1.5 k long, is measured in double in the CPU's order of
//            addition, and each place is the number of candidates before it.
// A list that ties or values beyond f32 fill up is settled on the way, slower and exact as well.
// (distance, number) is a total order, so the lists do not depend on the order of arrival. A k
// beyond the list's length takes further rounds, each over what lies behind the last.
#include "basin/kernels/knn.h"

#include "basin/kernels/cuda/dual.cuh"
#include "basin/kernels/cuda/knn_tile.cuh"

namespace basin::cuda::knn {
namespace {

// Sizes of the instance with lists of `kMost` neighbours at most, in kRows minima a lane. Half as
// many minima again as neighbours keep the limit tight.
template <int kRows>
struct Plan {
  static constexpr int kPoints = 8 / kRows;  // of a warp
  static constexpr int kBlockPoints = kWarps * kPoints;
  static constexpr int kMost = 21 * kRows;
  static constexpr bool kRounds = kRows > 1;  // more neighbours than kMost may be asked for
  static constexpr int kQueue = 64 * kRows;   // at least kMost + 32
};

// What a warp keeps of a point, in shared memory: registers are what its sums leave.
struct alignas(16) Standing {
  float limit, square, slack;
  int count;  // entries of the list
};

constexpr int kStripPoints = 4;
// Of the tile and the strip, which lies in the tile unless that is small.
template <bool kSmall>
constexpr int kTileFloats = kSmall ? kTile * 4 + kWarps* kStripPoints* kTile
                                   : std::max(kTile* kTileStride, kWarps* kStripPoints* kTile);

template <bool kSmall, int kRows>
constexpr size_t shared_bytes() {
  using P = Plan<kRows>;
  const size_t floats = kTileFloats<kSmall> + 2 * kTile +
                        size_t{P::kBlockPoints} * (kRows * kLanes + (kSmall ? 4 : kOwnStride));
  const size_t lists = size_t{P::kBlockPoints} * (P::kQueue * sizeof(Candidate) + sizeof(Standing) +
                                                  (P::kRounds ? sizeof(Neighbour) : 0));
  return floats * sizeof(float) + lists;
}

template <class T>
struct Question {
  const T* x;  // [B, N, D]
  int32_t* index;
  int points, dims, k;
  bool include_self, fours;  // rows start at whole vectors
};

template <class T, bool kSmall, int kRows>
__global__ void __launch_bounds__(kThreads, sizeof(T) == 4 ? 2 : 1) knn_kernel(Question<T> ask) {
  using P = Plan<kRows>;
  constexpr int kPoints = P::kPoints, kQueue = P::kQueue, kStride = kSmall ? 4 : kTileStride;
  constexpr bool kRounds = P::kRounds;
  const int points = ask.points, dims = ask.dims;
  const unsigned per_cloud = static_cast<unsigned>(points + P::kBlockPoints - 1) / P::kBlockPoints;
  const unsigned b = blockIdx.x / per_cloud;
  const int first = static_cast<int>(blockIdx.x % per_cloud) * P::kBlockPoints;
  const int lane = threadIdx.x, slot = threadIdx.y * kPoints;  // of the warp's first point
  const int thread = threadIdx.y * kLanes + lane;
  const unsigned below = (1u << lane) - 1;
  const T* cloud_x = ask.x + int64_t{b} * points * dims;
  const Cloud<T> cloud{cloud_x, points, dims, first, ask.fours};
  const int mine = points - first - slot < kPoints ? points - first - slot : kPoints;

  auto* tile = cuda::dynamic_shared<float>();
  float* lower = tile + kTileFloats<kSmall>;
  float* spread = lower + kTile;
  float* least = spread + kTile + slot * kRows * kLanes;
  auto* queue = reinterpret_cast<Candidate*>(spread + kTile + P::kBlockPoints * kRows * kLanes);
  auto* standing = reinterpret_cast<Standing*>(queue + P::kBlockPoints * kQueue) + slot;
  auto* floors = reinterpret_cast<Neighbour*>(standing - slot + P::kBlockPoints) + slot;
  auto* own = reinterpret_cast<float*>(floors - slot + (kRounds ? P::kBlockPoints : 0));
  // The warp's own: sums of four points, and then what is measured.
  float* strip = tile + (kSmall ? kTile * kStride : 0) + threadIdx.y * kStripPoints * kTile;
  auto* measured = reinterpret_cast<Neighbour*>(strip);
  queue += slot * kQueue;
  for (int p = 0; p < kPoints; ++p) {
    float square = 0;
    for (int d = 4 * lane; d < dims; d += 4 * kLanes) {
      square += square_of(load_row(cloud, first + slot + p, d));
    }
    square = cuda::warp_sum(square);
    for (int r = 0; r < kRows; ++r) least[(p * kRows + r) * kLanes + lane] = kInfinity;
    if (lane == 0) {
      standing[p] = {kLargest, square, slack_of(square, dims), 0};
      if constexpr (kRounds) floors[p] = {-1, -1};
    }
  }
  __syncwarp();
  const bool resident = dims <= kResident;
  if constexpr (kSmall) {
    if (thread < P::kBlockPoints) {
      const float4 a = load_row(cloud, first + thread, 0);
      *reinterpret_cast<float4*>(own + 4 * thread) = make_float4(-2 * a.x, -2 * a.y, -2 * a.z, 1);
    }
  } else if (resident) {
    load_own(cloud, first, P::kBlockPoints, 0, dims, own);
  }
  const auto list_of = [&](int p, int wanted) {
    return List<T, kQueue>{queue + p * kQueue,
                           measured,
                           cloud_x,
                           dims,
                           first + slot + p,
                           wanted,
                           ask.include_self,
                           ask.fours,
                           kRounds ? floors[p] : Neighbour{-1, -1}};
  };

  for (int done = 0; done < (kRounds ? ask.k : 1); done += P::kMost) {
    const int wanted = kRounds && ask.k - done > P::kMost ? P::kMost : ask.k - done;
    // The point itself is among the minima. Behind the first round the minima say nothing.
    const int bounding = done == 0 ? wanted + !ask.include_self : 0;
    for (int base = 0; base < points; base += kTile) {
      const int left = points - base < kTile ? points - base : kTile;
      float sum[kPoints][kHeld] = {};
      if constexpr (kSmall) {
        __syncthreads();
        float4 a = load_row(cloud, base + thread, 0);
        const Bounds bounds = bounds_of(square_of(a), thread < left, dims);
        a.w = bounds.lower;
        *reinterpret_cast<float4*>(tile + 4 * thread) = a;
        spread[thread] = bounds.spread;
        __syncthreads();
        add_products<kPoints, kStride, 4>(tile, own + slot * 4, 4, sum);
      } else {
        float square = 0;
        for (int d0 = 0; d0 < dims; d0 += kChunk) {
          const int depth = dims - d0 < kChunk ? dims - d0 : kChunk;
          __syncthreads();
          square += load_chunk(cloud, base, d0, tile);
          if (!resident) load_own(cloud, first, P::kBlockPoints, d0, depth, own);
          if (d0 + kChunk >= dims) {
            const int row = thread / 8 + kLanes * (thread % 8);
            const Bounds bounds = bounds_of(square, row < left, dims);
            lower[row] = bounds.lower;
            spread[row] = bounds.spread;
          }
          __syncthreads();
          add_products<kPoints, kStride, kOwnStride>(
              tile, own + slot * kOwnStride + (resident ? d0 : 0), (depth + 3) / 4 * 4, sum);
        }
      }

      if constexpr (!kSmall) {
        BASIN_UNROLL
        for (int c = 0; c < kHeld; ++c) {
          const float less = lower[lane + kLanes * c];
          BASIN_UNROLL
          for (int p = 0; p < kPoints; ++p) sum[p][c] += less;
        }
      }
      if constexpr (!kSmall) __syncthreads();  // the tile makes room for the strip
      unsigned full = 0;                       // points whose list has none
      BASIN_UNROLL
      for (int half = 0; half < kPoints; half += kStripPoints) {
        // A lane reads back what it has written itself: one copy of what follows serves all.
        BASIN_UNROLL
        for (int e = 0; e < kStripPoints * kHeld; e += 4) {
          const float* v = &sum[half + e / kHeld][e % kHeld];
          *reinterpret_cast<float4*>(strip + e * kLanes + 4 * lane) =
              make_float4(v[0], v[1], v[2], v[3]);
        }
        BASIN_ROLL
        for (int q = 0; q < kStripPoints && half + q < mine; ++q) {
          const int p = half + q;
          const Standing before = standing[p];
          if (before.slack == kInfinity) {
            full |= 1u << p;
            continue;
          }
          float bound[kHeld];
          BASIN_UNROLL
          for (int c = 0; c < kHeld; c += 4) {
            const auto four = run_at<float, 4>(strip + (q * kHeld + c) * kLanes + 4 * lane);
            BASIN_UNROLL
            for (int e = 0; e < 4; ++e) bound[c + e] = four.v[e];
          }
          float limit = before.limit;
          if (bounding > 0) {
            float* all = least + p * kRows * kLanes;
            float so_far[kRows];
            BASIN_UNROLL
            for (int r = 0; r < kRows; ++r) so_far[r] = all[kLanes * r + lane];
            BASIN_UNROLL
            for (int c = 0; c < kHeld; ++c) {
              // The other where one is no number.
              so_far[c % kRows] = fminf(so_far[c % kRows], bound[c] + spread[lane + kLanes * c]);
            }
            __syncwarp();
            BASIN_UNROLL
            for (int r = 0; r < kRows; ++r) all[kLanes * r + lane] = so_far[r];
            __syncwarp();
            limit = fminf(limit, limit_for(kth_of(so_far, bounding, all), before.slack));
          }
          // A NaN passes: its distance counts as infinite. Rows beyond the cloud are infinite.
          unsigned who[kHeld];
          int count = before.count, more = 0;
          BASIN_UNROLL
          for (int c = 0; c < kHeld; ++c) {
            who[c] = __ballot_sync(kAll, !(bound[c] > limit));
            more += __popc(who[c]);
          }
          Candidate* entry = queue + p * kQueue;
          if (count + more > kQueue) count = sift(entry, count, limit);
          if (count + more > kQueue) {
            full |= 1u << p;
          } else {
            BASIN_UNROLL
            for (int c = 0; c < kHeld; ++c) {
              const int place = count + __popc(who[c] & below);
              if (!(bound[c] > limit)) entry[place] = {bound[c], base + lane + kLanes * c};
              count += __popc(who[c]);
            }
          }
          if (lane == 0) {
            standing[p].limit = limit;
            standing[p].count = count;
          }
        }
      }
      __syncwarp();
      // The rare way: the whole tile is measured. The sums are not kept for it.
      for (; full != 0; full &= full - 1) {
        const int p = __ffs(static_cast<int>(full)) - 1;
        const List<T, kQueue> list = list_of(p, wanted);
        const Standing before = standing[p];
        int count = before.count;
        float limit = before.limit;
        for (int at = 0; at < left; at += kLanes) {
          if (count + kLanes > kQueue) {
            Neighbour last{};
            count = list.template settle<kSmall>(count, last);
            if (count == wanted) {
              limit = fminf(limit, limit_from(last.distance, before.square, before.slack));
            }
          }
          count = append(list.entry, count, at + lane < left, {-kInfinity, base + at + lane});
        }
        if (lane == 0) {
          standing[p].limit = limit;
          standing[p].count = count;
        }
        __syncwarp();
      }
    }

    for (int p = 0; p < mine; ++p) {
      const List<T, kQueue> list = list_of(p, wanted);
      const int count = sift(list.entry, standing[p].count, standing[p].limit);
      Neighbour last{};
      list.template settle<kSmall>(count, last);
      int32_t* index = ask.index + (int64_t{b} * points + list.i) * ask.k + done;
      for (int e = lane; e < wanted; e += kLanes) index[e] = list.entry[e].number;
      if (kRounds && lane == 0) {
        floors[p] = last;
        standing[p].limit = kLargest;
        standing[p].count = 0;
      }
      __syncwarp();
    }
  }
}

template <class T, bool kSmall, int kRows>
void search(const Tensor& x, int64_t k, bool include_self, Tensor& index) {
  using P = Plan<kRows>;
  const int64_t points = x.size(1), dims = x.size(2);
  check(dims <= std::numeric_limits<int>::max() / 8, Knn::name, ": too many coordinates, ", dims);
  const int64_t blocks = x.size(0) * ((points + P::kBlockPoints - 1) / P::kBlockPoints);
  const T* data = cuda::in_ptr<T>(x);
  const bool fours = dims % 4 == 0 && reinterpret_cast<uintptr_t>(data) % 16 == 0;
  const Question<T> ask{data,
                        cuda::out_ptr<int32_t>(index),
                        static_cast<int>(points),
                        static_cast<int>(dims),
                        static_cast<int>(k),
                        include_self,
                        fours};
  cuda::run(Knn::name,
            {cuda::grid_of(Knn::name, blocks), dim3(kLanes, kWarps), shared_bytes<kSmall, kRows>()},
            knn_kernel<T, kSmall, kRows>, ask);
}

}  // namespace
}  // namespace basin::cuda::knn

namespace basin {

void Knn::cuda(const Tensor& x, int64_t k, bool include_self, Tensor& index) {
  const Shape shape = knn_shape(x, k, include_self);
  check(index.dtype() == DType::i32 && index.shape() == shape, "knn: the index must be i32 ", shape,
        ", got ", index);
  if (index.numel() == 0) return;
  dispatch_float(x.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    const bool small = x.size(2) <= cuda::knn::kSmallDims;
    const bool brief = k + !include_self <= cuda::knn::Plan<1>::kMost;
    const auto search =
        small ? (brief ? cuda::knn::search<T, true, 1> : cuda::knn::search<T, true, 2>)
              : (brief ? cuda::knn::search<T, false, 1> : cuda::knn::search<T, false, 2>);
    search(x, k, include_self, index);
  });
}

}  // namespace basin
