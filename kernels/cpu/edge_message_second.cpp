// Tangent of the backward pass of the edge messages: every line of edge_message_backward.cpp with
// its product rule, given the values of a tile, forwards and backwards. In formulas x- is the
// cotangent of x, x. its tangent and x-. the tangent of the cotangent. Each product by a weight
// gives two tangents (of the rows, of the weight), each outer product two. Several tangents share
// the values of a tile while these are in the cache.
#include <algorithm>
#include <optional>

#include "basin/kernels/cpu/edge_message_gradients.h"
#include "basin/kernels/cpu/hot.h"

namespace basin::edge {
namespace {

// What the loops over a tile read, value and tangent.
template <class T>
struct Pair {
  const T *value, *tangent;
};

// m [n, ld] <- M_i- for every edge of i; ct: the row of the first node
template <class T>
void spread_nodes(const Sizes& s, int64_t count, const T* ct, T* m) {
  for (int64_t i = 0; i < count; ++i, ct += s.width()) {
    for (int64_t q = 0; q < s.k; ++q, m += s.ld) {
      std::copy(ct, ct + s.d, m);
      std::fill(m + s.d, m + s.ld, T(0));
    }
  }
}

// f3_t <- z3-., delta_bar_t <- (D_i- phi / k). and the sums of b_c and w_x.
template <class T>
BASIN_HOT void pull_shifts(const Sizes& s, int64_t count, Pair<T> ct, Pair<T> w_x, const Tile<T>& t,
                           const Tile<T>& t_t, const T* __restrict bar_of_phi,
                           T* __restrict delta_bar_t, T* __restrict sum_b, T* __restrict sum_w) {
  const T share = T(1) / static_cast<T>(s.k);
  const T *wx = w_x.value, *wx_t = w_x.tangent;
  for (int64_t e = 0; e < count * s.k; ++e) {
    const int64_t at = e / s.k * s.width() + s.d;
    const T phi_bar = bar_of_phi[e];
    T phi_bar_t = 0;
    for (int c = 0; c < 3; ++c) {
      const T bar = share * ct.value[at + c];
      const T bar_t = ct.tangent ? share * ct.tangent[at + c] : T(0);
      phi_bar_t += bar_t * t.delta[3 * e + c] + bar * t_t.delta[3 * e + c];
      delta_bar_t[3 * e + c] = bar_t * t.phi[e] + bar * t_t.phi[e];
    }
    const T *e3 = t.e3 + e * s.ld, *e3_t = t_t.e3 + e * s.ld, *f = t.f3 + e * s.ld;
    T* __restrict f_t = t_t.f3 + e * s.ld;
    for (int64_t c = 0; c < s.ld; ++c) {
      const T z_t = phi_bar * wx[c] * f_t[c] + (phi_bar_t * wx[c] + phi_bar * wx_t[c]) * f[c];
      f_t[c] = z_t;
      sum_b[c] += z_t;
      sum_w[c] += phi_bar_t * e3[c] + phi_bar * e3_t[c];
    }
  }
}

// m-. -> m0-., and the sums of w_a and b_a. m: m-
template <class T>
BASIN_HOT void pull_gate(int64_t n, int64_t ld, Pair<T> w_a, const Tile<T>& t, const Tile<T>& t_t,
                         const T* __restrict m, T* __restrict y_t, T* __restrict sum_w,
                         T* __restrict sum_b) {
  const T *wa = w_a.value, *wa_t = w_a.tangent;
  for (int64_t e = 0; e < n; ++e, m += ld, y_t += ld) {
    const T* __restrict m0 = t.m0 + e * ld, * __restrict m0_t = t_t.m0 + e * ld;
    const T a = t.gate[e], a_t = t_t.gate[e], slope = a * (T(1) - a);
    const T bar = row_dot<T>(m, m0, ld);
    const T bar_t = row_dot<T>(y_t, m0, ld) + row_dot<T>(m, m0_t, ld);
    const T g = bar * slope, g_t = bar_t * slope + bar * (T(1) - 2 * a) * a_t;
    *sum_b += g_t;
    for (int64_t c = 0; c < ld; ++c) {
      y_t[c] = a_t * m[c] + a * y_t[c] + g_t * wa[c] + g * wa_t[c];
      sum_w[c] += g_t * m0[c] + g * m0_t[c];
    }
  }
}

// y_t <- y_t f + y f_t, and its sum over the rows
template <class T>
BASIN_HOT void pull_silu(int64_t n, int64_t ld, const T* __restrict f, const T* __restrict f_t,
                         const T* __restrict y, T* __restrict y_t, T* __restrict sum) {
  for (int64_t e = 0; e < n; ++e, f += ld, f_t += ld, y += ld, y_t += ld) {
    for (int64_t c = 0; c < ld; ++c) {
      y_t[c] = y_t[c] * f[c] + y[c] * f_t[c];
      sum[c] += y_t[c];
    }
  }
}

// From y = e1- and its tangent to the tangents of the nodes' rows and of w_s. z: two rows [ld].
template <class T>
BASIN_HOT void pull_edge_rows(const Sizes& s, Pair<T> w_s, const int32_t* __restrict index,
                              int64_t first, int64_t count, const Tile<T>& t, const Tile<T>& t_t,
                              Pair<T> y, const T* __restrict delta_bar_t, T* __restrict p,
                              T* __restrict r, T* __restrict x, T* __restrict z,
                              T* __restrict sum) {
  const int64_t d = s.d, ld = s.ld;
  T* __restrict z_t = z + ld;
  int64_t e = 0;
  for (int64_t i = first; i < first + count; ++i) {
    T* pi = p + i * d;
    for (int64_t c = 0; c < d; ++c) pi[c] = T(0);
    T xi[3] = {};
    for (int64_t q = 0; q < s.k; ++q, ++e) {
      const int64_t j = index[i * s.k + q];
      const T *ye = y.value + e * ld, *ye_t = y.tangent + e * ld;
      const T *f = t.f1 + e * ld, *f_t = t_t.f1 + e * ld;
      const T square = t.s[e], square_t = t_t.s[e];
      for (int64_t c = 0; c < ld; ++c) {
        z[c] = ye[c] * f[c];
        z_t[c] = ye_t[c] * f[c] + ye[c] * f_t[c];
        sum[c] += square_t * z[c] + square * z_t[c];
      }
      T* rj = r + j * d;
      for (int64_t c = 0; c < d; ++c) {
        pi[c] += z_t[c];
        rj[c] += z_t[c];
      }
      const T twice = 2 * row_dot<T>(w_s.value, z, ld);
      const T twice_t = 2 * (row_dot<T>(w_s.value, z_t, ld) + row_dot<T>(w_s.tangent, z, ld));
      for (int c = 0; c < 3; ++c) {
        const T bar = twice_t * t.delta[3 * e + c] + twice * t_t.delta[3 * e + c] +
                      (s.moves ? delta_bar_t[3 * e + c] : T(0));
        xi[c] += bar;
        x[3 * j + c] -= bar;
      }
    }
    for (int c = 0; c < 3; ++c) x[3 * i + c] += xi[c];
  }
}

template <class T>
struct SecondBackward {
  const Sizes& s;
  const Weights<T>& w;
  const Tile<T>&t, &t_t;
  const TileBars<T>& bars;
  T *y_t, *delta_bar_t, *rows, *packing;

  static int64_t scratch(const Sizes& s) {
    return s.tile_edges() * (s.ld + 3) + 2 * s.ld + 4 * kLanes<T> + weight_scratch<T>(s);
  }
  SecondBackward(const Sizes& sizes, const Weights<T>& weights, const Tile<T>& tile,
                 const Tile<T>& tile_t, const TileBars<T>& tile_bars, Scratch<T>& memory)
      : s(sizes),
        w(weights),
        t(tile),
        t_t(tile_t),
        bars(tile_bars),
        y_t(memory.take(s.tile_edges() * s.ld)),
        delta_bar_t(memory.take(3 * s.tile_edges())),
        rows(memory.take(2 * s.ld)),
        packing(memory.take(weight_scratch<T>(s))) {}

  // (a^T b). into `sum`
  void add_outer(int64_t n, Pair<T> a, Pair<T> b, T* sum) const {
    add_weight_gradient<T>(s, n, a.tangent, b.value, packing, sum);
    add_weight_gradient<T>(s, n, a.value, b.tangent, packing, sum);
  }
  // y_t = (x W). + beta y_t
  void multiply_tangent(int64_t n, Pair<T> x, const Panels<T>& panels, const Panels<T>& panels_t,
                        T beta, T* result) const {
    multiply<T>(s, n, x.tangent, panels, beta, result);
    if (panels_t) multiply<T>(s, n, x.value, panels_t, T(1), result);
  }

  // ct: the rows of node `first`
  void run(const Weights<T>& w_t, const int32_t* index, int64_t first, int64_t count, Pair<T> ct,
           const NodeSums<T>& nodes, const WeightSums<T>& sums) const {
    const int64_t n = count * s.k;
    if (ct.tangent) {
      spread_nodes(s, count, ct.tangent, y_t);
    } else {
      std::fill(y_t, y_t + n * s.ld, T(0));
    }
    if (s.moves) {
      hot([&] {
        pull_shifts(s, count, ct, {w.w_x, w_t.w_x}, t, t_t, bars.phi, delta_bar_t, sums.b_c,
                    sums.w_x);
      });
      const Pair<T> z3{bars.z3, t_t.f3};
      add_outer(n, z3, {t.m, t_t.m}, sums.w_c);
      multiply_tangent(n, z3, w.w_c_back, w_t.w_c_back, T(1), y_t);
    }
    if (s.attention) {
      hot([&] { pull_gate(n, s.ld, {w.w_a, w_t.w_a}, t, t_t, bars.m, y_t, sums.w_a, sums.b_a); });
    }
    hot([&] { pull_silu(n, s.ld, t.f2, t_t.f2, bars.m0, y_t, sums.b2); });
    const Pair<T> z2{bars.z2, y_t};
    add_outer(n, z2, {t.e1, t_t.e1}, sums.w2);
    T* e1_t = t_t.e3;  // free by now
    multiply_tangent(n, z2, w.w2_back, w_t.w2_back, T(0), e1_t);
    hot([&] {
      pull_edge_rows(s, {w.w_s, w_t.w_s}, index, first, count, t, t_t, {bars.e1, e1_t}, delta_bar_t,
                     nodes.p, nodes.r, nodes.x, rows, sums.w_s);
    });
  }
};

// One tangent of a call.
template <class T>
struct Lane {
  Lane(const Sizes& s, const EdgeMessageTensors& t, const Tensor& ct_t, EdgeMessageTensors& grads)
      : tangents(t),
        w_t(s, t),
        ct_t(ct_t.defined() ? ct_t.data<T>() : nullptr),
        collector(s, grads) {}
  const EdgeMessageTensors& tangents;
  Weights<T> w_t;
  const T* ct_t;
  Collector<T> collector;
};

// The part of a lane that one task works on.
template <class T>
struct LaneTask {
  WeightSums<T> sums;
  NodeSums<T> nodes;
};

template <class T>
void second(const EdgeMessageTensors& in, const Tensor& index, const Tensor& ct,
            std::span<const EdgeMessageTensors> tangents, std::span<const Tensor> ct_tangents,
            EdgeMessageTensors* value, std::span<EdgeMessageTensors> grads) {
  const Sizes s = sizes_of<T>(in, index);
  check_index(s, index);
  const Weights<T> w(s, in);
  std::vector<Lane<T>> lanes;
  lanes.reserve(tangents.size());
  for (size_t l = 0; l < tangents.size(); ++l) {
    lanes.emplace_back(s, tangents[l], ct_tangents[l], grads[l]);
  }
  std::optional<Collector<T>> values;
  if (value) values.emplace(s, *value);
  const T* cts = ct.data<T>();
  const Collector<T>& cut = lanes.front().collector;
  parallel_tiles(cut.tasks(), [&](int64_t number) {
    const Task task = cut.task(number);
    Scratch<T> scratch(2 * tile_scratch<T>(s) + bars_scratch<T>(s) + SecondBackward<T>::scratch(s) +
                       static_cast<int64_t>(lanes.size() + 1) * Collector<T>::scratch_elements(s));
    const Tile<T> t = take_tile<T>(s, Slopes::second, scratch);
    const Tile<T> t_t = take_tile<T>(s, Slopes::first, scratch);
    const TileBars<T> bars = take_bars<T>(s, true, t, scratch);
    const SecondBackward<T> pull(s, w, t, t_t, bars, scratch);
    LaneTask<T> plain{};
    plain.sums = values ? values->weight_sums(number, scratch) : Collector<T>::no_sums(s, scratch);
    std::vector<LaneTask<T>> mine(lanes.size());
    for (size_t l = 0; l < mine.size(); ++l) {
      mine[l].sums = lanes[l].collector.weight_sums(number, scratch);
    }
    for (int64_t c = task.first_cloud; c < task.first_cloud + task.clouds; ++c) {
      const NodeRows<T> rows(s, in, c);
      if (values) plain.nodes = values->node_sums(number, c);
      for (size_t l = 0; l < mine.size(); ++l) {
        mine[l].nodes = lanes[l].collector.node_sums(number, c);
      }
      const int32_t* edges = index.data<int32_t>() + c * s.nodes * s.k;
      for_tiles(s, task, [&](int64_t first, int64_t count) {
        const int64_t at = (c * s.nodes + first) * s.width();
        forward_tile<T>(s, w, rows, edges, first, count, t);
        pull_tile(s, w, count, cts + at, t, bars, plain.sums, pull.packing);
        if (values) {
          pull_edges(s, w, edges, first, count, t, bars, plain.nodes, plain.sums, pull.rows);
          values->end_tile(plain.sums);
        }
        for (size_t l = 0; l < mine.size(); ++l) {
          const Lane<T>& lane = lanes[l];
          tangent_tile<T>(s, w, lane.w_t, NodeRows<T>(s, lane.tangents, c), edges, first, count, t,
                          t_t);
          pull.run(lane.w_t, edges, first, count, {cts + at, lane.ct_t ? lane.ct_t + at : nullptr},
                   mine[l].nodes, mine[l].sums);
          lane.collector.end_tile(mine[l].sums);
        }
      });
    }
  });
  if (values) values->finish();
  for (Lane<T>& lane : lanes) lane.collector.finish();
}

}  // namespace
}  // namespace basin::edge

namespace basin {

void EdgeMessageVjpJvp::cpu(const EdgeMessageTensors& in, const MessageEdges& edges,
                            const Tensor& ct, std::span<const EdgeMessageTensors> tangents,
                            std::span<const Tensor> ct_tangents, EdgeMessageTensors* value,
                            std::span<EdgeMessageTensors> grads) {
  if (ct.dtype() == DType::f32) {
    edge::second<float>(in, edges.index, ct, tangents, ct_tangents, value, grads);
  } else {
    edge::second<double>(in, edges.index, ct, tangents, ct_tangents, value, grads);
  }
}

}  // namespace basin
