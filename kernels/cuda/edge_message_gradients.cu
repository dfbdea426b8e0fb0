// The backward pass of the edge messages on the device, and with Dual numbers its tangent (formulas
// in kernels/cpu/edge_message_backward.cpp; x- is the cotangent of x): in tiles on chip where they
// fit, else per chunk, whose forward pass is made again. Sums without float atomics: the weights'
// by slices and row tiles whose sums are added in f64 in a fixed order; the senders' by the inverse
// CSR, whose lists are cut at the ends of the tiles' run or of the chunk.
#include "basin/kernels/cuda/by_target.cuh"
#include "basin/kernels/cuda/column_sums.cuh"
#include "basin/kernels/cuda/edge_message_tile_gradients.cuh"

namespace basin::cuda::edge {
namespace {

// What the backward pass needs beside the chunk.
template <class V>
struct Bars {
  Field<V> y, next;    // [n, d]: m- and then z2-; e1- and then z1-
  Field<V> delta;      // [n, 3]
  Field<V> phi, gate;  // [n]: phi-; g-
  static int64_t elements(int64_t n, int64_t d) {
    return 2 * Memory<V>::padded(n * d) + Memory<V>::padded(3 * n) + 2 * Memory<V>::padded(n);
  }
  Bars(const Sizes& s, Memory<V>& memory) {
    const int64_t n = s.chunk_edges();
    y = memory.take(n * s.d);
    next = memory.take(n * s.d);
    delta = memory.take(3 * n);
    phi = memory.take(n);
    gate = memory.take(n);
  }
};

// The gradients of the weights over all chunks, in f64, and the parts of a chunk.
template <class T>
struct WeightSums {
  Tensor storage, parts, tiles;
  double *w2, *w_c, *w_s, *b2, *w_a, *b_c, *w_x, *b_a;
  T* part;       // [slices, d, d]
  double* tile;  // [tiles, d]

  explicit WeightSums(const Sizes& s) {
    const int64_t d = s.d, n = s.chunk_edges(), elements = 2 * d * d + 5 * d + 1;
    const int64_t slices = (n + slice_edges() - 1) / slice_edges();
    storage = Tensor::zeros({elements}, DType::f64, Device::cuda);
    parts = Tensor::empty({slices * d * d}, kDTypeOf<T>, Device::cuda);
    tiles = Tensor::empty({column_tiles(n) * d}, DType::f64, Device::cuda);
    double* next = out_ptr<double>(storage);
    w2 = next;
    w_c = w2 + d * d;
    w_s = w_c + d * d;
    b2 = w_s + d;
    w_a = b2 + d;
    b_c = w_a + d;
    w_x = b_c + d;
    b_a = w_x + d;
    part = out_ptr<T>(parts);
    tile = out_ptr<double>(tiles);
  }
};

// sum [d, d] += y^T x (or its tangent): a product per slice of edges, which fills the device where
// one product of d x d would not.
template <class V>
void add_outer(const char* name, int64_t n, int64_t d, const Field<V>& y, const Field<V>& x,
               BaseOf<V>* part, double* sum) {
  using T = BaseOf<V>;
  const auto slices = [&](const T* a, const T* b, T beta) {
    const int64_t slice = slice_edges(), whole = n / slice, rest = n % slice;
    const int64_t done = whole * slice * d;
    if (whole > 0) {
      multiply<T>(whole, d, d, slice, {a, d, slice * d, true}, {b, d, slice * d, false}, beta,
                  part);
    }
    if (rest > 0) {
      multiply<T>(1, d, d, rest, {a + done, d, 0, true}, {b + done, d, 0, false}, beta,
                  part + whole * d * d);
    }
  };
  if constexpr (kDual<V>) {
    slices(y.t, x.v, T(0));
    slices(y.v, x.t, T(1));
  } else {
    slices(y.v, x.v, T(0));
  }
  add_parts(name, part, (n + slice_edges() - 1) / slice_edges(), d * d, sum);
}

// phi-, the share of D_i- in delta-, and f3 <- z3-
template <class V>
void pull_shifts(const char* name, const Sizes& s, const Arguments<V>& a, int64_t n, Input<V> ct,
                 const Chunk<V>& c, const Bars<V>& bars, const WeightSums<BaseOf<V>>& sums) {
  using T = BaseOf<V>;
  const int64_t k = s.k, d = s.d, width = s.width();
  const T share = T(1) / static_cast<T>(k);
  for_rows(name, n, [=] __device__(const WarpLanes& lanes, int64_t e) {
    const int64_t node = node_of(e, k);
    V phi_bar(0);
    for (int axis = 0; axis < 3; ++axis) {
      const V bar = ct.load(node * width + d + axis) * V(share);
      phi_bar = phi_bar + bar * c.delta.load(3 * e + axis);
      if (lanes.lane == 0) bars.delta.store(3 * e + axis, bar * c.phi.load(e));
    }
    if (lanes.lane == 0) bars.phi.store(e, phi_bar);
    lanes.each(d, [&](int64_t i) {
      c.f3.store(e * d + i, phi_bar * a.w_x.load(i) * c.f3.load(e * d + i));
    });
  });
  add_columns(
      name, n, d, [=] __device__(int64_t e, int64_t i) { return outcome(c.f3.load(e * d + i)); },
      sums.tile, sums.b_c);
  add_columns(
      name, n, d,
      [=] __device__(int64_t e, int64_t i) {
        return outcome(bars.phi.load(e) * c.e3.load(e * d + i));
      },
      sums.tile, sums.w_x);
}

// y <- z2- from y + M_i-; with attention the gate's g- first. ct: the row of the first node.
template <class V>
__global__ void pull_gate_kernel(int64_t n, Sizes s, Arguments<V> a, Input<V> ct, Chunk<V> c,
                                 Bars<V> bars) {
  const WarpRows rows = warp_rows();
  const int64_t d = s.d, width = s.moves ? d + 3 : d;
  for (int64_t e = rows.first; e < n; e += rows.step) {
    const int64_t node = node_of(e, s.k) * width;
    V gate(1), g(0);
    if (s.attention) {
      V dot(0);
      for (int64_t i = rows.lane; i < d; i += 32) {
        V m = ct.load(node + i);
        if (s.moves) m = m + bars.y.load(e * d + i);
        dot = dot + m * c.m0.load(e * d + i);
      }
      gate = c.gate.load(e);
      g = warp_sum(dot) * gate * (V(1) - gate);
      if (rows.lane == 0) bars.gate.store(e, g);
    }
    for (int64_t i = rows.lane; i < d; i += 32) {
      V m = ct.load(node + i);
      if (s.moves) m = m + bars.y.load(e * d + i);
      if (s.attention) m = gate * m + g * a.w_a.load(i);
      bars.y.store(e * d + i, m * c.f2.load(e * d + i));
    }
  }
}

template <class V>
void pull_messages(const char* name, const Sizes& s, const Arguments<V>& a, int64_t n, Input<V> ct,
                   const Chunk<V>& c, const Bars<V>& bars, const WeightSums<BaseOf<V>>& sums) {
  const int64_t d = s.d;
  run(name, warps(n), pull_gate_kernel<V>, n, s, a, ct, c, bars);
  if (s.attention) {
    add_columns(
        name, n, d,
        [=] __device__(int64_t e, int64_t i) {
          return outcome(bars.gate.load(e) * c.m0.load(e * d + i));
        },
        sums.tile, sums.w_a);
    add_columns(
        name, n, 1, [=] __device__(int64_t e, int64_t) { return outcome(bars.gate.load(e)); },
        sums.tile, sums.b_a);
  }
  add_columns(
      name, n, d, [=] __device__(int64_t e, int64_t i) { return outcome(bars.y.load(e * d + i)); },
      sums.tile, sums.b2);
  add_outer(name, n, d, bars.y, c.e1, sums.part, sums.w2);
}

// next <- z1-, and delta- complete: + 2 s- delta with s- = z1- . w_s
template <class V>
__global__ void pull_edges_kernel(int64_t n, int64_t d, bool moves, Arguments<V> a, Chunk<V> c,
                                  Bars<V> bars) {
  const WarpRows rows = warp_rows();
  for (int64_t e = rows.first; e < n; e += rows.step) {
    V dot(0);
    for (int64_t i = rows.lane; i < d; i += 32) {
      const V z = bars.next.load(e * d + i) * c.f1.load(e * d + i);
      bars.next.store(e * d + i, z);
      dot = dot + z * a.w_s.load(i);
    }
    const V square_bar = warp_sum(dot);
    if (rows.lane >= 3) continue;
    const int64_t at = 3 * e + rows.lane;
    V bar = V(2) * square_bar * c.delta.load(at);
    if (moves) bar = bar + bars.delta.load(at);
    bars.delta.store(at, bar);
  }
}

// w_s- += sum over the edges of s z1-
template <class V>
void add_square_weights(const char* name, int64_t n, int64_t d, const Chunk<V>& c,
                        const Bars<V>& bars, const WeightSums<BaseOf<V>>& sums) {
  add_columns(
      name, n, d,
      [=] __device__(int64_t e, int64_t i) {
        return outcome(c.square.load(e) * bars.next.load(e * d + i));
      },
      sums.tile, sums.w_s);
}

template <class T>
struct NodeGradients {
  T *p, *r, *x;
};

// The rows of the chunk's own nodes: p-, and x_i- += sum_j delta-.
template <class V>
void sum_receivers(const char* name, const Sizes& s, int64_t first, int64_t nodes,
                   const Bars<V>& bars, const NodeGradients<BaseOf<V>>& g) {
  using T = BaseOf<V>;
  const int64_t k = s.k, d = s.d;
  for_rows(name, nodes, [=] __device__(const WarpLanes& lanes, int64_t i) {
    lanes.each(d + 3, [&](int64_t channel) {
      T sum = 0;
      if (channel < d) {
        for (int64_t e = i * k; e < (i + 1) * k; ++e) {
          sum += outcome(bars.next.load(e * d + channel));
        }
        g.p[(first + i) * d + channel] = sum;
      } else {
        const int64_t axis = channel - d;
        for (int64_t e = i * k; e < (i + 1) * k; ++e) sum += outcome(bars.delta.load(3 * e + axis));
        g.x[3 * (first + i) + axis] += sum;
      }
    });
  });
}

// The first of a rising list that is at least `edge`.
__device__ inline int32_t lower_bound(const int32_t* order, int32_t low, int32_t high,
                                      int64_t edge) {
  while (low < high) {
    const int32_t middle = low + (high - low) / 2;
    if (order[middle] < edge) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// The rows of the senders: r_j- += z1-, x_j- -= delta-, over those of the sender's edges that are
// among the edges of nodes [first, first + nodes). z1 and delta are of those edges. Senders are in
// the clouds that the nodes touch. One warp per sender.
template <class T>
void sum_senders(const char* name, const Sizes& s, int64_t first, int64_t nodes,
                 const ByTarget& by_sender, const T* z1, const T* delta,
                 const NodeGradients<T>& g) {
  const int64_t d = s.d, begin = first * s.k, end = (first + nodes) * s.k;
  const int64_t from = first / s.nodes * s.nodes;
  const int64_t to = (first + nodes + s.nodes - 1) / s.nodes * s.nodes;
  const int32_t *start = in_ptr<int32_t>(by_sender.start),
                *order = in_ptr<int32_t>(by_sender.order);
  for_rows(name, to - from, [=] __device__(const WarpLanes& lanes, int64_t row) {
    const int64_t j = from + row;
    const int32_t last = start[j + 1], low = lower_bound(order, start[j], last, begin);
    lanes.each(d, [&](int64_t c) {
      T sum = 0;
      for (int32_t q = low; q < last && order[q] < end; ++q) {
        sum += z1[(order[q] - begin) * d + c];
      }
      g.r[j * d + c] += sum;
    });
    lanes.each(3, [&](int64_t axis) {
      T sum = 0;
      for (int32_t q = low; q < last && order[q] < end; ++q) {
        sum += delta[(order[q] - begin) * 3 + axis];
      }
      g.x[3 * j + axis] -= sum;
    });
  });
}

template <class T>
void store(const char* name, const double* sum, Tensor& to) {
  if (!to.defined()) return;
  T* out = out_ptr<T>(to);
  for_items(name, to.numel(), [=] __device__(int64_t i) { out[i] = static_cast<T>(sum[i]); });
}

// The numbers of a field that a kernel asked for V gives: its values, or the tangents alone.
template <class V>
const BaseOf<V>* outcomes(const Field<V>& f) {
  return kDual<V> ? f.t : f.v;
}

// Elements [edges, d] of z1- at a time: what stays in the cache of the device between the tiles
// and the senders' sums.
int64_t run_elements() { return tile_length(int64_t{1} << 23, 4096); }

// The nodes of a run of tiles: equal runs of whole tiles.
int64_t run_nodes(const Sizes& s, int64_t tile_nodes) {
  const int64_t most = std::max<int64_t>(1, run_elements() / (s.k * s.d * tile_nodes));
  const int64_t tiles = (s.rows() + tile_nodes - 1) / tile_nodes, runs = (tiles + most - 1) / most;
  return (tiles + runs - 1) / runs * tile_nodes;
}

// Apart: nvcc loses the braces of a shape beside a device lambda.
template <class T>
Tensor tile_parts(int64_t blocks, int64_t count) {
  return Tensor::empty({blocks, count}, kDTypeOf<T>, Device::cuda);
}

template <class S>
void gradients_in_tiles(const char* name, const Sizes& s, const Arguments<typename S::V>& a,
                        const int32_t* sender, const Input<typename S::V>& ct,
                        const ByTarget& by_sender, EdgeMessageTensors& grads) {
  using T = typename S::T;
  const int64_t step = run_nodes(s, S::kEdges / s.k), edges = std::min(step, s.rows()) * s.k;
  const bool vectors = rows_of_vectors(s, a);
  const TileRun whole = tile_run(s, 0, std::min(step, s.rows()), S::kEdges, vectors);
  const int64_t blocks = std::min<int64_t>(whole.tiles, tile_blocks());
  Memory<T> memory(Memory<T>::padded(edges * s.d) + Memory<T>::padded(edges * 3));
  Tensor parts = tile_parts<T>(blocks, TileParts<S>::kCount);
  TileGradients<T> g{};
  g.p = out_ptr<T>(grads.p);
  g.x = out_ptr<T>(grads.x);
  g.z1 = memory.take(edges * s.d).v;
  g.delta = memory.take(edges * 3).v;
  g.part = out_ptr<T>(parts);
  const NodeGradients<T> nodes_of{g.p, out_ptr<T>(grads.r), g.x};
  const Grid grid{grid_of(name, blocks), dim3(kTileThreads), GradientTileBytes<S>::value};
  for (int64_t first = 0; first < s.rows(); first += step) {
    const int64_t last = std::min(first + step, s.rows());
    g.add = first > 0;
    run(name, grid, gradient_tile_kernel<S>, tile_run(s, first, last, S::kEdges, vectors), a,
        sender, ct, g);
    sum_senders<T>(name, s, first, last - first, by_sender, g.z1, g.delta, nodes_of);
  }
  const auto pointer = [](Tensor& t) { return t.defined() ? out_ptr<T>(t) : nullptr; };
  const WeightGradients<T> to{{pointer(grads.w2), pointer(grads.w_c)},
                              {pointer(grads.w_s), pointer(grads.b2), pointer(grads.w_a),
                               pointer(grads.b_c), pointer(grads.w_x), pointer(grads.b_a)}};
  fold_parts<S>(name, static_cast<int>(blocks), s.d, g.part, to);
}

template <class V>
void gradients(const char* name, const EdgeMessageTensors& in, const MessageEdges& edges,
               const Tensor& ct, const EdgeMessageTensors* tangents, const Tensor& ct_tangent,
               EdgeMessageTensors& grads) {
  using T = BaseOf<V>;
  const Sizes s = sizes_of(name, in, edges);
  const int32_t* sender = in_ptr<int32_t>(edges.sender);
  const ByTarget by_sender{edges.start, edges.order};
  const Arguments<V> a(in, tangents);
  const Input<V> bar{in_ptr<T>(ct), in_ptr<T>(ct_tangent)};
  grads.r.fill(0);
  grads.x.fill(0);
  const auto in_tiles = [&](auto shape) {
    gradients_in_tiles<decltype(shape)>(name, s, a, sender, bar, by_sender, grads);
  };
  if (with_tile<V, kGradientEdges<V>, GradientTileBytes>(s, in_tiles)) return;
  const int64_t most = s.chunk_edges(), width = s.width();
  Memory<V> memory(Chunk<V>::elements(most, s.d) + Bars<V>::elements(most, s.d));
  const Chunk<V> c(s, true, memory);
  const Bars<V> bars(s, memory);
  const WeightSums<T> sums(s);
  const NodeGradients<T> nodes_of{out_ptr<T>(grads.p), out_ptr<T>(grads.r), out_ptr<T>(grads.x)};
  for_chunks(s, [&](int64_t first, int64_t nodes) {
    const int64_t n = nodes * s.k;
    forward_chunk(name, s, a, sender, first, nodes, c);
    const Input<V> rows{bar.v + first * width, bar.t ? bar.t + first * width : nullptr};
    if (s.moves) {
      pull_shifts(name, s, a, n, rows, c, bars, sums);
      add_outer(name, n, s.d, c.f3, c.m, sums.part, sums.w_c);
      product(n, s.d, c.f3, a.w_c, false, bars.y);
    }
    pull_messages(name, s, a, n, rows, c, bars, sums);
    product(n, s.d, bars.y, a.w2, false, bars.next);
    run(name, warps(n), pull_edges_kernel<V>, n, s.d, s.moves, a, c, bars);
    add_square_weights(name, n, s.d, c, bars, sums);
    sum_receivers(name, s, first, nodes, bars, nodes_of);
    sum_senders(name, s, first, nodes, by_sender, outcomes(bars.next), outcomes(bars.delta),
                nodes_of);
  });
  store<T>(name, sums.w2, grads.w2);
  store<T>(name, sums.w_c, grads.w_c);
  store<T>(name, sums.w_s, grads.w_s);
  store<T>(name, sums.b2, grads.b2);
  store<T>(name, sums.w_a, grads.w_a);
  store<T>(name, sums.b_a, grads.b_a);
  store<T>(name, sums.b_c, grads.b_c);
  store<T>(name, sums.w_x, grads.w_x);
}

}  // namespace
}  // namespace basin::cuda::edge

namespace basin {

void EdgeMessageVjp::cuda(const EdgeMessageTensors& in, const MessageEdges& edges, const Tensor& ct,
                          EdgeMessageTensors& grads) {
  dispatch_float(ct.dtype(), name, [&](auto z) {
    cuda::edge::gradients<decltype(z)>(name, in, edges, ct, nullptr, Tensor(), grads);
  });
}

void EdgeMessageVjpJvp::cuda(const EdgeMessageTensors& in, const MessageEdges& edges,
                             const Tensor& ct, std::span<const EdgeMessageTensors> tangents,
                             std::span<const Tensor> ct_tangents, EdgeMessageTensors* value,
                             std::span<EdgeMessageTensors> grads) {
  if (value) EdgeMessageVjp::cuda(in, edges, ct, *value);
  for (size_t lane = 0; lane < grads.size(); ++lane) {
    dispatch_float(ct.dtype(), name, [&](auto z) {
      cuda::edge::gradients<Dual<decltype(z)>>(name, in, edges, ct, &tangents[lane],
                                               ct_tangents[lane], grads[lane]);
    });
  }
}

}  // namespace basin
