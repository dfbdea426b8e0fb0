// The backward pass of the edge messages in tiles on chip (edge_message_tile.cuh; formulas in
// kernels/cpu/edge_message_backward.cpp). A block makes each tile's forward pass again and keeps
// the gradients of the weights in registers and shared memory over all of its tiles; fold_parts()
// adds the blocks' in a fixed order. z1- and delta- of the edges go to memory, for the senders'
// sums. Blocks depend on the sizes only and there are no atomics: the same bits from run to run.
#pragma once
#include "basin/kernels/cuda/edge_message_tile.cuh"

namespace basin::cuda::edge {

// Edges of a tile: two blocks on a multiprocessor of sm_90 in f32, one otherwise.
template <class V>
inline constexpr int kGradientEdges = sizeof(V) == sizeof(float) ? 64 : 32;

template <class T>
struct TileGradients {
  T *p, *x;       // [R, d]; [R, 3], to which is added
  T *z1, *delta;  // z1-, delta- (or their tangents) of the run's edges: [n, d], [n, 3]
  T* part;        // [blocks, TileParts::kCount]
  bool add;       // to what the parts hold
};

// Where a block's part holds what. A matrix is there once per group of threads, each of which adds
// a share of a tile's edges.
template <class S>
struct TileParts {
  static constexpr int kThreads = S::kAcross * S::kAcross, kGroups = kTileThreads / kThreads;
  static constexpr int kMatrix = S::kD * S::kD, kMatrices = 2 * kGroups * kMatrix;
  static constexpr int kCount = kMatrices + 6 * S::kD;
  __host__ __device__ static constexpr int matrix(int which, int group) {
    return (which * kGroups + group) * kMatrix;
  }
  __host__ __device__ static constexpr int vector(int which) { return kMatrices + which * S::kD; }
};
enum PartMatrix { kPartW2, kPartWc };
enum PartVector { kPartWs, kPartB2, kPartWa, kPartBc, kPartWx, kPartBa, kPartVectors };

// sum += a b, or its tangent
template <class T>
__device__ void add_outcome(T& sum, T a, T b) {
  sum += a * b;
}
template <class T>
__device__ void add_outcome(T& sum, const Dual<T>& a, const Dual<T>& b) {
  sum += a.v * b.t;
  sum += a.t * b.v;
}

// The thread's 4 x 4 of sum_e y_e x_e^T, or of y_e (gate_e x_e)^T, over its group's share of the
// edges.
template <class S>
__device__ void add_outer_tile(const Field<typename S::V>& y, const Field<typename S::V>& x,
                               const Field<typename S::V>& gate, bool gated,
                               typename S::T (&sum)[4][4]) {
  using V = typename S::V;
  using Parts = TileParts<S>;
  constexpr int kShare = S::kEdges / Parts::kGroups;
  const int place = static_cast<int>(threadIdx.x) % Parts::kThreads;
  const int first = static_cast<int>(threadIdx.x) / Parts::kThreads * kShare;
  const int o = place / S::kAcross * 4, i = place % S::kAcross * 4;
  for (int e = first; e < first + kShare; ++e) {
    V p[4], q[4];
    load4(y, e * S::kPitch + o, p);
    load4(x, e * S::kPitch + i, q);
    if (gated) {
      const V g = gate.load(e);
      BASIN_UNROLL
      for (int c = 0; c < 4; ++c) q[c] = g * q[c];
    }
    BASIN_UNROLL
    for (int r = 0; r < 4; ++r) {
      BASIN_UNROLL
      for (int c = 0; c < 4; ++c) add_outcome(sum[r][c], p[r], q[c]);
    }
  }
}

template <class S>
__device__ void write_outer(int which, const TileGradients<typename S::T>& g,
                            const typename S::T (&sum)[4][4]) {
  using T = typename S::T;
  using Parts = TileParts<S>;
  const int place = static_cast<int>(threadIdx.x) % Parts::kThreads;
  const int group = static_cast<int>(threadIdx.x) / Parts::kThreads;
  T* to = g.part + static_cast<int64_t>(blockIdx.x) * Parts::kCount + Parts::matrix(which, group) +
          place / S::kAcross * 4 * S::kD + place % S::kAcross * 4;
  BASIN_UNROLL
  for (int r = 0; r < 4; ++r) {
    BASIN_UNROLL
    for (int c = 0; c < 4; ++c) {
      T& at = to[r * S::kD + c];
      at = g.add ? at + sum[r][c] : sum[r][c];
    }
  }
}

// Sums over the edges of a value per channel: each thread has its own place for its rows' share.
template <class S>
struct TileColumns {
  using T = typename S::T;
  T* memory;  // [kPartBa, kDown, kD]
  static constexpr int kElements = kPartBa * S::kDown * S::kD;

  __device__ T* own(int which) const {
    return memory + (which * S::kDown + S::down()) * S::kD + S::channel();
  }
  __device__ void clear() const {
    for (int i = static_cast<int>(threadIdx.x); i < kElements; i += kTileThreads) memory[i] = T(0);
  }
  __device__ void add(int which, const T (&share)[4]) const {
    auto* at = reinterpret_cast<Quad<T>*>(own(which));
    Quad<T> sum = *at;
    BASIN_UNROLL
    for (int j = 0; j < 4; ++j) sum.x[j] += share[j];
    *at = sum;
  }
  // By all threads, after a barrier.
  __device__ void write(const TileGradients<T>& g) const {
    T* part = g.part + static_cast<int64_t>(blockIdx.x) * TileParts<S>::kCount;
    for (int i = static_cast<int>(threadIdx.x); i < kPartBa * S::kD; i += kTileThreads) {
      const int which = i / S::kD, c = i % S::kD;
      double sum = 0;
      for (int down = 0; down < S::kDown; ++down) {
        sum += static_cast<double>(memory[(which * S::kDown + down) * S::kD + c]);
      }
      T& at = part[TileParts<S>::vector(which) + c];
      at = g.add ? at + static_cast<T>(sum) : static_cast<T>(sum);
    }
  }
};

// What the backward pass has in shared memory.
template <class S>
struct GradientTile {
  using V = typename S::V;
  Field<V> e1, m0, bar;                // [kEdges, kD]; bar: z3-, then z2-
  Field<V> w2, w_c;                    // [kD, kD]
  Field<V> phi_bar, square_bar, gate;  // [kEdges]
  TileEdges<V> edges;
  TileColumns<S> columns;

  static constexpr size_t kBytes =
      sizeof(typename S::T) *
          (S::kPlanes * ((3 * S::kEdges + 2 * S::kD) * S::kPitch + 3 * S::kEdges) +
           TileColumns<S>::kElements) +
      TileEdges<V>::template bytes<S>();
  __device__ GradientTile() {
    TileMemory<V> memory(dynamic_shared<typename S::T>());
    e1 = memory.take(S::kEdges * S::kPitch);
    m0 = memory.take(S::kEdges * S::kPitch);
    bar = memory.take(S::kEdges * S::kPitch);
    w2 = memory.take(S::kD * S::kPitch);
    w_c = memory.take(S::kD * S::kPitch);
    columns.memory = memory.take_plain(TileColumns<S>::kElements);
    phi_bar = memory.take(S::kEdges);
    square_bar = memory.take(S::kEdges);
    gate = memory.take(S::kEdges);
    edges.template take<S>(memory);
    edges.node = reinterpret_cast<int*>(memory.take_plain(0));
    edges.sender = edges.node + S::kEdges;
  }
};
template <class S>
struct GradientTileBytes {
  static constexpr size_t value = GradientTile<S>::kBytes;
};

// D_i- / k along an axis, for a node of the tile
template <class V>
__device__ V shift_bar(const TileRun& s, const TilePlace& place, const Input<V>& ct, int node,
                       int axis) {
  const BaseOf<V> share = BaseOf<V>(1) / static_cast<BaseOf<V>>(s.k);
  return ct.load((place.first + node) * (s.d + 3) + s.d + axis) * V(share);
}

// phi-, by the threads that wrote delta
template <class S>
__device__ void pull_phi(const TileRun& s, const TilePlace& place, const Input<typename S::V>& ct,
                         const GradientTile<S>& t) {
  using V = typename S::V;
  for (int e = static_cast<int>(threadIdx.x); e < S::kEdges; e += kTileThreads) {
    V bar(0);
    if (e < place.edges) {
      BASIN_UNROLL
      for (int axis = 0; axis < 3; ++axis) {
        bar = bar + shift_bar(s, place, ct, t.edges.node[e], axis) *
                        t.edges.delta.load(axis * S::kEdges + e);
      }
    }
    t.phi_bar.store(e, bar);
  }
}

// z: W2 e1; m0, its slope f2 and the gates
template <class S>
__device__ void push_messages(const TileRun& s, const Arguments<typename S::V>& a,
                              const GradientTile<S>& t, typename S::V (&z)[S::kRows][4],
                              typename S::V (&f2)[S::kRows][4]) {
  using V = typename S::V;
  V b[4], w[4];
  load_channels(a.b2, 0, S::channel(), s.d, false, b);
  if (s.attention) load_channels(a.w_a, 0, S::channel(), s.d, false, w);
  BASIN_UNROLL
  for (int u = 0; u < S::kRows; ++u) {
    V dot(0);
    BASIN_UNROLL
    for (int j = 0; j < 4; ++j) {
      const V in = z[u][j] + b[j], g = sigmoid(in);
      z[u][j] = in * g;
      f2[u][j] = g + z[u][j] * (V(1) - g);
      if (s.attention) dot = dot + w[j] * z[u][j];
    }
    store4(t.m0, S::at(u), z[u]);
    if (!s.attention) continue;
    const V gate = sigmoid(S::row_sum(dot) + a.b_a.load(0));
    if (S::across() == 0) t.gate.store(S::row(u), gate);
  }
}

// z: Wc m0; phi, and bar <- z3-
template <class S>
__device__ void pull_shift_tile(const TileRun& s, const Arguments<typename S::V>& a,
                                const GradientTile<S>& t, typename S::V (&z)[S::kRows][4]) {
  using V = typename S::V;
  using T = typename S::T;
  V b[4], w[4];
  load_channels(a.b_c, 0, S::channel(), s.d, false, b);
  load_channels(a.w_x, 0, S::channel(), s.d, false, w);
  T b_sum[4] = {}, w_sum[4] = {};
  BASIN_UNROLL
  for (int u = 0; u < S::kRows; ++u) {
    const V phi_bar = t.phi_bar.load(S::row(u));
    const V gate = s.attention ? t.gate.load(S::row(u)) : V(1);
    V dot(0);
    BASIN_UNROLL
    for (int j = 0; j < 4; ++j) {
      const V in = gate * z[u][j] + b[j], g = sigmoid(in), e3 = in * g;
      dot = dot + w[j] * e3;
      w_sum[j] += outcome(phi_bar * e3);
      z[u][j] = phi_bar * w[j] * (g + e3 * (V(1) - g));
      b_sum[j] += outcome(z[u][j]);
    }
    store4(t.bar, S::at(u), z[u]);
    dot = S::row_sum(dot);
    if (S::across() == 0) t.edges.phi.store(S::row(u), dot);
  }
  t.columns.add(kPartBc, b_sum);
  t.columns.add(kPartWx, w_sum);
}

// z: m- but for M_i-; then z2-. b_a: the thread's share of b_a-.
template <class S>
__device__ void pull_gate_tile(const TileRun& s, const TilePlace& place,
                               const Arguments<typename S::V>& a, const Input<typename S::V>& ct,
                               const GradientTile<S>& t, const typename S::V (&f2)[S::kRows][4],
                               typename S::V (&z)[S::kRows][4], typename S::T& b_a) {
  using V = typename S::V;
  using T = typename S::T;
  V w[4];
  if (s.attention) load_channels(a.w_a, 0, S::channel(), s.d, false, w);
  T b_sum[4] = {}, w_sum[4] = {};
  const int width = s.moves ? s.d + 3 : s.d;
  BASIN_UNROLL
  for (int u = 0; u < S::kRows; ++u) {
    const int row = S::row(u);
    if (row < place.edges) {  // all of the rest is zero
      V m[4];
      load_channels(ct, (place.first + t.edges.node[row]) * width, S::channel(), s.d, false, m);
      BASIN_UNROLL
      for (int j = 0; j < 4; ++j) z[u][j] = z[u][j] + m[j];
    }
    if (s.attention) {
      V m0[4], dot(0);
      load4(t.m0, S::at(u), m0);
      BASIN_UNROLL
      for (int j = 0; j < 4; ++j) dot = dot + z[u][j] * m0[j];
      const V gate = t.gate.load(row), g = S::row_sum(dot) * gate * (V(1) - gate);
      BASIN_UNROLL
      for (int j = 0; j < 4; ++j) {
        w_sum[j] += outcome(g * m0[j]);
        z[u][j] = gate * z[u][j] + g * w[j];
      }
      if (S::across() == 0) b_a += outcome(g);
    }
    BASIN_UNROLL
    for (int j = 0; j < 4; ++j) {
      z[u][j] = z[u][j] * f2[u][j];
      b_sum[j] += outcome(z[u][j]);
    }
  }
  t.columns.add(kPartB2, b_sum);
  if (s.attention) t.columns.add(kPartWa, w_sum);
}

// z: e1-; s-, and z1- (or its tangent) in the place of m0 and in memory
template <class S>
__device__ void pull_input_tile(const TileRun& s, const TilePlace& place,
                                const Arguments<typename S::V>& a, const GradientTile<S>& t,
                                const TileGradients<typename S::T>& g,
                                typename S::V (&z)[S::kRows][4]) {
  using V = typename S::V;
  using T = typename S::T;
  const Field<T> z1{t.m0.v, nullptr}, out{g.z1 + (place.first - s.first) * s.k * s.d, nullptr};
  V w_s[4];
  load_channels(a.w_s, 0, S::channel(), s.d, false, w_s);
  T w_sum[4] = {};
  BASIN_UNROLL
  for (int u = 0; u < S::kRows; ++u) {
    const int row = S::row(u);
    const V square = t.edges.square.load(row);
    V in[4], dot(0);
    T bar[4];
    edge_input<S>(s, place, a, t.edges, w_s, row, in);
    BASIN_UNROLL
    for (int j = 0; j < 4; ++j) {
      const V slope = sigmoid(in[j]);
      const V z1_bar = z[u][j] * (slope + in[j] * slope * (V(1) - slope));
      dot = dot + z1_bar * w_s[j];
      w_sum[j] += outcome(square * z1_bar);
      bar[j] = outcome(z1_bar);
    }
    dot = S::row_sum(dot);
    if (S::across() == 0) t.square_bar.store(row, dot);
    store4(z1, S::at(u), bar);
    if (row >= place.edges) continue;
    const int c = S::channel();
    if (s.d % 4 == 0) {
      if (c < s.d) store4(out, row * s.d + c, bar);
    } else {
      BASIN_UNROLL
      for (int j = 0; j < 4; ++j) {
        if (c + j < s.d) out.store(row * s.d + c + j, bar[j]);
      }
    }
  }
  t.columns.add(kPartWs, w_sum);
}

// delta- (or its tangent) of edge e
template <class S>
__device__ typename S::T delta_bar(const TileRun& s, const TilePlace& place,
                                   const Input<typename S::V>& ct, const GradientTile<S>& t, int e,
                                   int axis) {
  using V = typename S::V;
  V bar = V(2) * t.square_bar.load(e) * t.edges.delta.load(axis * S::kEdges + e);
  if (s.moves) {
    bar = bar + shift_bar(s, place, ct, t.edges.node[e], axis) * t.edges.phi.load(e);
  }
  return outcome(bar);
}

// The rows of the tile's own nodes, in the order of the edges: p-, and x_i- += sum_j delta-; and
// delta- to memory.
template <class S>
__device__ void sum_receiver_tile(const TileRun& s, const TilePlace& place,
                                  const Input<typename S::V>& ct, const GradientTile<S>& t,
                                  const TileGradients<typename S::T>& g) {
  using T = typename S::T;
  const int self = static_cast<int>(threadIdx.x);
  for (int at = self; at < place.nodes * s.d; at += kTileThreads) {
    const int node = at / s.d, c = at % s.d, first = node * s.k;
    T sum = 0;
    for (int e = first; e < first + s.k; ++e) sum += t.m0.v[e * S::kPitch + c];
    g.p[place.first * s.d + at] = sum;
  }
  for (int at = self; at < place.nodes * 3; at += kTileThreads) {
    const int node = at / 3, axis = at % 3, first = node * s.k;
    T sum = 0;
    for (int e = first; e < first + s.k; ++e) sum += delta_bar(s, place, ct, t, e, axis);
    g.x[place.first * 3 + at] += sum;
  }
  T* out = g.delta + (place.first - s.first) * s.k * 3;
  for (int at = self; at < place.edges * 3; at += kTileThreads) {
    out[at] = delta_bar(s, place, ct, t, at / 3, at % 3);
  }
}

template <class S>
__global__ void __launch_bounds__(kTileThreads, sizeof(typename S::V) == sizeof(float) ? 2 : 1)
    gradient_tile_kernel(TileRun s, Arguments<typename S::V> a, const int32_t* sender,
                         Input<typename S::V> ct, TileGradients<typename S::T> g) {
  using V = typename S::V;
  using T = typename S::T;
  const GradientTile<S> t;
  load_weight<S>(a.w2, s.d, t.w2);
  if (s.moves) load_weight<S>(a.w_c, s.d, t.w_c);
  t.columns.clear();
  T w2_sum[4][4] = {}, w_c_sum[4][4] = {}, b_a = 0;
  const int end = tile_begin(s, blockIdx.x + 1);
  for (int tile = tile_begin(s, blockIdx.x); tile < end; ++tile) {
    const TilePlace place = tile_place(s, tile);
    __syncthreads();  // the last tile has been added
    load_edges<S>(s, place, a.x, sender, t.edges);
    if (s.moves) pull_phi(s, place, ct, t);
    __syncthreads();
    activate_edges<S>(s, place, a, t.edges, t.e1);
    __syncthreads();
    V z[S::kRows][4], f2[S::kRows][4];
    multiply_tile<S, false>(t.e1, t.w2, z);
    push_messages(s, a, t, z, f2);
    __syncthreads();
    if (s.moves) {
      multiply_tile<S, false>(t.m0, t.w_c, z);
      pull_shift_tile(s, a, t, z);
      __syncthreads();
      add_outer_tile<S>(t.bar, t.m0, t.gate, s.attention, w_c_sum);
      multiply_tile<S, true>(t.bar, t.w_c, z);
    } else {
      BASIN_UNROLL
      for (int u = 0; u < S::kRows; ++u) {
        BASIN_UNROLL
        for (int j = 0; j < 4; ++j) z[u][j] = V(0);
      }
    }
    pull_gate_tile(s, place, a, ct, t, f2, z, b_a);
    __syncthreads();  // z3- has been read
    BASIN_UNROLL
    for (int u = 0; u < S::kRows; ++u) store4(t.bar, S::at(u), z[u]);
    __syncthreads();
    add_outer_tile<S>(t.bar, t.e1, t.gate, false, w2_sum);
    multiply_tile<S, true>(t.bar, t.w2, z);
    pull_input_tile(s, place, a, t, g, z);
    __syncthreads();
    sum_receiver_tile(s, place, ct, t, g);
  }
  write_outer<S>(kPartW2, g, w2_sum);
  if (s.moves) write_outer<S>(kPartWc, g, w_c_sum);
  __syncthreads();
  t.columns.write(g);
  if (!s.attention) return;
  if (S::across() == 0) t.gate.v[S::down()] = b_a;  // nobody reads gates any more
  __syncthreads();
  if (threadIdx.x != 0) return;
  double sum = 0;
  for (int down = 0; down < S::kDown; ++down) sum += static_cast<double>(t.gate.v[down]);
  T& at = g.part[static_cast<int64_t>(blockIdx.x) * TileParts<S>::kCount +
                 TileParts<S>::vector(kPartBa)];
  at = g.add ? at + static_cast<T>(sum) : static_cast<T>(sum);
}

// Where the sums of the parts go; null: not wanted.
template <class T>
struct WeightGradients {
  T *matrix[2], *vector[kPartVectors];  // in the order of PartMatrix and PartVector
};

inline constexpr int kFoldColumns = 32, kFoldLanes = 8;

// The parts of all blocks in f64: a lane adds every eighth, then the lanes' sums are added in their
// order.
template <class S>
__global__ void fold_parts_kernel(int blocks, int d, const typename S::T* part,
                                  WeightGradients<typename S::T> to) {
  using T = typename S::T;
  using Parts = TileParts<S>;
  __shared__ double lanes[kFoldLanes][kFoldColumns];
  const int c = static_cast<int>(blockIdx.x * kFoldColumns + threadIdx.x);
  T* out = nullptr;
  int first = 0, copies = 1;
  if (c < 2 * Parts::kMatrix) {
    const int which = c / Parts::kMatrix, at = c % Parts::kMatrix;
    const int row = at / S::kD, column = at % S::kD;
    copies = Parts::kGroups;
    first = Parts::matrix(which, 0) + at;
    if (row < d && column < d && to.matrix[which]) out = to.matrix[which] + row * d + column;
  } else if (c < 2 * Parts::kMatrix + kPartVectors * S::kD) {
    const int which = (c - 2 * Parts::kMatrix) / S::kD, at = c % S::kD;
    first = Parts::vector(which) + at;
    if (at < (which == kPartBa ? 1 : d) && to.vector[which]) out = to.vector[which] + at;
  }
  double sum = 0;
  if (out) {
    for (int p = static_cast<int>(threadIdx.y); p < blocks; p += kFoldLanes) {
      for (int copy = 0; copy < copies; ++copy) {
        sum += static_cast<double>(
            part[static_cast<int64_t>(p) * Parts::kCount + first + copy * Parts::kMatrix]);
      }
    }
  }
  lanes[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || !out) return;
  sum = 0;
  for (int lane = 0; lane < kFoldLanes; ++lane) sum += lanes[lane][threadIdx.x];
  *out = static_cast<T>(sum);
}

template <class S>
void fold_parts(const char* name, int blocks, int64_t d, const typename S::T* part,
                const WeightGradients<typename S::T>& to) {
  constexpr int kColumns = 2 * TileParts<S>::kMatrix + kPartVectors * S::kD;
  static_assert(kColumns % kFoldColumns == 0);
  run(name, {dim3(kColumns / kFoldColumns), dim3(kFoldColumns, kFoldLanes)}, fold_parts_kernel<S>,
      blocks, d, part, to);
}

}  // namespace basin::cuda::edge
