// The edge messages in tiles on chip (formulas in kernels/edge_message.h), for d of at most 64: a
// block takes the edges of whole nodes, at most kEdges, one after the other, and keeps the weights
// and everything of the size edges x d in shared memory and registers. A thread owns kRows edges
// and four channels of each in every product, so activations and the sums over the channels of an
// edge are made where the product leaves them. Channels beyond d are zeros. Where a tile does not
// fit the shared memory of sm_80, or a node has more edges than a tile, the chunks of
// edge_message.cuh work instead: with_tile().
#pragma once
#include "basin/kernels/cuda/edge_message.cuh"

// In front of a loop that the compiler would unroll until it runs out of registers.
#ifdef BASIN_EMULATION
#define BASIN_ROLLED
#else
#define BASIN_ROLLED _Pragma("unroll 1")
#endif

namespace basin::cuda::edge {

inline constexpr int kTileThreads = 256;
inline constexpr size_t kTileShared = 163 << 10;  // of a block on sm_80
// Twice the multiprocessors of an H100 or H200; a block takes a range of tiles.
inline int64_t tile_blocks() { return tile_length(264, 2); }

// What the kernels are told about a run of tiles.
struct TileRun {
  int64_t first, last;  // nodes; `last` is behind
  int k, d, nodes;      // nodes of a tile
  int tiles;
  bool attention, moves;
  bool vectors;  // rows of p and r can be read 16 bytes at a time
  int64_t width() const { return moves ? d + 3 : d; }
};

template <class T>
struct alignas(16) Quad {
  T x[4];
};

template <class V>
__device__ void load4(const Field<V>& f, int at, V (&to)[4]) {
  using T = BaseOf<V>;
  const auto v = *reinterpret_cast<const Quad<T>*>(f.v + at);
  if constexpr (kDual<V>) {
    const auto t = *reinterpret_cast<const Quad<T>*>(f.t + at);
    BASIN_UNROLL
    for (int j = 0; j < 4; ++j) to[j] = V(v.x[j], t.x[j]);
  } else {
    BASIN_UNROLL
    for (int j = 0; j < 4; ++j) to[j] = v.x[j];
  }
}
template <class V>
__device__ void store4(const Field<V>& f, int at, const V (&from)[4]) {
  using T = BaseOf<V>;
  Quad<T> v;
  if constexpr (kDual<V>) {
    Quad<T> t;
    BASIN_UNROLL
    for (int j = 0; j < 4; ++j) {
      v.x[j] = from[j].v;
      t.x[j] = from[j].t;
    }
    *reinterpret_cast<Quad<T>*>(f.t + at) = t;
  } else {
    BASIN_UNROLL
    for (int j = 0; j < 4; ++j) v.x[j] = from[j];
  }
  *reinterpret_cast<Quad<T>*>(f.v + at) = v;
}
// Channels [c, c + 4) of a row of d at `row`; zero beyond d.
template <class V>
__device__ void load_channels(const Input<V>& f, int64_t row, int c, int d, bool vectors,
                              V (&to)[4]) {
  if (vectors && c < d) {  // d is then a multiple of four
    using T = BaseOf<V>;
    const auto v = *reinterpret_cast<const Quad<T>*>(f.v + row + c);
    if constexpr (kDual<V>) {
      Quad<T> t{};
      if (f.t) t = *reinterpret_cast<const Quad<T>*>(f.t + row + c);
      BASIN_UNROLL
      for (int j = 0; j < 4; ++j) to[j] = V(v.x[j], t.x[j]);
    } else {
      BASIN_UNROLL
      for (int j = 0; j < 4; ++j) to[j] = v.x[j];
    }
    return;
  }
  BASIN_UNROLL
  for (int j = 0; j < 4; ++j) to[j] = c + j < d ? f.load(row + c + j) : V(0);
}

// sum += a b, each product in one fused multiply-add
template <class T>
__device__ void add_product(T& sum, T a, T b) {
  sum += a * b;
}
template <class T>
__device__ void add_product(Dual<T>& sum, const Dual<T>& a, const Dual<T>& b) {
  sum.v += a.v * b.v;
  sum.t += a.v * b.t;
  sum.t += a.t * b.v;
}

// How a block of 256 threads divides tiles [kEdges, kD] and [kD, kD] of values V: thread (down,
// across) has rows down + kDown u, u < kRows, and channels 4 across .. 4 across + 3.
template <class Value, int kChannels, int kTileEdges>
struct TileShape {
  using V = Value;
  using T = BaseOf<V>;
  static constexpr int kD = kChannels, kEdges = kTileEdges;
  // The distance of rows is 16 bytes from a multiple of the banks, so that eight threads that read
  // 16 bytes of eight rows meet in no bank.
  static constexpr int kPitch = kD + static_cast<int>(16 / sizeof(T));
  static constexpr int kAcross = kD / 4, kDown = kTileThreads / kAcross, kRows = kEdges / kDown;
  static constexpr int kPlanes = kDual<V> ? 2 : 1;
  static_assert(kRows >= 1 && kRows * kDown == kEdges && 32 % kAcross == 0);

  __device__ static int across() { return static_cast<int>(threadIdx.x) % kAcross; }
  __device__ static int down() { return static_cast<int>(threadIdx.x) / kAcross; }
  __device__ static int row(int u) { return down() + kDown * u; }
  __device__ static int channel() { return 4 * across(); }
  __device__ static int at(int u) { return row(u) * kPitch + channel(); }
  // Where a row of a weight matrix lies: rows 4 across + q of neighbouring threads are neighbours.
  __device__ static int weight_row(int r) { return r / 4 + kAcross * (r % 4); }

  // The sum over the channels of a row, in every thread of it; the order is fixed.
  template <class X>
  __device__ static X row_sum(X x) {
    if constexpr (kDual<X>) {
      return {row_sum(x.v), row_sum(x.t)};
    } else {
      BASIN_UNROLL
      for (int half = kAcross / 2; half > 0; half /= 2) {
        x += __shfl_xor_sync(0xffffffffu, x, half);
      }
      return x;
    }
  }
};

// Cuts the shared memory of a block.
template <class V>
class TileMemory {
 public:
  using T = BaseOf<V>;
  __device__ explicit TileMemory(T* next) : next_(next) {}
  __device__ Field<V> take(int elements) {
    Field<V> field{next_, nullptr};
    next_ += elements;
    if constexpr (kDual<V>) {
      field.t = next_;
      next_ += elements;
    }
    return field;
  }
  __device__ T* take_plain(int elements) {
    T* at = next_;
    next_ += elements;
    return at;
  }

 private:
  T* next_;
};

// What each edge of a tile has beside its channels.
template <class V>
struct TileEdges {
  Field<V> delta, square, phi;  // [3, kEdges], [kEdges] twice
  int *node, *sender;           // [kEdges]: i within the tile, j in the batch

  template <class S>
  static constexpr size_t bytes() {
    return S::kEdges * (5 * S::kPlanes * sizeof(BaseOf<V>) + 2 * sizeof(int));
  }
  template <class S>
  __device__ void take(TileMemory<V>& memory) {
    delta = memory.take(3 * S::kEdges);
    square = memory.take(S::kEdges);
    phi = memory.take(S::kEdges);
  }
};

template <class S>
__device__ void load_weight(const Input<typename S::V>& w, int d, const Field<typename S::V>& to) {
  using V = typename S::V;
  for (int i = static_cast<int>(threadIdx.x); i < S::kD * S::kD; i += kTileThreads) {
    const int r = i / S::kD, c = i % S::kD;
    to.store(S::weight_row(r) * S::kPitch + c, r < d && c < d ? w.load(r * d + c) : V(0));
  }
}

// sum = x w^T, or x w where kBack, over the channels
template <class S, bool kBack>
__device__ void multiply_tile(const Field<typename S::V>& x, const Field<typename S::V>& w,
                              typename S::V (&sum)[S::kRows][4]) {
  using V = typename S::V;
  BASIN_UNROLL
  for (int u = 0; u < S::kRows; ++u) {
    BASIN_UNROLL
    for (int j = 0; j < 4; ++j) sum[u][j] = V(0);
  }
  BASIN_ROLLED
  for (int l = 0; l < S::kD; l += 4) {
    V a[S::kRows][4];
    BASIN_UNROLL
    for (int u = 0; u < S::kRows; ++u) load4(x, S::row(u) * S::kPitch + l, a[u]);
    BASIN_UNROLL
    for (int q = 0; q < 4; ++q) {
      V b[4];
      const int row = S::kAcross * q + (kBack ? l / 4 : S::across());
      load4(w, row * S::kPitch + (kBack ? S::channel() : l), b);
      BASIN_UNROLL
      for (int u = 0; u < S::kRows; ++u) {
        BASIN_UNROLL
        for (int j = 0; j < 4; ++j) {
          if constexpr (kBack) {
            add_product(sum[u][j], a[u][q], b[j]);
          } else {
            add_product(sum[u][q], a[u][j], b[j]);
          }
        }
      }
    }
  }
}

// The nodes of a tile and the number of its edges.
struct TilePlace {
  int64_t first;
  int nodes, edges;
};
__device__ inline TilePlace tile_place(const TileRun& s, int tile) {
  const int64_t first = s.first + static_cast<int64_t>(tile) * s.nodes;
  const int nodes = static_cast<int>(s.last - first < s.nodes ? s.last - first : s.nodes);
  return {first, nodes, nodes * s.k};
}
// The tiles of this block: a range, so that neighbouring tiles find each other's rows in the cache.
__device__ inline int tile_begin(const TileRun& s, unsigned block) {
  return static_cast<int>(static_cast<int64_t>(s.tiles) * block / gridDim.x);
}

// One thread per edge: where it leads and how far. Rows beyond the edges are those of no edge.
template <class S>
__device__ void load_edges(const TileRun& s, const TilePlace& place, const Input<typename S::V>& x,
                           const int32_t* sender, const TileEdges<typename S::V>& edges) {
  using V = typename S::V;
  for (int e = static_cast<int>(threadIdx.x); e < S::kEdges; e += kTileThreads) {
    const bool there = e < place.edges;
    const int node = there ? e / s.k : 0;
    const int64_t i = place.first + node;
    const int64_t j = there ? sender[place.first * s.k + e] : i;
    V square(0);
    BASIN_UNROLL
    for (int axis = 0; axis < 3; ++axis) {
      const V delta = x.load(3 * i + axis) - x.load(3 * j + axis);
      edges.delta.store(axis * S::kEdges + e, delta);
      square = square + delta * delta;
    }
    edges.square.store(e, square);
    edges.node[e] = node;
    edges.sender[e] = static_cast<int>(j);
  }
}

// z1 of the thread's four channels of a row
template <class S>
__device__ void edge_input(const TileRun& s, const TilePlace& place,
                           const Arguments<typename S::V>& a, const TileEdges<typename S::V>& edges,
                           const typename S::V (&w_s)[4], int row, typename S::V (&z)[4]) {
  using V = typename S::V;
  V r[4];
  load_channels(a.p, (place.first + edges.node[row]) * s.d, S::channel(), s.d, s.vectors, z);
  load_channels(a.r, static_cast<int64_t>(edges.sender[row]) * s.d, S::channel(), s.d, s.vectors,
                r);
  const V square = edges.square.load(row);
  BASIN_UNROLL
  for (int j = 0; j < 4; ++j) z[j] = z[j] + r[j] + square * w_s[j];
}

// e1 of the tile, [kEdges, kD]
template <class S>
__device__ void activate_edges(const TileRun& s, const TilePlace& place,
                               const Arguments<typename S::V>& a,
                               const TileEdges<typename S::V>& edges,
                               const Field<typename S::V>& e1) {
  using V = typename S::V;
  V w_s[4];
  load_channels(a.w_s, 0, S::channel(), s.d, false, w_s);
  BASIN_UNROLL
  for (int u = 0; u < S::kRows; ++u) {
    V z[4];
    edge_input<S>(s, place, a, edges, w_s, S::row(u), z);
    BASIN_UNROLL
    for (int j = 0; j < 4; ++j) z[j] = z[j] * sigmoid(z[j]);
    store4(e1, S::at(u), z);
  }
}

// The tile's results, one thread per node and channel in the order of the edges: sum_j m,
// mean_j delta phi (or their tangents).
template <class S>
__device__ void sum_tile(const TileRun& s, const TilePlace& place, const Field<typename S::V>& m,
                         const TileEdges<typename S::V>& edges, typename S::T* out) {
  using T = typename S::T;
  const int width = s.moves ? s.d + 3 : s.d;
  T* to = out + place.first * width;
  for (int at = static_cast<int>(threadIdx.x); at < place.nodes * width; at += kTileThreads) {
    const int node = at / width, c = at % width, first = node * s.k;
    T sum = 0;
    if (c < s.d) {
      for (int e = first; e < first + s.k; ++e) sum += outcome(m.load(e * S::kPitch + c));
    } else {
      for (int e = first; e < first + s.k; ++e) {
        sum += outcome(edges.delta.load((c - s.d) * S::kEdges + e) * edges.phi.load(e));
      }
      sum /= static_cast<T>(s.k);
    }
    to[at] = sum;
  }
}

template <class S>
__global__ void __launch_bounds__(kTileThreads, 2)
    message_tile_kernel(TileRun s, Arguments<typename S::V> a, const int32_t* sender,
                        typename S::T* out) {
  using V = typename S::V;
  TileMemory<V> memory(dynamic_shared<typename S::T>());
  const Field<V> x = memory.take(S::kEdges * S::kPitch), w2 = memory.take(S::kD * S::kPitch);
  const Field<V> w_c = s.moves ? memory.take(S::kD * S::kPitch) : w2;
  TileEdges<V> edges;
  edges.template take<S>(memory);
  edges.node = reinterpret_cast<int*>(memory.take_plain(0));
  edges.sender = edges.node + S::kEdges;
  load_weight<S>(a.w2, s.d, w2);
  if (s.moves) load_weight<S>(a.w_c, s.d, w_c);
  const int end = tile_begin(s, blockIdx.x + 1);
  for (int tile = tile_begin(s, blockIdx.x); tile < end; ++tile) {
    const TilePlace place = tile_place(s, tile);
    __syncthreads();  // the last tile has been added
    load_edges<S>(s, place, a.x, sender, edges);
    __syncthreads();
    activate_edges<S>(s, place, a, edges, x);
    __syncthreads();
    V z[S::kRows][4], b[4], w[4];
    multiply_tile<S, false>(x, w2, z);
    __syncthreads();  // e1 has been read
    load_channels(a.b2, 0, S::channel(), s.d, false, b);
    if (s.attention) load_channels(a.w_a, 0, S::channel(), s.d, false, w);
    BASIN_UNROLL
    for (int u = 0; u < S::kRows; ++u) {
      V dot(0);
      BASIN_UNROLL
      for (int j = 0; j < 4; ++j) {
        const V in = z[u][j] + b[j];
        z[u][j] = in * sigmoid(in);
        if (s.attention) dot = dot + w[j] * z[u][j];
      }
      if (s.attention) {
        const V gate = sigmoid(S::row_sum(dot) + a.b_a.load(0));
        BASIN_UNROLL
        for (int j = 0; j < 4; ++j) z[u][j] = gate * z[u][j];
      }
      store4(x, S::at(u), z[u]);
    }
    __syncthreads();
    if (s.moves) {
      multiply_tile<S, false>(x, w_c, z);
      load_channels(a.b_c, 0, S::channel(), s.d, false, b);
      load_channels(a.w_x, 0, S::channel(), s.d, false, w);
      BASIN_UNROLL
      for (int u = 0; u < S::kRows; ++u) {
        V dot(0);
        BASIN_UNROLL
        for (int j = 0; j < 4; ++j) {
          const V in = z[u][j] + b[j];
          dot = dot + w[j] * (in * sigmoid(in));
        }
        dot = S::row_sum(dot);
        if (S::across() == 0) edges.phi.store(S::row(u), dot);
      }
      __syncthreads();
    }
    sum_tile<S>(s, place, x, edges, out);
  }
}

template <class S>
struct MessageTileBytes {
  static constexpr size_t value =
      size_t{S::kPlanes} * (S::kEdges + 2 * S::kD) * S::kPitch * sizeof(typename S::T) +
      TileEdges<typename S::V>::template bytes<S>();
};

// Edges of a tile of the results: what leaves room for two blocks on a multiprocessor of sm_90.
template <class V>
inline constexpr int kMessageEdges = sizeof(V) == sizeof(float) ? 128 : 64;

// f(shape) with the tile for these sizes; false where there is none. Bytes<S>::value: the shared
// memory that a block of shape S wants.
template <class V, int kEdges, template <class> class Bytes, class F>
bool with_tile(const Sizes& s, const F& f) {
  const auto take = [&](auto shape) {
    using S = decltype(shape);
    if constexpr (Bytes<S>::value <= kTileShared) f(shape);
    return Bytes<S>::value <= kTileShared;
  };
  if (s.rows() == 0 || s.k == 0 || s.k > kEdges || s.d > 64) return false;
  return s.d <= 32 ? take(TileShape<V, 32, kEdges>{}) : take(TileShape<V, 64, kEdges>{});
}

// The tiles of nodes [first, last).
inline TileRun tile_run(const Sizes& s, int64_t first, int64_t last, int64_t tile_edges,
                        bool vectors) {
  TileRun t{};
  t.first = first;
  t.last = last;
  t.k = static_cast<int>(s.k);
  t.d = static_cast<int>(s.d);
  t.nodes = static_cast<int>(tile_edges / s.k);
  t.tiles = static_cast<int>((last - first + t.nodes - 1) / t.nodes);
  t.attention = s.attention;
  t.moves = s.moves;
  t.vectors = vectors;
  return t;
}

inline bool rows_of_vectors(const Sizes& s, std::initializer_list<const void*> starts) {
  bool aligned = s.d % 4 == 0;
  for (const void* p : starts) aligned = aligned && reinterpret_cast<uintptr_t>(p) % 16 == 0;
  return aligned;
}
template <class V>
bool rows_of_vectors(const Sizes& s, const Arguments<V>& a) {
  return rows_of_vectors(s, {a.p.v, a.p.t, a.r.v, a.r.t});
}

}  // namespace basin::cuda::edge
