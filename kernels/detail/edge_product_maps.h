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
template <int l, class V>
BASIN_HD V along(const Graph& g, const In<V>& t, const In<ScalarOf<V>>& y, int rows, int64_t e,
                 int64_t n, int64_t c) {
  V sum{};
  for_rows<l>([&](int64_t m) { sum = sum + t[(n * rows + m) * g.channels + c] * y[e * rows + m]; });
  return sum;
}

template <int kDegree, class V>
BASIN_HD void product(const Graph& g, const Factors<V>& in, int64_t e, int64_t c,
                      const Out<V>& out) {
  constexpr int kRows = (kDegree + 1) * (kDegree + 1) - 1;
  const int64_t d = g.channels, i = g.receiver[e], j = g.sender[e];
  V sum{};
  for_range<0, kRows>([&](int64_t m) {
    sum = sum + in.q[(i * kRows + m) * d + c] * in.k[(j * kRows + m) * d + c];
  });
  if (in.y.v) {
    for_constants<1, kDegree + 1>([&](auto degree) {
      constexpr int l = decltype(degree)::value;
      sum = sum - along<l>(g, in.q, in.y, kRows, e, i, c) * along<l>(g, in.k, in.y, kRows, e, j, c);
    });
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
    for_constants<1, kDegree + 1>([&](auto degree) {
      constexpr int l = decltype(degree)::value;
      V part{};
      if (in.y.v) part = along<l>(g, other, in.y, kRows, e, there, c);
      for_rows<l>([&](int64_t m) {
        V normal = other[(there * kRows + m) * d + c];
        if (in.y.v) normal = normal - part * in.y[e * kRows + m];
        rows[m] = rows[m] + up * normal;
      });
    });
  }
  for_range<0, kRows>([&](int64_t m) { out.put((n * kRows + m) * d + c, rows[m]); });
}

// Y-_m = - sum_c w- (q_m (y.k) + k_m (y.q))
template <int kDegree, class V, class Lanes>
BASIN_HD void harmonic_gradient(const Lanes& lanes, const Graph& g, const Factors<V>& in,
                                const In<V>& ct, int64_t e, const Out<ScalarOf<V>>& out) {
  constexpr int kRows = (kDegree + 1) * (kDegree + 1) - 1;
  using S = ScalarOf<V>;
  const int64_t d = g.channels, i = g.receiver[e], j = g.sender[e];
  for_constants<1, kDegree + 1>([&](auto degree) {
    constexpr int l = decltype(degree)::value;
    V sums[2 * l + 1] = {};
    lanes.each(d, [&](int64_t c) {
      const V up = ct[e * d + c];
      const V q = along<l>(g, in.q, in.y, kRows, e, i, c) * up;
      const V k = along<l>(g, in.k, in.y, kRows, e, j, c) * up;
      for_range<0, 2 * l + 1>([&](int64_t m) {
        const int64_t row = l * l - 1 + m;
        sums[m] =
            sums[m] - in.q[(i * kRows + row) * d + c] * k - in.k[(j * kRows + row) * d + c] * q;
      });
    });
    for_range<0, 2 * l + 1>([&](int64_t m) {
      const S total = lanes.total(sums[m]);
      if (lanes.first()) out.put(e * kRows + l * l - 1 + m, total);
    });
  });
}

}  // namespace basin::gata
