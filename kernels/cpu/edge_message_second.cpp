// Tangent of the backward pass of the edge messages: every line of edge_message_backward.cpp with
// its product rule, in paired loops over value and tangent. Each product by a weight becomes a
// value and two tangents (of the rows, of the weight), each outer product two.
#include "basin/kernels/cpu/edge_message_gradients.h"
#include "basin/kernels/cpu/hot.h"

namespace basin::edge {
namespace {

// What the loops over a tile need, value and tangent.
template <class T>
struct Pair {
  const T *value, *tangent;
};

// f3 <- z3-, f3_t <- its tangent, delta_bar_t <- (D_i- phi / k). and the sums of b_c and w_x.
template <class T>
BASIN_HOT void pull_shifts(const Sizes& s, int64_t count, Pair<T> ct, Pair<T> w_x, const Tile<T>& t,
                           const Tile<T>& t_t, T* __restrict delta_bar_t, T* __restrict sum_b,
                           T* __restrict sum_w) {
  const T share = T(1) / static_cast<T>(s.k);
  const T *wx = w_x.value, *wx_t = w_x.tangent;
  for (int64_t e = 0; e < count * s.k; ++e) {
    const int64_t at = e / s.k * s.width() + s.d;
    T phi_bar = 0, phi_bar_t = 0;
    for (int c = 0; c < 3; ++c) {
      const T bar = share * ct.value[at + c];
      const T bar_t = ct.tangent ? share * ct.tangent[at + c] : T(0);
      phi_bar += bar * t.delta[3 * e + c];
      phi_bar_t += bar_t * t.delta[3 * e + c] + bar * t_t.delta[3 * e + c];
      delta_bar_t[3 * e + c] = bar_t * t.phi[e] + bar * t_t.phi[e];
    }
    const T* __restrict e3 = t.e3 + e * s.ld, * __restrict e3_t = t_t.e3 + e * s.ld;
    T* __restrict f = t.f3 + e * s.ld, * __restrict f_t = t_t.f3 + e * s.ld;
    for (int64_t c = 0; c < s.ld; ++c) {
      const T scaled = phi_bar * wx[c];
      const T z_t = scaled * f_t[c] + (phi_bar_t * wx[c] + phi_bar * wx_t[c]) * f[c];
      f[c] *= scaled;
      f_t[c] = z_t;
      sum_b[c] += z_t;
      sum_w[c] += phi_bar_t * e3[c] + phi_bar * e3_t[c];
    }
  }
}

// m- -> m0-, with tangents, and the sums of w_a and b_a
template <class T>
BASIN_HOT void pull_gate(int64_t n, int64_t ld, Pair<T> w_a, const Tile<T>& t, const Tile<T>& t_t,
                         T* __restrict y, T* __restrict y_t, T* __restrict sum_w,
                         T* __restrict sum_b) {
  const T *wa = w_a.value, *wa_t = w_a.tangent;
  for (int64_t e = 0; e < n; ++e, y += ld, y_t += ld) {
    const T* __restrict m0 = t.m0 + e * ld, * __restrict m0_t = t_t.m0 + e * ld;
    const T a = t.gate[e], a_t = t_t.gate[e], slope = a * (T(1) - a);
    const T bar = row_dot<T>(y, m0, ld);
    const T bar_t = row_dot<T>(y_t, m0, ld) + row_dot<T>(y, m0_t, ld);
    const T g = bar * slope, g_t = bar_t * slope + bar * (T(1) - 2 * a) * a_t;
    *sum_b += g_t;
    for (int64_t c = 0; c < ld; ++c) {
      y_t[c] = a_t * y[c] + a * y_t[c] + g_t * wa[c] + g * wa_t[c];
      y[c] = a * y[c] + g * wa[c];
      sum_w[c] += g_t * m0[c] + g * m0_t[c];
    }
  }
}

template <class T>
BASIN_HOT void pull_silu(int64_t n, int64_t ld, const T* __restrict f, const T* __restrict f_t,
                         T* __restrict y, T* __restrict y_t, T* __restrict sum) {
  for (int64_t e = 0; e < n; ++e, f += ld, f_t += ld, y += ld, y_t += ld) {
    for (int64_t c = 0; c < ld; ++c) {
      y_t[c] = y_t[c] * f[c] + y[c] * f_t[c];
      y[c] *= f[c];
      sum[c] += y_t[c];
    }
  }
}

// From y = e1- and its tangent to the tangents of the nodes' rows and of w_s. z: two rows [ld].
template <class T>
BASIN_HOT void pull_edges(const Sizes& s, Pair<T> w_s, const int32_t* __restrict index,
                          int64_t first, int64_t count, const Tile<T>& t, const Tile<T>& t_t,
                          Pair<T> y, const T* __restrict delta_bar_t, T* __restrict p,
                          T* __restrict r, T* __restrict x, T* __restrict z, T* __restrict sum) {
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

// y += x W and its tangent
template <class T>
void add_product(const Sizes& s, int64_t n, Pair<T> x, const Panels<T>& w, const Panels<T>& w_t,
                 T beta, T* y, T* y_t) {
  multiply<T>(s, n, x.value, w, beta, y);
  multiply<T>(s, n, x.tangent, w, beta, y_t);
  if (w_t) multiply<T>(s, n, x.value, w_t, T(1), y_t);
}

template <class T>
struct SecondBackward {
  const Sizes& s;
  const Weights<T>&w, &w_t;
  const Tile<T>&t, &t_t;
  const WeightSums<T>& sums;
  T *y, *y_t, *delta_bar_t, *rows, *packing;

  static int64_t scratch(const Sizes& s) {
    return s.tile_edges() * (2 * s.ld + 3) + 2 * s.ld + kLanes<T> + weight_scratch<T>(s);
  }
  SecondBackward(const Sizes& sizes, const Weights<T>& weights, const Weights<T>& weights_t,
                 const Tile<T>& tile, const Tile<T>& tile_t, const WeightSums<T>& weight_sums,
                 Scratch<T>& memory)
      : s(sizes),
        w(weights),
        w_t(weights_t),
        t(tile),
        t_t(tile_t),
        sums(weight_sums),
        y(memory.take(s.tile_edges() * s.ld)),
        y_t(memory.take(s.tile_edges() * s.ld)),
        delta_bar_t(memory.take(3 * s.tile_edges())),
        rows(memory.take(2 * s.ld)),
        packing(memory.take(weight_scratch<T>(s))) {}

  // (a^T b). into `sum`
  void add_outer(int64_t n, Pair<T> a, Pair<T> b, T* sum) const {
    add_weight_gradient<T>(s, n, a.tangent, b.value, packing, sum);
    add_weight_gradient<T>(s, n, a.value, b.tangent, packing, sum);
  }

  // ct: the rows of node `first`
  void run(const int32_t* index, int64_t first, int64_t count, Pair<T> ct,
           const typename Collector<T>::NodeSums& nodes) const {
    const int64_t n = count * s.k;
    spread_nodes(s, count, ct.value, y);
    if (ct.tangent) {
      spread_nodes(s, count, ct.tangent, y_t);
    } else {
      std::fill(y_t, y_t + n * s.ld, T(0));
    }
    if (s.moves) {
      pull_shifts(s, count, ct, {w.w_x, w_t.w_x}, t, t_t, delta_bar_t, sums.b_c, sums.w_x);
      add_outer(n, {t.f3, t_t.f3}, {t.m, t_t.m}, sums.w_c);
      add_product<T>(s, n, {t.f3, t_t.f3}, w.w_c_back, w_t.w_c_back, T(1), y, y_t);
    }
    if (s.attention) pull_gate(n, s.ld, {w.w_a, w_t.w_a}, t, t_t, y, y_t, sums.w_a, sums.b_a);
    pull_silu(n, s.ld, t.f2, t_t.f2, y, y_t, sums.b2);
    add_outer(n, {y, y_t}, {t.e1, t_t.e1}, sums.w2);
    T *next = t.e3, *next_t = t_t.e3;  // free by now
    add_product<T>(s, n, {y, y_t}, w.w2_back, w_t.w2_back, T(0), next, next_t);
    pull_edges(s, {w.w_s, w_t.w_s}, index, first, count, t, t_t, {next, next_t}, delta_bar_t,
               nodes.p, nodes.r, nodes.x, rows, sums.w_s);
  }
};

template <class T>
void second(const EdgeMessageTensors& in, const Tensor& index, const Tensor& ct,
            const EdgeMessageTensors& tangents, const Tensor& ct_tangent,
            EdgeMessageTensors& grads) {
  const Sizes s = sizes_of<T>(in, index);
  check_index(s, index);
  const Weights<T> w(s, in), w_t(s, tangents);
  Collector<T> collector(s, grads);
  const T *bars = ct.data<T>(), *bars_t = ct_tangent.defined() ? ct_tangent.data<T>() : nullptr;
  parallel_tiles(collector.tasks(), [&](int64_t number) {
    const Task task = collector.task(number);
    Scratch<T> scratch(2 * tile_scratch<T>(s) + SecondBackward<T>::scratch(s) +
                       Collector<T>::scratch_elements(s));
    const Tile<T> t = take_tile<T>(s, true, scratch), t_t = take_tile<T>(s, true, scratch);
    const WeightSums<T> sums = collector.weight_sums(number, scratch);
    const SecondBackward<T> pull(s, w, w_t, t, t_t, sums, scratch);
    for (int64_t c = task.first_cloud; c < task.first_cloud + task.clouds; ++c) {
      const NodeRows<T> rows(s, in, c), rows_t(s, tangents, c);
      const auto nodes = collector.node_sums(number, c);
      const int32_t* edges = index.data<int32_t>() + c * s.nodes * s.k;
      for_tiles(s, task, [&](int64_t first, int64_t count) {
        const int64_t at = (c * s.nodes + first) * s.width();
        forward_tile<T>(s, w, w_t, rows, rows_t, edges, first, count, t, t_t);
        pull.run(edges, first, count, {bars + at, bars_t ? bars_t + at : nullptr}, nodes);
        collector.end_tile(sums);
      });
    }
  });
  collector.finish();
}

}  // namespace
}  // namespace basin::edge

namespace basin {

void EdgeMessageVjpJvp::cpu(const EdgeMessageTensors& in, const Tensor& index, const Tensor& ct,
                            const EdgeMessageTensors& tangents, const Tensor& ct_tangent,
                            EdgeMessageTensors& grads) {
  if (ct.dtype() == DType::f32) {
    edge::second<float>(in, index, ct, tangents, ct_tangent, grads);
  } else {
    edge::second<double>(in, index, ct, tangents, ct_tangent, grads);
  }
}

}  // namespace basin
