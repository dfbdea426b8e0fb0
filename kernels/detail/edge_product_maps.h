// Products of steerable features w = sum_l q.k - (y.q)(y.k) and their gradients per (edge or node,
// channel), for the value types of gata_maps.h.
#pragma once
#include "basin/kernels/detail/gata_maps.h"

namespace basin::gata {

template <class V>
struct Factors {
  In<V> q, k;
  In<ScalarOf<V>> y;
};

// y^l . t of node n at channel c.
template <class V>
BASIN_HD V along(const Graph& g, const In<V>& t, const In<ScalarOf<V>>& y, int rows, int l,
                 int64_t e, int64_t n, int64_t c) {
  V sum{};
  for (int m = l * l - 1; m < (l + 1) * (l + 1) - 1; ++m) {
    sum = sum + t[(n * rows + m) * g.channels + c] * y[e * rows + m];
  }
  return sum;
}

template <int kDegree, class V>
BASIN_HD void product(const Graph& g, const Factors<V>& in, int64_t e, int64_t c,
                      const Out<V>& out) {
  constexpr int kRows = (kDegree + 1) * (kDegree + 1) - 1;
  const int64_t d = g.channels, i = g.receiver[e], j = g.sender[e];
  V sum{};
  for (int m = 0; m < kRows; ++m) {
    sum = sum + in.q[(i * kRows + m) * d + c] * in.k[(j * kRows + m) * d + c];
  }
  for (int l = 1; in.y.v && l <= kDegree; ++l) {
    sum = sum - along(g, in.q, in.y, kRows, l, e, i, c) * along(g, in.k, in.y, kRows, l, e, j, c);
  }
  out.put(e * d + c, sum);
}

// sum over edges of w- (t_m - y_m (y.t)) of the other node's t, into a node's rows.
template <int kDegree, class V>
BASIN_HD void product_gradient(const Graph& g, const Factors<V>& in, const In<V>& ct, bool sender,
                               int64_t n, int64_t c, const Out<V>& out) {
  constexpr int kRows = (kDegree + 1) * (kDegree + 1) - 1;
  const int64_t d = g.channels;
  const int32_t* offsets = sender ? g.sender_offsets : g.offsets;
  const In<V>& other = sender ? in.q : in.k;
  V rows[kRows] = {};
  for (int64_t at = offsets[n]; at < offsets[n + 1]; ++at) {
    const int64_t e = sender ? g.order[at] : at, there = sender ? g.receiver[e] : g.sender[e];
    const V up = ct[e * d + c];
    for (int l = 1; l <= kDegree; ++l) {
      V part{};
      if (in.y.v) part = along(g, other, in.y, kRows, l, e, there, c);
      for (int m = l * l - 1; m < (l + 1) * (l + 1) - 1; ++m) {
        V normal = other[(there * kRows + m) * d + c];
        if (in.y.v) normal = normal - part * in.y[e * kRows + m];
        rows[m] = rows[m] + up * normal;
      }
    }
  }
  for (int m = 0; m < kRows; ++m) out.put((n * kRows + m) * d + c, rows[m]);
}

// Y-_m = - sum_c w- (q_m (y.k) + k_m (y.q))
template <int kDegree, class V, class Lanes>
BASIN_HD void harmonic_gradient(const Lanes& lanes, const Graph& g, const Factors<V>& in,
                                const In<V>& ct, int64_t e, const Out<ScalarOf<V>>& out) {
  constexpr int kRows = (kDegree + 1) * (kDegree + 1) - 1;
  using S = ScalarOf<V>;
  const int64_t d = g.channels, i = g.receiver[e], j = g.sender[e];
  for (int l = 1; l <= kDegree; ++l) {
    V sums[2 * kDegree + 1] = {};
    lanes.each(d, [&](int64_t c) {
      const V up = ct[e * d + c];
      const V q = along(g, in.q, in.y, kRows, l, e, i, c) * up;
      const V k = along(g, in.k, in.y, kRows, l, e, j, c) * up;
      for (int m = 0; m < 2 * l + 1; ++m) {
        const int64_t row = l * l - 1 + m;
        sums[m] =
            sums[m] - in.q[(i * kRows + row) * d + c] * k - in.k[(j * kRows + row) * d + c] * q;
      }
    });
    for (int m = 0; m < 2 * l + 1; ++m) {
      const S total = lanes.total(sums[m]);
      if (lanes.first()) out.put(e * kRows + l * l - 1 + m, total);
    }
  }
}

}  // namespace basin::gata
