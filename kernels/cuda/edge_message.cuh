// The edge messages on the device (formulas in kernels/edge_message.h), for a value type V: T for
// the messages themselves, Dual<T> for them and their tangents. Whole nodes' edges are worked on in
// equal chunks of bounded memory: one warp per edge in the small kernels, cuBLAS for the three
// kinds of products. Chunks depend on the sizes only.
#pragma once
#include <algorithm>
#include <numeric>

#include "basin/kernels/cuda/dual.cuh"
#include "basin/kernels/cuda/gemm.cuh"
#include "basin/kernels/cuda/grid.cuh"
#include "basin/kernels/cuda/warp_rows.cuh"
#include "basin/kernels/edge_message.h"

namespace basin::cuda::edge {

// Elements [edges, d] of a chunk: 16 MiB in f32, many times what fills the device.
inline int64_t chunk_elements() { return tile_length(int64_t{1} << 22, 4096); }
// Edges of a product for the weights' gradients; chunks are whole slices where they hold one.
inline int64_t slice_edges() { return tile_length(1024, 16); }
inline constexpr int kThreads = 256;  // 8 warps

struct Sizes {
  int64_t clouds, nodes, k, d;
  bool attention, moves;

  int64_t rows() const { return clouds * nodes; }
  int64_t width() const { return moves ? d + 3 : d; }  // of the result
  int64_t chunk_nodes() const {
    int64_t most = std::max<int64_t>(1, chunk_elements() / (k * d));
    int64_t unit = slice_edges() / std::gcd(slice_edges(), k);  // nodes of whole slices
    if (most < unit) unit = 1;
    most -= most % unit;
    const int64_t chunks = std::max<int64_t>(1, (rows() + most - 1) / most);
    return ((rows() + chunks - 1) / chunks + unit - 1) / unit * unit;
  }
  int64_t chunk_edges() const { return std::min(rows(), chunk_nodes()) * k; }
};

inline Sizes sizes_of(const char* name, const EdgeMessageTensors& in, const MessageEdges& edges) {
  const Tensor& index = edges.index;
  check(edges.sender.defined() && edges.start.defined() && edges.order.defined(), name,
        ": a GPU wants the edges by sender too, as sort_clouds makes them");
  return {index.size(0), index.size(1),    index.size(2),
          in.p.size(1),  in.w_a.defined(), in.w_c.defined()};
}

template <class V>
struct Arguments {
  Input<V> p, r, x, w_s, w2, b2, w_a, b_a, w_c, b_c, w_x;

  Arguments(const EdgeMessageTensors& in, const EdgeMessageTensors* tangents) {
    using E = EdgeMessageTensors;
    const auto take = [&](Input<V>& to, Tensor E::*field) {
      to.v = in_ptr<BaseOf<V>>(in.*field);
      if (tangents) to.t = in_ptr<BaseOf<V>>(tangents->*field);
    };
    take(p, &E::p);
    take(r, &E::r);
    take(x, &E::x);
    take(w_s, &E::w_s);
    take(w2, &E::w2);
    take(b2, &E::b2);
    take(w_a, &E::w_a);
    take(b_a, &E::b_a);
    take(w_c, &E::w_c);
    take(b_c, &E::b_c);
    take(w_x, &E::w_x);
  }
};

// Hands out fields from one allocation.
template <class V>
class Memory {
 public:
  using T = BaseOf<V>;
  explicit Memory(int64_t elements)
      : tensor_(Tensor::empty({(kDual<V> ? 2 : 1) * elements}, kDTypeOf<T>, Device::cuda)),
        next_(out_ptr<T>(tensor_)) {}
  Field<V> take(int64_t elements) {
    Field<V> field{part(elements), nullptr};
    if (kDual<V>) field.t = part(elements);
    return field;
  }
  static int64_t padded(int64_t elements) { return (elements + 31) / 32 * 32; }

 private:
  T* part(int64_t elements) {  // whole 128-byte lines, for coalesced rows
    T* at = next_;
    next_ += padded(elements);
    return at;
  }
  Tensor tensor_;
  T* next_;
};

// What the forward pass leaves of a chunk of n edges.
template <class V>
struct Chunk {
  Field<V> delta, square;  // [n, 3], [n]: x_i - x_j and its square
  Field<V> e1, m0, m;      // [n, d]; without attention m is m0
  Field<V> e3, phi;        // [n, d], [n], where coordinates move
  Field<V> f1, f2, f3;     // [n, d]: silu' at e1, m0, e3; null where not wanted
  Field<V> gate;           // [n], with attention

  static int64_t elements(int64_t n, int64_t d) {
    return 7 * Memory<V>::padded(n * d) + Memory<V>::padded(3 * n) + 3 * Memory<V>::padded(n);
  }
  Chunk(const Sizes& s, bool slopes, Memory<V>& memory) {
    const int64_t n = s.chunk_edges();
    delta = memory.take(3 * n);
    square = memory.take(n);
    e1 = memory.take(n * s.d);
    m0 = m = memory.take(n * s.d);
    if (s.attention) {
      m = memory.take(n * s.d);
      gate = memory.take(n);
    }
    if (s.moves) {
      e3 = memory.take(n * s.d);
      phi = memory.take(n);
    }
    if (!slopes) return;
    f1 = memory.take(n * s.d);
    f2 = memory.take(n * s.d);
    if (s.moves) f3 = memory.take(n * s.d);
  }
};

// y = silu(z) and, where wanted, its slope
template <class V>
__device__ V activate(const V& z, const Field<V>& y, const Field<V>& slope, int64_t at) {
  const V g = sigmoid(z), out = z * g;
  y.store(at, out);
  if (slope.v) slope.store(at, g + out * (V(1) - g));
  return out;
}

// y [n, d] = x op(w) with the product rule; op is the transpose in the forward direction
template <class V>
void product(int64_t n, int64_t d, const Field<V>& x, const Input<V>& w, bool transposed,
             const Field<V>& y) {
  using T = BaseOf<V>;
  const Operand<T> weight{w.v, d, 0, transposed};
  multiply<T>(1, n, d, d, {x.v, d, 0, false}, weight, T(0), y.v);
  if constexpr (kDual<V>) {
    multiply<T>(1, n, d, d, {x.t, d, 0, false}, weight, T(0), y.t);
    if (w.t) multiply<T>(1, n, d, d, {x.v, d, 0, false}, {w.t, d, 0, transposed}, T(1), y.t);
  }
}

// run(first_node, nodes) for the chunks of the batch
template <class Run>
void for_chunks(const Sizes& s, const Run& run) {
  const int64_t step = s.chunk_nodes();
  for (int64_t i = 0; i < s.rows(); i += step) run(i, std::min(step, s.rows() - i));
}

// One warp per edge, in a grid of whole warps.
inline Grid warps(int64_t n) {
  const int64_t blocks = std::min<int64_t>((n + 7) / 8, 132 * 32);
  return {dim3(static_cast<unsigned>(blocks)), dim3(kThreads)};
}
struct WarpRows {
  int64_t first, step;
  int lane;
};
__device__ inline WarpRows warp_rows() {
  const int64_t per_block = blockDim.x / 32;
  return {blockIdx.x * per_block + threadIdx.x / 32, gridDim.x * per_block,
          static_cast<int>(threadIdx.x % 32)};
}

// m0 <- silu(m0 + b2); with attention gate = sigmoid(w_a . m0 + b_a), m = gate m0
template <class V>
__global__ void gate_kernel(int64_t n, int64_t d, bool attention, Arguments<V> a, Chunk<V> c) {
  const WarpRows rows = warp_rows();
  for (int64_t e = rows.first; e < n; e += rows.step) {
    V dot(0);
    for (int64_t i = rows.lane; i < d; i += 32) {
      const V y = activate(c.m0.load(e * d + i) + a.b2.load(i), c.m0, c.f2, e * d + i);
      if (attention) dot = dot + a.w_a.load(i) * y;
    }
    if (!attention) continue;
    const V gate = sigmoid(warp_sum(dot) + a.b_a.load(0));
    if (rows.lane == 0) c.gate.store(e, gate);
    for (int64_t i = rows.lane; i < d; i += 32) {  // each lane reads what it wrote
      c.m.store(e * d + i, gate * c.m0.load(e * d + i));
    }
  }
}

// e3 <- silu(e3 + b_c), phi = w_x . e3
template <class V>
__global__ void shift_kernel(int64_t n, int64_t d, Arguments<V> a, Chunk<V> c) {
  const WarpRows rows = warp_rows();
  for (int64_t e = rows.first; e < n; e += rows.step) {
    V dot(0);
    for (int64_t i = rows.lane; i < d; i += 32) {
      const V y = activate(c.e3.load(e * d + i) + a.b_c.load(i), c.e3, c.f3, e * d + i);
      dot = dot + a.w_x.load(i) * y;
    }
    dot = warp_sum(dot);
    if (rows.lane == 0) c.phi.store(e, dot);
  }
}

// Edges of a chunk fit 32 bits, whose division is cheap.
__device__ inline int64_t node_of(int64_t edge, int64_t k) {
  return static_cast<uint32_t>(edge) / static_cast<uint32_t>(k);
}

template <class V>
void gather_edges(const char* name, const Sizes& s, const Arguments<V>& a, const int32_t* sender,
                  int64_t first, int64_t nodes, const Chunk<V>& c) {
  const int64_t k = s.k, d = s.d;
  for_rows(name, nodes * k, [=] __device__(const WarpLanes& lanes, int64_t e) {
    const int64_t i = first + node_of(e, k), j = sender[first * k + e];
    V square(0);
    for (int axis = 0; axis < 3; ++axis) {
      const V delta = a.x.load(3 * i + axis) - a.x.load(3 * j + axis);
      if (lanes.lane == 0) c.delta.store(3 * e + axis, delta);
      square = square + delta * delta;
    }
    if (lanes.lane == 0) c.square.store(e, square);
    lanes.each(d, [&](int64_t channel) {
      const V z =
          a.p.load(i * d + channel) + a.r.load(j * d + channel) + square * a.w_s.load(channel);
      activate(z, c.e1, c.f1, e * d + channel);
    });
  });
}

// The edges of nodes [first, first + nodes) up to e3 and phi.
template <class V>
void forward_chunk(const char* name, const Sizes& s, const Arguments<V>& a, const int32_t* sender,
                   int64_t first, int64_t nodes, const Chunk<V>& c) {
  const int64_t n = nodes * s.k;
  gather_edges(name, s, a, sender, first, nodes, c);
  product(n, s.d, c.e1, a.w2, true, c.m0);
  run(name, warps(n), gate_kernel<V>, n, s.d, s.attention, a, c);
  if (!s.moves) return;
  product(n, s.d, c.m, a.w_c, true, c.e3);
  run(name, warps(n), shift_kernel<V>, n, s.d, a, c);
}

}  // namespace basin::cuda::edge
