// CUDA k nearest neighbours: the lists of kernels/knn.h, equal to the CPU's to the last tie. A warp
// serves several points of one cloud; its lanes hold the candidates, which a block reads tile by
// tile into shared memory. Three steps per point, nothing of size N x N anywhere:
//   filter   the distance in the input's precision; a candidate that is farther than the k-th so
//            far by more than rounding can explain is dropped, the others join a queue;
//   measure  a full queue, one candidate per lane, in double and in the CPU's order of addition;
//   merge    the 32 by a bitonic network into the sorted list (Batcher, AFIPS 1968).
// (distance, number) is a total order, so the lists do not depend on the order of arrival. A k
// beyond the list's length takes further rounds, each over what lies beyond the last.
#include "basin/kernels/knn.h"

#include <limits>

#include "basin/kernels/cuda/grid.cuh"

namespace basin {
namespace {

constexpr int kLanes = 32;
constexpr int kWarps = 8;  // of a block
constexpr unsigned kAll = 0xffffffffu;
constexpr int kChunk = 32;          // coordinates in shared memory at a time, general D
constexpr int kGroup = 2 * kLanes;  // candidates that a warp holds at once, two per lane
constexpr int kQueue = kGroup + kLanes;
constexpr int32_t kNobody = std::numeric_limits<int32_t>::max();
// Device code may read these, but not call the functions that they come from.
template <class T>
constexpr T kInfinity = std::numeric_limits<T>::infinity();
template <class T>
constexpr T kLargest = std::numeric_limits<T>::max();
template <class T>
constexpr T kSmallest = std::numeric_limits<T>::min();
template <class T>
constexpr T kUnit = std::numeric_limits<T>::epsilon() / 2;

// Sizes of the instance for kDims coordinates (0: any number) and lists of kRows * 32 neighbours.
// Longer lists get fewer points per warp, so that shared memory holds as many blocks; so do points
// whose coordinates stay in registers.
template <class T, int kDims, int kRows>
struct Plan {
  static constexpr int kPoints = (kDims > 0 ? 4 : 8) / kRows;  // of a warp
  static constexpr int kBlockPoints = kWarps * kPoints;
  static constexpr int kDepth = kDims > 0 ? kDims : kChunk;
  static constexpr int kTile = kDims > 0 ? 4 * kGroup : kGroup;  // candidates between barriers
  static constexpr int kLength = kRows * kLanes;
  // Rows of the tiles are padded: transposing stores would meet in one bank otherwise.
  static constexpr int kPad = 16 / sizeof(T);
  static constexpr int kTileStride = kTile + kPad, kPointStride = kBlockPoints + kPad;
  static constexpr size_t kListBytes = size_t{kBlockPoints} * (kLength + 1) * sizeof(double);
  static constexpr size_t kTileBytes = size_t{kDepth} * (kTileStride + kPointStride) * sizeof(T);
  static constexpr size_t kNumberBytes = size_t{kBlockPoints} * (kLength + 1 + kQueue) * 4;
  static constexpr size_t kBytes = kListBytes + kTileBytes + kNumberBytes;
};

struct Neighbour {
  double distance;
  int32_t number;
};
__device__ inline bool before(const Neighbour& a, const Neighbour& b) {
  return a.distance < b.distance || (a.distance == b.distance && a.number < b.number);
}
__device__ inline Neighbour lower(const Neighbour& a, const Neighbour& b) {
  return before(a, b) ? a : b;
}
__device__ inline Neighbour higher(const Neighbour& a, const Neighbour& b) {
  return before(a, b) ? b : a;
}
__device__ inline Neighbour from_lane(const Neighbour& a, int lane) {
  return {__shfl_sync(kAll, a.distance, lane), __shfl_sync(kAll, a.number, lane)};
}

// One step of a bitonic network: lanes `apart` away compare, the lower lane of the pair keeps the
// nearer where `rising`.
__device__ inline Neighbour exchange(const Neighbour& own, int apart, bool rising) {
  const int lane = threadIdx.x;
  const Neighbour other{__shfl_xor_sync(kAll, own.distance, apart),
                        __shfl_xor_sync(kAll, own.number, apart)};
  const bool keeps_lower = ((lane & apart) == 0) == rising;
  return keeps_lower ? lower(own, other) : higher(own, other);
}
// Sorts a bitonic sequence over the lanes.
__device__ inline Neighbour merge_lanes(Neighbour own) {
  BASIN_UNROLL
  for (int apart = kLanes / 2; apart > 0; apart /= 2) own = exchange(own, apart, true);
  return own;
}
__device__ inline Neighbour sort_lanes(Neighbour own) {
  const int lane = threadIdx.x;
  BASIN_UNROLL
  for (int width = 2; width < kLanes; width *= 2) {
    BASIN_UNROLL
    for (int apart = width / 2; apart > 0; apart /= 2) {
      own = exchange(own, apart, (lane & width) == 0);
    }
  }
  return merge_lanes(own);
}

// squared_distance of kernels/cpu/knn_select.cpp, operation by operation: no fused multiply-add, so
// that ties are the same ones.
template <class T>
__device__ double exact_distance(const T* a, const T* b, int64_t dims) {
  double part[8] = {};
  for (int64_t d = 0; d < dims; d += 8) {
    BASIN_UNROLL
    for (int q = 0; q < 8; ++q) {
      if (d + q >= dims) break;
      const double gap = __dadd_rn(static_cast<double>(b[d + q]), -static_cast<double>(a[d + q]));
      part[q] = __dadd_rn(part[q], __dmul_rn(gap, gap));
    }
  }
  double sum = 0;
  BASIN_UNROLL
  for (int q = 0; q < 8; ++q) sum = __dadd_rn(sum, part[q]);
  return sum != sum ? kInfinity<double> : sum;
}

// A filtered distance above the limit cannot belong to the first `wanted`. Every term and every sum
// is off by less than (D + 4) u of itself, but for underflow; the same again for the comparison.
template <class T>
__device__ T limit_for(double kth, int64_t dims) {
  const double off = static_cast<double>(dims + 4);
  const double limit = kth * (1 + 3 * off * kUnit<T>)+4 * off * kSmallest<T>;
  return limit > static_cast<double>(kLargest<T>) ? kInfinity<T> : static_cast<T>(limit);
}

// What a block keeps of its points in shared memory, and the cloud that it searches. In shared
// memory, not in registers: it is touched once in 32 candidates that pass the filter.
template <class T>
struct Lists {
  double* distance;  // [points, length], rising
  double* floor;     // [points]: the last neighbour of the round before
  int32_t* number;   // [points, length]
  int32_t* floor_number;
  int32_t* queue;  // [points, kQueue]
  const T* cloud;  // [N, D]
  int64_t dims;
  int wanted;  // neighbours of this round, at most the list's length
};

// Takes `count` numbers (at most 32) off the end of the queue of point i, which is number `slot` of
// the block, into its list; the new limit.
template <class T, int kRows>
__device__ __attribute__((noinline)) T absorb(const Lists<T>& s, int slot, int64_t i, int queued,
                                              int count) {
  const int lane = threadIdx.x;
  double* distance = s.distance + slot * kRows * kLanes;
  int32_t* number = s.number + slot * kRows * kLanes;
  __syncwarp();
  Neighbour fresh{kInfinity<double>, kNobody};
  if (lane < count) {
    const int32_t j = s.queue[slot * kQueue + queued - count + lane];
    const Neighbour found{exact_distance(s.cloud + i * s.dims, s.cloud + j * s.dims, s.dims), j};
    if (before({s.floor[slot], s.floor_number[slot]}, found)) fresh = found;
  }
  fresh = sort_lanes(fresh);
  BASIN_UNROLL
  for (int row = 0; row < kRows; ++row) {
    const int at = row * kLanes + lane;
    const Neighbour held{distance[at], number[at]};
    const Neighbour turned = from_lane(fresh, kLanes - 1 - lane);  // rising and falling: bitonic
    const Neighbour near = merge_lanes(lower(held, turned));
    if (row + 1 < kRows) fresh = merge_lanes(higher(held, turned));
    distance[at] = near.distance;
    number[at] = near.number;
  }
  __syncwarp();
  return limit_for<T>(distance[s.wanted - 1], s.dims);
}

// `count` rows of x [.., dims] from row `first`, coordinates d0 .. d0 + depth, transposed into tile
// [depth, stride]; rows from `rows` on repeat the last.
template <class T>
__device__ void load_rows(const T* x, int64_t rows, int64_t first, int count, int64_t dims,
                          int64_t d0, int depth, int stride, T* tile) {
  const int thread = threadIdx.y * kLanes + threadIdx.x;
  for (int e = thread; e < count * depth; e += kWarps * kLanes) {
    const int64_t row = first + e / depth < rows ? first + e / depth : rows - 1;
    tile[e % depth * stride + e / depth] = x[row * dims + d0 + e % depth];
  }
}

// kCount neighbours in shared memory, read in whole vectors.
template <class T, int kCount>
struct alignas(kCount * sizeof(T) < 16 ? kCount * sizeof(T) : 16) Run {
  T v[kCount];
};
template <class T, int kCount>
__device__ const Run<T, kCount>& run_at(const T* p) {
  return *reinterpret_cast<const Run<T, kCount>*>(p);
}

// sum[p][c] += (candidate c - point p)^2 over the coordinates in shared memory.
template <class T, class P>
__device__ void add_squares(const T* candidates, const T* points, int depth,
                            T (&sum)[P::kPoints][2]) {
  for (int d = 0; d < depth; ++d) {
    const auto pair = run_at<T, 2>(candidates + d * P::kTileStride);
    const auto own = run_at<T, P::kPoints>(points + d * P::kPointStride);
    BASIN_UNROLL
    for (int p = 0; p < P::kPoints; ++p) {
      BASIN_UNROLL
      for (int c = 0; c < 2; ++c) {
        const T gap = pair.v[c] - own.v[p];
        sum[p][c] += gap * gap;
      }
    }
  }
}

// Adds the candidates 2 lane, 2 lane + 1 of the group at `base` to the queues of the warp's points,
// and empties the queues that hold a warp's worth.
template <class T, class P, int kRows>
__device__ void collect(const Lists<T>& lists, const T (&sum)[P::kPoints][2], int64_t base,
                        int64_t first, int64_t points, bool include_self, T (&limit)[P::kPoints],
                        int (&queued)[P::kPoints]) {
  const int lane = threadIdx.x, slot = threadIdx.y * P::kPoints;
  BASIN_UNROLL
  for (int p = 0; p < P::kPoints; ++p) {
    const int64_t i = first + slot + p;
    if (i >= points) break;  // the same for the whole warp
    int32_t* queue = lists.queue + (slot + p) * kQueue;
    BASIN_UNROLL
    for (int c = 0; c < 2; ++c) {
      const int64_t j = base + 2 * lane + c;
      // A NaN passes: its distance counts as infinite.
      const bool near = j < points && !(sum[p][c] > limit[p]) && (include_self || j != i);
      const unsigned who = __ballot_sync(kAll, near);
      if (near) queue[queued[p] + __popc(who & ((1u << lane) - 1))] = static_cast<int32_t>(j);
      queued[p] += __popc(who);
    }
    while (queued[p] >= kLanes) {
      limit[p] = absorb<T, kRows>(lists, slot + p, i, queued[p], kLanes);
      queued[p] -= kLanes;
    }
  }
}

// Empties the queue of point i for good, writes its round of neighbours and starts the next one.
template <class T, int kRows>
__device__ void finish(const Lists<T>& lists, int slot, int64_t i, int queued, int32_t* index) {
  constexpr int kLength = kRows * kLanes;
  absorb<T, kRows>(lists, slot, i, queued, queued);
  double* distance = lists.distance + slot * kLength;
  int32_t* number = lists.number + slot * kLength;
  for (int e = threadIdx.x; e < lists.wanted; e += kLanes) index[e] = number[e];
  if (threadIdx.x == 0) {
    lists.floor[slot] = distance[lists.wanted - 1];
    lists.floor_number[slot] = number[lists.wanted - 1];
  }
  __syncwarp();
  for (int e = threadIdx.x; e < kLength; e += kLanes) {
    distance[e] = kInfinity<double>;
    number[e] = kNobody;
  }
  __syncwarp();
}

template <class T, int kDims, int kRows>
__global__ void __launch_bounds__(kWarps* kLanes, 2)
    knn_kernel(const T* x, int64_t points, int64_t dims, int64_t k, bool include_self,
               int32_t* index) {
  using P = Plan<T, kDims, kRows>;
  const int64_t per_cloud = (points + P::kBlockPoints - 1) / P::kBlockPoints;
  const int64_t b = blockIdx.x / per_cloud;
  const int64_t first = blockIdx.x % per_cloud * P::kBlockPoints;
  const int lane = threadIdx.x, slot = threadIdx.y * P::kPoints;  // of the warp's first point

  Lists<T> lists;
  lists.distance = cuda::dynamic_shared<double>();
  lists.floor = lists.distance + P::kBlockPoints * P::kLength;
  T* tile = reinterpret_cast<T*>(lists.floor + P::kBlockPoints);  // [depth, candidates]
  T* own_tile = tile + P::kDepth * P::kTileStride;                // [depth, points of the block]
  lists.number = reinterpret_cast<int32_t*>(own_tile + P::kDepth * P::kPointStride);
  lists.floor_number = lists.number + P::kBlockPoints * P::kLength;
  lists.queue = lists.floor_number + P::kBlockPoints;
  lists.cloud = x + b * points * dims;
  lists.dims = dims;
  const auto load = [&](int64_t base, int64_t d0, int depth, bool own) {
    __syncthreads();
    load_rows(lists.cloud, points, base, P::kTile, dims, d0, depth, P::kTileStride, tile);
    if (own) {
      load_rows(lists.cloud, points, first, P::kBlockPoints, dims, d0, depth, P::kPointStride,
                own_tile);
    }
    __syncthreads();
  };

  for (int e = lane; e < P::kPoints * P::kLength; e += kLanes) {
    lists.distance[slot * P::kLength + e] = kInfinity<double>;
    lists.number[slot * P::kLength + e] = kNobody;
  }
  if (lane < P::kPoints) {
    lists.floor[slot + lane] = -1;
    lists.floor_number[slot + lane] = -1;
  }
  for (int64_t done = 0; done < k; done += P::kLength) {
    lists.wanted = static_cast<int>(k - done < P::kLength ? k - done : P::kLength);
    T limit[P::kPoints];
    int queued[P::kPoints];
    BASIN_UNROLL
    for (int p = 0; p < P::kPoints; ++p) {
      limit[p] = kInfinity<T>;
      queued[p] = 0;
    }
    for (int64_t base = 0; base < points; base += P::kTile) {
      if constexpr (kDims > 0) load(base, 0, kDims, base == 0);
      for (int part = 0; part < P::kTile && base + part < points; part += kGroup) {
        T sum[P::kPoints][2] = {};
        if constexpr (kDims > 0) {
          add_squares<T, P>(tile + part + 2 * lane, own_tile + slot, kDims, sum);
        } else {
          for (int64_t d0 = 0; d0 < dims; d0 += kChunk) {
            const int depth = static_cast<int>(dims - d0 < kChunk ? dims - d0 : kChunk);
            load(base, d0, depth, true);
            add_squares<T, P>(tile + 2 * lane, own_tile + slot, depth, sum);
          }
        }
        collect<T, P, kRows>(lists, sum, base + part, first, points, include_self, limit, queued);
      }
    }
    BASIN_UNROLL
    for (int p = 0; p < P::kPoints; ++p) {
      const int64_t i = first + slot + p;
      if (i >= points) break;
      finish<T, kRows>(lists, slot + p, i, queued[p], index + (b * points + i) * k + done);
    }
  }
}

template <class T, int kDims, int kRows>
void search(const Tensor& x, int64_t k, bool include_self, Tensor& index) {
  using P = Plan<T, kDims, kRows>;
  const int64_t points = x.size(1);
  const int64_t blocks = x.size(0) * ((points + P::kBlockPoints - 1) / P::kBlockPoints);
  cuda::run(Knn::name, {cuda::grid_of(Knn::name, blocks), dim3(kLanes, kWarps), P::kBytes},
            knn_kernel<T, kDims, kRows>, cuda::in_ptr<T>(x), points, x.size(2), k, include_self,
            cuda::out_ptr<int32_t>(index));
}

}  // namespace

void Knn::cuda(const Tensor& x, int64_t k, bool include_self, Tensor& index) {
  const Shape shape = knn_shape(x, k, include_self);
  check(index.dtype() == DType::i32 && index.shape() == shape, "knn: the index must be i32 ", shape,
        ", got ", index);
  if (index.numel() == 0) return;
  dispatch_float(x.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    const bool space = x.size(2) == 3, brief = k <= kLanes;
    const auto run = space ? (brief ? search<T, 3, 1> : search<T, 3, 2>)
                           : (brief ? search<T, 0, 1> : search<T, 0, 2>);
    run(x, k, include_self, index);
  });
}

}  // namespace basin
