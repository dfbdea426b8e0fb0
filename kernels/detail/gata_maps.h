// GotenNet's messages and their derivatives per (node, channel) and per edge, shared by CPU loop and
// CUDA kernel. V is what is computed with: a number, a vector of neighbouring channels (CPU), or a
// Dual of either; ScalarOf<V> what belongs to an edge or a head. `lanes` work on one edge together:
// one thread, or a warp. A minus behind a name is the cotangent of what it names:
//   o-_s = h-_i,  o-_d^l = sum_m Y_m X-_im,  o-_t^l = sum_m X_jm X-_im;   f- = o- s C,  s- = sum o- f C,
//   v- = sum o- w,  x-_jm = sum X-_im o_t,  Y-_m = sum_c X-_im o_d,  C- = sum o- f s,
//   w- = sum over the head of o- v,  A- = w- factor / sqrt d,  e- = A (A- - sum_j A A-),
//   q- = sum e- k a,  k- = sum e- q a,  a- = e- q k.
#pragma once
#include <cstring>

#include "basin/kernels/detail/dual.h"

namespace basin::gata {

// The number type behind a vector of numbers.
template <class P>
struct Element {
  using Type = P;
};
template <class V>
using ElementOf = typename Element<BaseOf<V>>::Type;
template <class V>
using ScalarOf = std::conditional_t<kDual<V>, Dual<ElementOf<V>>, ElementOf<V>>;

template <class P>
BASIN_HD P load(const ElementOf<P>* at) {
  P value;
  memcpy(&value, at, sizeof(P));
  return value;
}

// Arguments: an absent tangent is zero.
template <class V>
struct In {
  using T = ElementOf<V>;
  const T *v = nullptr, *t = nullptr;
  BASIN_HD V operator[](int64_t i) const {
    using P = BaseOf<V>;
    if constexpr (kDual<V>) {
      return V(load<P>(v + i), t ? load<P>(t + i) : P{});
    } else {
      return load<P>(v + i);
    }
  }
};

// Results: the value, or the tangent where V is Dual.
template <class V>
struct Out {
  ElementOf<V>* at = nullptr;
  BASIN_HD void put(int64_t i, const V& x) const {
    const BaseOf<V> result = outcome(x);
    memcpy(at + i, &result, sizeof(result));
  }
};

// Memory in between: both.
template <class S>
struct Field {
  BaseOf<S>*v = nullptr, *t = nullptr;
  BASIN_HD S operator[](int64_t i) const {
    if constexpr (kDual<S>) {
      return S(v[i], t[i]);
    } else {
      return v[i];
    }
  }
  BASIN_HD void put(int64_t i, const S& x) const {
    if constexpr (kDual<S>) {
      v[i] = x.v;
      t[i] = x.t;
    } else {
      v[i] = x;
    }
  }
};

template <class T>
BASIN_HD T exp_less(T x, T top) {
  return scalar::exp_(x - top);
}
template <class T>
BASIN_HD Dual<T> exp_less(const Dual<T>& x, T top) {
  const T p = scalar::exp_(x.v - top);
  return {p, p * x.t};
}
template <class T>
BASIN_HD T inverse(T x) {
  return T(1) / x;
}
template <class T>
BASIN_HD Dual<T> inverse(const Dual<T>& x) {
  const T r = T(1) / x.v;
  return {r, -x.t * r * r};
}
template <class T>
BASIN_HD T value_of(T x) {
  return x;
}
template <class T>
BASIN_HD T value_of(const Dual<T>& x) {
  return x.v;
}

struct Graph {
  const int32_t *sender, *receiver, *offsets, *order, *sender_offsets;
  int64_t nodes, edges, channels;
};

template <class T>
struct Widths {
  int64_t heads, head, width, rows;  // heads; channels of one; S d; K
  bool shared;                       // S = 3
  const T* factor;                   // [E, heads] or null
  T scale;                           // 1 / sqrt(d)
  BASIN_HD T weight(int64_t at) const { return factor ? factor[at] * scale : scale; }
  BASIN_HD int64_t value_head() const { return width / heads; }  // entries of v of one head
};

template <class V>
struct Arguments {
  In<V> q, k, s, v, x, a, f;
  In<ScalarOf<V>> y, c;
};

// e[edge, h]
template <class V, class Lanes>
BASIN_HD void logit(const Lanes& lanes, const Graph& g, const Widths<ElementOf<V>>& s,
                    const Arguments<V>& in, int64_t e, int64_t h,
                    const Field<ScalarOf<V>>& logits) {
  const int64_t i = g.receiver[e] * g.channels + h * s.head;
  const int64_t j = g.sender[e] * g.channels + h * s.head, at = e * g.channels + h * s.head;
  V sum{};
  lanes.each(s.head, [&](int64_t c) { sum = sum + in.q[i + c] * in.k[j + c] * in.a[at + c]; });
  const ScalarOf<V> total = lanes.total(sum);
  if (lanes.first()) logits.put(e * s.heads + h, total);
}

// Logits of receiver i and head h -> softmax, in place.
template <class S>
BASIN_HD void softmax(const Graph& g, int64_t heads, int64_t i, int64_t h, const Field<S>& w) {
  const int64_t begin = g.offsets[i], end = g.offsets[i + 1];
  if (begin == end) return;
  auto top = value_of(w[begin * heads + h]);
  for (int64_t e = begin + 1; e < end; ++e) {
    const auto here = value_of(w[e * heads + h]);
    if (here > top) top = here;
  }
  S total{};
  for (int64_t e = begin; e < end; ++e) {
    const S power = exp_less(w[e * heads + h], top);
    w.put(e * heads + h, power);
    total = total + power;
  }
  const S share = inverse(total);
  for (int64_t e = begin; e < end; ++e) w.put(e * heads + h, w[e * heads + h] * share);
}

// o[p] of an edge.
template <class V>
BASIN_HD V message(const Widths<ElementOf<V>>& s, const Arguments<V>& in,
                   const Field<ScalarOf<V>>& attention, int64_t e, int64_t j, int64_t p) {
  const int64_t at = e * s.heads + p / s.value_head();
  return in.f[e * s.width + p] * in.s[j * s.width + p] * in.c[e] +
         in.v[j * s.width + p] * (attention[at] * ScalarOf<V>(s.weight(at)));
}

// h and X of receiver i at channel c.
template <int kDegree, class V>
BASIN_HD void gather_messages(const Graph& g, const Widths<ElementOf<V>>& s, const Arguments<V>& in,
                              const Field<ScalarOf<V>>& attention, int64_t i, int64_t c,
                              const Out<V>& out) {
  constexpr int kRows = (kDegree + 1) * (kDegree + 1) - 1;
  const int64_t d = g.channels;
  V h{}, x[kRows] = {};
  for (int64_t e = g.offsets[i]; e < g.offsets[i + 1]; ++e) {
    const int64_t j = g.sender[e];
    h = h + message(s, in, attention, e, j, c);
    V along{}, around{};
    for (int l = 1; l <= kDegree; ++l) {
      if (l == 1 || !s.shared) {
        along = message(s, in, attention, e, j, l * d + c);
        if (in.x.v) {
          around = message(s, in, attention, e, j, (s.shared ? 2 : kDegree + l) * d + c);
        }
      }
      for (int m = l * l - 1; m < (l + 1) * (l + 1) - 1; ++m) {
        x[m] = x[m] + along * in.y[e * kRows + m];
        if (in.x.v) x[m] = x[m] + around * in.x[(j * kRows + m) * d + c];
      }
    }
  }
  out.put(i * (1 + kRows) * d + c, h);
  for (int m = 0; m < kRows; ++m) out.put((i * (1 + kRows) + 1 + m) * d + c, x[m]);
}

// o-[block, c] of an edge.
template <int kDegree, class V>
BASIN_HD V message_cotangent(const Graph& g, const Widths<ElementOf<V>>& s, const Arguments<V>& in,
                             const In<V>& ct, int64_t e, int64_t i, int64_t j, int64_t block,
                             int64_t c) {
  constexpr int kRows = (kDegree + 1) * (kDegree + 1) - 1;
  const int64_t d = g.channels, row = i * (1 + kRows) * d + c;
  if (block == 0) return ct[row];
  const bool along = block <= (s.shared ? 1 : kDegree);
  V sum{};
  if (!along && !in.x.v) return sum;
  const int64_t l = along ? block : block - kDegree;
  const int64_t first = s.shared ? 0 : l * l - 1, last = s.shared ? kRows : (l + 1) * (l + 1) - 1;
  for (int64_t m = first; m < last; ++m) {
    const V up = ct[row + (1 + m) * d];
    if (along) {
      sum = sum + up * in.y[e * kRows + m];
    } else {
      sum = sum + up * in.x[(j * kRows + m) * d + c];
    }
  }
  return sum;
}

// f- of an edge, w- of its heads, C- and Y- where wanted.
template <int kDegree, class V, class Lanes>
BASIN_HD void edge_gradients(const Lanes& lanes, const Graph& g, const Widths<ElementOf<V>>& s,
                             const Arguments<V>& in, const Field<ScalarOf<V>>& attention,
                             const In<V>& ct, int64_t e, const Out<V>& f,
                             const Field<ScalarOf<V>>& weights, const Out<ScalarOf<V>>& cutoff,
                             const Out<ScalarOf<V>>& y) {
  constexpr int kRows = (kDegree + 1) * (kDegree + 1) - 1;
  using S = ScalarOf<V>;
  const int64_t d = g.channels, i = g.receiver[e], j = g.sender[e];
  V cut{};
  for (int64_t h = 0; h < s.heads; ++h) {
    V sum{};
    lanes.each(s.value_head(), [&](int64_t n) {
      const int64_t p = h * s.value_head() + n, block = p / d;
      const V up = message_cotangent<kDegree>(g, s, in, ct, e, i, j, block, p - block * d);
      const V through = up * in.s[j * s.width + p];
      f.put(e * s.width + p, through * in.c[e]);
      if (cutoff.at) cut = cut + through * in.f[e * s.width + p];
      sum = sum + up * in.v[j * s.width + p];
    });
    const S total = lanes.total(sum);
    if (lanes.first()) weights.put(e * s.heads + h, total);
  }
  if (!cutoff.at) return;
  const S total = lanes.total(cut);
  if (lanes.first()) cutoff.put(e, total);
  for (int l = 1; l <= kDegree; ++l) {
    for (int m = l * l - 1; m < (l + 1) * (l + 1) - 1; ++m) {
      V sum{};
      lanes.each(d, [&](int64_t c) {
        sum = sum + ct[(i * (1 + kRows) + 1 + m) * d + c] *
                        message(s, in, attention, e, j, (s.shared ? 1 : l) * d + c);
      });
      const S along = lanes.total(sum);
      if (lanes.first()) y.put(e * kRows + m, along);
    }
  }
}

// w- of receiver i and head h -> e-, in place.
template <class S, class T>
BASIN_HD void softmax_gradient(const Graph& g, const Widths<T>& s, int64_t i, int64_t h,
                               const Field<S>& attention, const Field<S>& weights) {
  S mean{};
  for (int64_t e = g.offsets[i]; e < g.offsets[i + 1]; ++e) {
    const int64_t at = e * s.heads + h;
    const S up = weights[at] * S(s.weight(at));
    weights.put(at, up);
    mean = mean + attention[at] * up;
  }
  for (int64_t e = g.offsets[i]; e < g.offsets[i + 1]; ++e) {
    const int64_t at = e * s.heads + h;
    weights.put(at, attention[at] * (weights[at] - mean));
  }
}

// q- of receiver i and a- of its edges at channel c; `logits` are e-.
template <class V>
BASIN_HD void receiver_gradients(const Graph& g, const Widths<ElementOf<V>>& s,
                                 const Arguments<V>& in, const Field<ScalarOf<V>>& logits,
                                 int64_t i, int64_t c, const Out<V>& q, const Out<V>& a) {
  const int64_t d = g.channels, h = c / s.head;
  const V own = in.q[i * d + c];
  V sum{};
  for (int64_t e = g.offsets[i]; e < g.offsets[i + 1]; ++e) {
    const V up = in.k[g.sender[e] * d + c] * logits[e * s.heads + h];
    sum = sum + up * in.a[e * d + c];
    a.put(e * d + c, up * own);
  }
  q.put(i * d + c, sum);
}

// k-, s-, v-, x- of sender j at channel c.
template <int kDegree, class V>
BASIN_HD void sender_gradients(const Graph& g, const Widths<ElementOf<V>>& s,
                               const Arguments<V>& in, const Field<ScalarOf<V>>& attention,
                               const Field<ScalarOf<V>>& logits, const In<V>& ct, int64_t j,
                               int64_t c, const Out<V>& k, const Out<V>& s_out, const Out<V>& v,
                               const Out<V>& x) {
  constexpr int kRows = (kDegree + 1) * (kDegree + 1) - 1, kBlocks = 1 + 2 * kDegree;
  using S = ScalarOf<V>;
  const int64_t d = g.channels, h = c / s.head;
  const int blocks = s.shared ? 3 : kBlocks;
  V key{}, scale[kBlocks] = {}, value[kBlocks] = {}, rows[kRows] = {};
  for (int64_t n = g.sender_offsets[j]; n < g.sender_offsets[j + 1]; ++n) {
    const int64_t e = g.order[n], i = g.receiver[e];
    key = key + in.q[i * d + c] * in.a[e * d + c] * logits[e * s.heads + h];
    for (int b = 0; b < blocks; ++b) {
      const int64_t p = b * d + c, at = e * s.heads + p / s.value_head();
      const V up = message_cotangent<kDegree>(g, s, in, ct, e, i, j, b, c);
      scale[b] = scale[b] + up * in.f[e * s.width + p] * in.c[e];
      value[b] = value[b] + up * (attention[at] * S(s.weight(at)));
    }
    if (!in.x.v) continue;
    for (int l = 1; l <= kDegree; ++l) {
      const V around = message(s, in, attention, e, j, (s.shared ? 2 : kDegree + l) * d + c);
      for (int m = l * l - 1; m < (l + 1) * (l + 1) - 1; ++m) {
        rows[m] = rows[m] + ct[(i * (1 + kRows) + 1 + m) * d + c] * around;
      }
    }
  }
  k.put(j * d + c, key);
  for (int b = 0; b < blocks; ++b) {
    s_out.put(j * s.width + b * d + c, scale[b]);
    v.put(j * s.width + b * d + c, value[b]);
  }
  if (!in.x.v) return;
  for (int m = 0; m < kRows; ++m) x.put((j * kRows + m) * d + c, rows[m]);
}

// --- products of steerable features: w = sum_l q.k - (y.q)(y.k) ---

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
