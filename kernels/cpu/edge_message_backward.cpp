// Backward pass of the edge messages. Per tile, x- the cotangent of x, those of M_i and D_i given:
//   phi- = D_i- . delta / k,          delta- = D_i- phi / k,      z3- = phi- w_x silu'(z3),
//   m-   = M_i- + z3- Wc,             attention: g- = (m- . m0) a (1 - a), m0- = a m- + g- w_a,
//   z2-  = m0- silu'(z2),             z1- = (z2- W2) silu'(z1),
//   p_i- += z1-,  r_j- += z1-,  s- = z1- . w_s,  delta- += 2 s- delta,  x_i- += delta-,
//   x_j- -= delta-;   the weights: outer products of each z- with what it was multiplied by.
#include "basin/kernels/cpu/edge_message_gradients.h"
#include "basin/kernels/cpu/hot.h"

namespace basin::edge {
namespace {

// z3 <- z3-, phi_bar, delta_bar <- D_i- phi / k, and the sums of b_c and w_x. ct: row of the first
// node. z3 may be f3.
template <class T>
BASIN_HOT void pull_shifts(const Sizes& s, int64_t count, const T* __restrict ct,
                           const T* __restrict w_x, const Tile<T>& t, T* __restrict bar_of_phi,
                           T* z3, T* __restrict delta_bar, T* __restrict sum_b,
                           T* __restrict sum_w) {
  const T share = T(1) / static_cast<T>(s.k);
  const T *delta = t.delta, *phi = t.phi, *e3 = t.e3, *f3 = t.f3;
  for (int64_t i = 0; i < count; ++i, ct += s.width()) {
    const T bar[3] = {ct[s.d] * share, ct[s.d + 1] * share, ct[s.d + 2] * share};
    for (int64_t q = 0; q < s.k; ++q, delta += 3, delta_bar += 3, ++phi) {
      const T phi_bar = bar[0] * delta[0] + bar[1] * delta[1] + bar[2] * delta[2];
      *bar_of_phi++ = phi_bar;
      for (int c = 0; c < 3; ++c) delta_bar[c] = bar[c] * *phi;
      BASIN_INDEPENDENT
      for (int64_t c = 0; c < s.ld; ++c) {
        const T z = phi_bar * w_x[c] * f3[c];
        z3[c] = z;
        sum_b[c] += z;
        sum_w[c] += phi_bar * e3[c];
      }
      e3 += s.ld;
      f3 += s.ld;
      z3 += s.ld;
    }
  }
}

// m <- m + M_i-. ct: row of the first node
template <class T>
BASIN_HOT void add_nodes(const Sizes& s, int64_t count, const T* __restrict ct, T* __restrict m) {
  for (int64_t i = 0; i < count; ++i, ct += s.width()) {
    for (int64_t q = 0; q < s.k; ++q, m += s.ld) {
      for (int64_t c = 0; c < s.d; ++c) m[c] += ct[c];
    }
  }
}

// m- -> m0- (which may be the same memory), and the sums of w_a and b_a
template <class T>
BASIN_HOT void pull_gate(int64_t n, int64_t ld, const T* __restrict w_a, const Tile<T>& t,
                         const T* m, T* m0_bar, T* __restrict sum_w, T* __restrict sum_b) {
  const T* m0 = t.m0;
  for (int64_t e = 0; e < n; ++e, m0 += ld, m += ld, m0_bar += ld) {
    const T a = t.gate[e], g = row_dot(m, m0, ld) * a * (T(1) - a);
    *sum_b += g;
    BASIN_INDEPENDENT
    for (int64_t c = 0; c < ld; ++c) {
      m0_bar[c] = a * m[c] + g * w_a[c];
      sum_w[c] += g * m0[c];
    }
  }
}

// z <- y f (z may be y), and its sum over the rows
template <class T>
BASIN_HOT void pull_silu(int64_t n, int64_t ld, const T* __restrict f, const T* y, T* z,
                         T* __restrict sum) {
  for (int64_t e = 0; e < n; ++e, f += ld, y += ld, z += ld) {
    BASIN_INDEPENDENT
    for (int64_t c = 0; c < ld; ++c) {
      z[c] = y[c] * f[c];
      sum[c] += z[c];
    }
  }
}

// The same with y + M_i- instead of y, which is not kept.
template <class T>
BASIN_HOT void pull_silu_nodes(const Sizes& s, int64_t count, const T* __restrict ct,
                               const T* __restrict f, T* __restrict z, T* __restrict sum) {
  for (int64_t i = 0; i < count; ++i, ct += s.width()) {
    for (int64_t q = 0; q < s.k; ++q, f += s.ld, z += s.ld) {
      for (int64_t c = 0; c < s.d; ++c) {
        z[c] = (z[c] + ct[c]) * f[c];
        sum[c] += z[c];
      }
    }
  }
}

// From y = e1- to the rows of the nodes and w_s. p, r, x are of the cloud.
template <class T>
BASIN_HOT void pull_edge_rows(const Sizes& s, const T* __restrict w_s,
                              const int32_t* __restrict index, int64_t first, int64_t count,
                              const Tile<T>& t, const T* __restrict y,
                              const T* __restrict delta_bar, T* __restrict p, T* __restrict r,
                              T* __restrict x, T* __restrict z, T* __restrict sum) {
  const int64_t d = s.d;
  int64_t e = 0;
  for (int64_t i = first; i < first + count; ++i) {
    T* pi = p + i * d;
    for (int64_t c = 0; c < d; ++c) pi[c] = T(0);
    T xi[3] = {};
    for (int64_t q = 0; q < s.k; ++q, ++e) {
      const int64_t j = index[i * s.k + q];
      const T *ye = y + e * s.ld, *fe = t.f1 + e * s.ld;
      const T square = t.s[e];
      for (int64_t c = 0; c < s.ld; ++c) {
        z[c] = ye[c] * fe[c];
        sum[c] += square * z[c];
      }
      T* rj = r + j * d;
      for (int64_t c = 0; c < d; ++c) {
        pi[c] += z[c];
        rj[c] += z[c];
      }
      const T twice = 2 * row_dot(w_s, static_cast<const T*>(z), s.ld);
      for (int c = 0; c < 3; ++c) {
        const T bar = twice * t.delta[3 * e + c] + (s.moves ? delta_bar[3 * e + c] : T(0));
        xi[c] += bar;
        x[3 * j + c] -= bar;
      }
    }
    for (int c = 0; c < 3; ++c) x[3 * i + c] += xi[c];
  }
}

template <class T>
void backward(const EdgeMessageTensors& in, const Tensor& index, const Tensor& ct,
              EdgeMessageTensors& grads) {
  const Sizes s = sizes_of<T>(in, index);
  check_index(s, index);
  const Weights<T> w(s, in);
  Collector<T> collector(s, grads);
  const T* bars_of_nodes = ct.data<T>();
  parallel_tiles(collector.tasks(), [&](int64_t number) {
    const Task task = collector.task(number);
    Scratch<T> scratch(tile_scratch<T>(s) + bars_scratch<T>(s) + weight_scratch<T>(s) + s.ld +
                       Collector<T>::scratch_elements(s) + 4 * kLanes<T>);
    const Tile<T> t = take_tile<T>(s, Slopes::first, scratch);
    const TileBars<T> bars = take_bars<T>(s, false, t, scratch);
    const WeightSums<T> sums = collector.weight_sums(number, scratch);
    T *packing = scratch.take(weight_scratch<T>(s)), *row = scratch.take(s.ld);
    for (int64_t c = task.first_cloud; c < task.first_cloud + task.clouds; ++c) {
      const NodeRows<T> rows(s, in, c);
      const NodeSums<T> nodes = collector.node_sums(number, c);
      const int32_t* edges = index.data<int32_t>() + c * s.nodes * s.k;
      for_tiles(s, task, [&](int64_t first, int64_t count) {
        forward_tile<T>(s, w, rows, edges, first, count, t);
        pull_tile(s, w, count, bars_of_nodes + (c * s.nodes + first) * s.width(), t, bars, sums,
                  packing);
        pull_edges(s, w, edges, first, count, t, bars, nodes, sums, row);
        collector.end_tile(sums);
      });
    }
  });
  collector.finish();
}

}  // namespace

template <class T>
TileBars<T> take_bars(const Sizes& s, bool keep, const Tile<T>& t, Scratch<T>& scratch) {
  const int64_t n = s.tile_edges();
  const auto rows = [&](T* reuse) { return keep ? scratch.take(n * s.ld) : reuse; };
  TileBars<T> b{};
  b.phi = scratch.take(n);
  b.delta = scratch.take(3 * n);
  b.z3 = rows(t.f3);
  b.m = scratch.take(n * s.ld);
  b.m0 = s.attention ? rows(b.m) : b.m;
  b.z2 = rows(b.m0);
  b.e1 = rows(t.e3);  // free by then
  return b;
}

template <class T>
void pull_tile(const Sizes& s, const Weights<T>& w, int64_t count, const T* ct, const Tile<T>& t,
               const TileBars<T>& b, const WeightSums<T>& sums, T* packing) {
  const int64_t n = count * s.k;
  const auto add_outer = [&](const T* y, const T* x, T* sum) {
    if (sums.w2) add_weight_gradient<T>(s, n, y, x, packing, sum);
  };
  if (s.moves) {
    hot([&] { pull_shifts(s, count, ct, w.w_x, t, b.phi, b.z3, b.delta, sums.b_c, sums.w_x); });
    add_outer(b.z3, t.m, sums.w_c);
    multiply<T>(s, n, b.z3, w.w_c_back, T(0), b.m);
  } else {
    std::fill(b.m, b.m + n * s.ld, T(0));
  }
  if (b.m == b.z2 && !s.attention) {  // m- is not kept: its last term goes with the next pass
    hot([&] { pull_silu_nodes(s, count, ct, t.f2, b.z2, sums.b2); });
  } else {
    hot([&] { add_nodes(s, count, ct, b.m); });
    if (s.attention) hot([&] { pull_gate(n, s.ld, w.w_a, t, b.m, b.m0, sums.w_a, sums.b_a); });
    hot([&] { pull_silu(n, s.ld, t.f2, b.m0, b.z2, sums.b2); });
  }
  add_outer(b.z2, t.e1, sums.w2);
  multiply<T>(s, n, b.z2, w.w2_back, T(0), b.e1);
}

template <class T>
void pull_edges(const Sizes& s, const Weights<T>& w, const int32_t* index, int64_t first,
                int64_t count, const Tile<T>& t, const TileBars<T>& b, const NodeSums<T>& nodes,
                const WeightSums<T>& sums, T* row) {
  hot([&] {
    pull_edge_rows(s, w.w_s, index, first, count, t, b.e1, b.delta, nodes.p, nodes.r, nodes.x, row,
                   sums.w_s);
  });
}

#define BASIN_EDGE_INSTANTIATE(T)                                                             \
  template TileBars<T> take_bars(const Sizes&, bool, const Tile<T>&, Scratch<T>&);            \
  template void pull_tile(const Sizes&, const Weights<T>&, int64_t, const T*, const Tile<T>&, \
                          const TileBars<T>&, const WeightSums<T>&, T*);                      \
  template void pull_edges(const Sizes&, const Weights<T>&, const int32_t*, int64_t, int64_t, \
                           const Tile<T>&, const TileBars<T>&, const NodeSums<T>&,            \
                           const WeightSums<T>&, T*);
BASIN_EDGE_INSTANTIATE(float)
BASIN_EDGE_INSTANTIATE(double)
#undef BASIN_EDGE_INSTANTIATE

}  // namespace basin::edge

namespace basin {

void EdgeMessageVjp::cpu(const EdgeMessageTensors& in, const MessageEdges& edges, const Tensor& ct,
                         EdgeMessageTensors& grads) {
  if (ct.dtype() == DType::f32) {
    edge::backward<float>(in, edges.index, ct, grads);
  } else {
    edge::backward<double>(in, edges.index, ct, grads);
  }
}

}  // namespace basin
