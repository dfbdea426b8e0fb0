// Backward pass of the edge messages. Per tile, with the bars of M_i and D_i given:
//   phi- = D_i- . delta / k,          delta- = D_i- phi / k,      z3- = phi- w_x silu'(z3),
//   m-   = M_i- + z3- Wc,             attention: g- = (m- . m0) a (1 - a), m0- = a m- + g- w_a,
//   z2-  = m0- silu'(z2),             z1- = (z2- W2) silu'(z1),
//   p_i- += z1-,  r_j- += z1-,  s- = z1- . w_s,  delta- += 2 s- delta,  x_i- += delta-,
//   x_j- -= delta-;   the weights: outer products of each z- with what it was multiplied by.
#include "basin/kernels/cpu/edge_message_gradients.h"
#include "basin/kernels/cpu/hot.h"

namespace basin::edge {
namespace {

// f3 <- z3-, delta_bar <- D_i- phi / k, and the sums of b_c and w_x. ct: row of the first node.
template <class T>
BASIN_HOT void pull_shifts(const Sizes& s, int64_t count, const T* __restrict ct,
                           const T* __restrict w_x, const T* __restrict delta,
                           const T* __restrict phi, const T* __restrict e3, T* __restrict f3,
                           T* __restrict delta_bar, T* __restrict sum_b, T* __restrict sum_w) {
  const T share = T(1) / static_cast<T>(s.k);
  for (int64_t i = 0; i < count; ++i, ct += s.width()) {
    const T bar[3] = {ct[s.d] * share, ct[s.d + 1] * share, ct[s.d + 2] * share};
    for (int64_t q = 0; q < s.k; ++q, delta += 3, delta_bar += 3, ++phi, e3 += s.ld, f3 += s.ld) {
      const T phi_bar = bar[0] * delta[0] + bar[1] * delta[1] + bar[2] * delta[2];
      for (int c = 0; c < 3; ++c) delta_bar[c] = bar[c] * *phi;
      for (int64_t c = 0; c < s.ld; ++c) {
        const T z = phi_bar * w_x[c] * f3[c];
        f3[c] = z;
        sum_b[c] += z;
        sum_w[c] += phi_bar * e3[c];
      }
    }
  }
}

// m- -> m0-, and the sums of w_a and b_a
template <class T>
BASIN_HOT void pull_gate(int64_t n, int64_t ld, const T* __restrict w_a, const T* __restrict gate,
                         const T* __restrict m0, T* __restrict m, T* __restrict sum_w,
                         T* __restrict sum_b) {
  for (int64_t e = 0; e < n; ++e, m0 += ld, m += ld) {
    const T a = gate[e], g = row_dot(m, m0, ld) * a * (T(1) - a);
    *sum_b += g;
    for (int64_t c = 0; c < ld; ++c) {
      m[c] = a * m[c] + g * w_a[c];
      sum_w[c] += g * m0[c];
    }
  }
}

// y <- y f, and its sum over the rows
template <class T>
BASIN_HOT void pull_silu(int64_t n, int64_t ld, const T* __restrict f, T* __restrict y,
                         T* __restrict sum) {
  for (int64_t e = 0; e < n; ++e, f += ld, y += ld) {
    for (int64_t c = 0; c < ld; ++c) {
      y[c] *= f[c];
      sum[c] += y[c];
    }
  }
}

// From y = e1- to the rows of the nodes and w_s. p, r, x are of the cloud.
template <class T>
BASIN_HOT void pull_edges(const Sizes& s, const T* __restrict w_s, const int32_t* __restrict index,
                          int64_t first, int64_t count, const Tile<T>& t, const T* __restrict y,
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
struct Backward {
  const Sizes& s;
  const Weights<T>& w;
  const Tile<T>& t;
  T *y, *delta_bar, *row, *packing;
  const WeightSums<T>& sums;

  static int64_t scratch(const Sizes& s) {
    return s.tile_edges() * (s.ld + 3) + s.ld + 3 * kLanes<T> + weight_scratch<T>(s);
  }
  Backward(const Sizes& sizes, const Weights<T>& weights, const Tile<T>& tile,
           const WeightSums<T>& weight_sums, Scratch<T>& memory)
      : s(sizes),
        w(weights),
        t(tile),
        y(memory.take(s.tile_edges() * s.ld)),
        delta_bar(memory.take(3 * s.tile_edges())),
        row(memory.take(s.ld)),
        packing(memory.take(weight_scratch<T>(s))),
        sums(weight_sums) {}

  // ct: the row of node `first`
  void run(const int32_t* index, int64_t first, int64_t count, const T* ct,
           const typename Collector<T>::NodeSums& nodes) const {
    const int64_t n = count * s.k;
    spread_nodes(s, count, ct, y);
    if (s.moves) {
      pull_shifts(s, count, ct, w.w_x, t.delta, t.phi, t.e3, t.f3, delta_bar, sums.b_c, sums.w_x);
      add_weight_gradient<T>(s, n, t.f3, t.m, packing, sums.w_c);
      multiply<T>(s, n, t.f3, w.w_c_back, T(1), y);
    }
    if (s.attention) pull_gate(n, s.ld, w.w_a, t.gate, t.m0, y, sums.w_a, sums.b_a);
    pull_silu(n, s.ld, t.f2, y, sums.b2);
    add_weight_gradient<T>(s, n, y, t.e1, packing, sums.w2);
    T* next = t.e3;  // free by now
    multiply<T>(s, n, y, w.w2_back, T(0), next);
    pull_edges(s, w.w_s, index, first, count, t, next, delta_bar, nodes.p, nodes.r, nodes.x, row,
               sums.w_s);
  }
};

template <class T>
void backward(const EdgeMessageTensors& in, const Tensor& index, const Tensor& ct,
              EdgeMessageTensors& grads) {
  const Sizes s = sizes_of<T>(in, index);
  check_index(s, index);
  const Weights<T> w(s, in);
  Collector<T> collector(s, grads);
  const T* bars = ct.data<T>();
  parallel_tiles(collector.tasks(), [&](int64_t number) {
    const Task task = collector.task(number);
    Scratch<T> scratch(tile_scratch<T>(s) + Backward<T>::scratch(s) +
                       Collector<T>::scratch_elements(s));
    const Tile<T> t = take_tile<T>(s, true, scratch);
    const WeightSums<T> sums = collector.weight_sums(number, scratch);
    const Backward<T> pull(s, w, t, sums, scratch);
    for (int64_t c = task.first_cloud; c < task.first_cloud + task.clouds; ++c) {
      const NodeRows<T> rows(s, in, c);
      const auto nodes = collector.node_sums(number, c);
      const int32_t* edges = index.data<int32_t>() + c * s.nodes * s.k;
      for_tiles(s, task, [&](int64_t first, int64_t count) {
        forward_tile<T>(s, w, rows, edges, first, count, t);
        pull.run(edges, first, count, bars + (c * s.nodes + first) * s.width(), nodes);
        collector.end_tile(sums);
      });
    }
  });
  collector.finish();
}

}  // namespace
}  // namespace basin::edge

namespace basin {

void EdgeMessageVjp::cpu(const EdgeMessageTensors& in, const Tensor& index, const Tensor& ct,
                         EdgeMessageTensors& grads) {
  if (ct.dtype() == DType::f32) {
    edge::backward<float>(in, index, ct, grads);
  } else {
    edge::backward<double>(in, index, ct, grads);
  }
}

}  // namespace basin
