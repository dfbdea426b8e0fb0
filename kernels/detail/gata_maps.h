// GotenNet's messages and their derivatives per (node, channel) and per edge, shared by CPU loop
// and CUDA kernel. V is what is computed with: a number, a vector of neighbouring channels (CPU) or
// a Dual of either; ScalarOf<V> what belongs to an edge or a head. `lanes` work on one edge
// together: one thread, or a warp. A minus behind a name marks the cotangent of what it names:
//   o-_s = h-_i,  o-_d^l = sum_m Y_m X-_im,  o-_t^l = sum_m x_jm X-_im
//   f- = o- s C,  s- = sum o- f C,  v- = sum o- w,  x-_jm = sum X-_im o_t,
//   Y-_m = sum_c X-_im o_d,  C- = sum o- f s,  w- = sum over the head of o- v,
//   A- = w- factor / sqrt d,  e- = A (A- - sum_j A A-),
//   q- = sum e- k a,  k- = sum e- q a,  a- = e- q k
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

// A number of the compiler's: std::integral_constant turns into an int on the host alone.
template <int k>
struct Constant {
  static constexpr int value = k;
  BASIN_HD constexpr operator int() const { return k; }
};
// f(Constant<k>) for k = kFirst .. kLast - 1. With degrees and blocks that the compiler knows,
// loops over rows have constant bounds and their sums are registers.
template <int kFirst, int kLast, class F>
BASIN_HD void for_constants(const F& f) {
  if constexpr (kFirst < kLast) {
    f(Constant<kFirst>{});
    for_constants<kFirst + 1, kLast>(f);
  }
}
// f(k) in a loop that is short enough to be unrolled.
template <int kFirst, int kLast, class F>
BASIN_HD void for_range(const F& f) {
  for (int k = kFirst; k < kLast; ++k) f(k);
}
// The same for the rows m of degree l.
template <int kDegree, class F>
BASIN_HD void for_rows(const F& f) {
  for_range<kDegree * kDegree - 1, (kDegree + 1) * (kDegree + 1) - 1>(f);
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

// The heads that own entries c, d + c, 2 d + c, .. of a row of v: found once, not per edge.
template <int kBlocks>
struct Heads {
  int of[kBlocks];
  template <class T>
  BASIN_HD Heads(const Widths<T>& s, int64_t channels, int64_t c) {
    for (int b = 0; b < kBlocks; ++b) {
      of[b] = static_cast<int>((b * channels + c) / s.value_head());
    }
  }
};

// o[p] of an edge, p of the given head.
template <class V>
BASIN_HD V message(const Widths<ElementOf<V>>& s, const Arguments<V>& in,
                   const Field<ScalarOf<V>>& attention, int64_t e, int64_t j, int64_t p, int head) {
  const int64_t at = e * s.heads + head;
  return in.f[e * s.width + p] * in.s[j * s.width + p] * in.c[e] +
         in.v[j * s.width + p] * (attention[at] * ScalarOf<V>(s.weight(at)));
}

// h and X of receiver i at channel c.
template <int kDegree, bool kShared, class V>
BASIN_HD void gather_messages_of(const Graph& g, const Widths<ElementOf<V>>& s,
                                 const Arguments<V>& in, const Field<ScalarOf<V>>& attention,
                                 int64_t i, int64_t c, const Out<V>& out) {
  constexpr int kRows = (kDegree + 1) * (kDegree + 1) - 1;
  const int64_t d = g.channels;
  const Heads<1 + 2 * kDegree> heads(s, d, c);
  const auto block = [&](int64_t e, int64_t j, int b) {
    return message(s, in, attention, e, j, b * d + c, heads.of[b]);
  };
  V h{}, x[kRows] = {};
  for (int64_t e = g.offsets[i]; e < g.offsets[i + 1]; ++e) {
    const int64_t j = g.sender[e];
    h = h + block(e, j, 0);
    V along{}, around{};
    for_constants<1, kDegree + 1>([&](auto degree) {
      constexpr int l = decltype(degree)::value;
      if (l == 1 || !kShared) along = block(e, j, l);
      for_rows<l>([&](int64_t m) { x[m] = x[m] + along * in.y[e * kRows + m]; });
    });
    if (!in.x.v) continue;
    for_constants<1, kDegree + 1>([&](auto degree) {
      constexpr int l = decltype(degree)::value;
      if (l == 1 || !kShared) around = block(e, j, kShared ? 2 : kDegree + l);
      for_rows<l>([&](int64_t m) { x[m] = x[m] + around * in.x[(j * kRows + m) * d + c]; });
    });
  }
  out.put(i * (1 + kRows) * d + c, h);
  for_range<0, kRows>([&](int64_t m) { out.put((i * (1 + kRows) + 1 + m) * d + c, x[m]); });
}
template <int kDegree, class V>
BASIN_HD void gather_messages(const Graph& g, const Widths<ElementOf<V>>& s, const Arguments<V>& in,
                              const Field<ScalarOf<V>>& attention, int64_t i, int64_t c,
                              const Out<V>& out) {
  if (s.shared) {
    gather_messages_of<kDegree, true>(g, s, in, attention, i, c, out);
  } else {
    gather_messages_of<kDegree, false>(g, s, in, attention, i, c, out);
  }
}

// o-[block, c] of an edge.
template <int kDegree, bool kShared, int kBlock, class V>
BASIN_HD V message_cotangent(const Graph& g, const Arguments<V>& in, const In<V>& ct, int64_t e,
                             int64_t i, int64_t j, int64_t c) {
  constexpr int kRows = (kDegree + 1) * (kDegree + 1) - 1;
  const int64_t d = g.channels, row = i * (1 + kRows) * d + c;
  if constexpr (kBlock == 0) {
    return ct[row];
  } else {
    constexpr bool kAlong = kBlock <= (kShared ? 1 : kDegree);
    constexpr int l = kAlong ? kBlock : kBlock - kDegree;
    constexpr int kFirst = kShared ? 0 : l * l - 1, kLast = kShared ? kRows : (l + 1) * (l + 1) - 1;
    V sum{};
    if (!kAlong && !in.x.v) return sum;
    for_range<kFirst, kLast>([&](int64_t m) {
      const V up = ct[row + (1 + m) * d];
      if constexpr (kAlong) {
        sum = sum + up * in.y[e * kRows + m];
      } else {
        sum = sum + up * in.x[(j * kRows + m) * d + c];
      }
    });
    return sum;
  }
}

// f- of an edge, w- of its heads, C- and Y- where wanted.
template <int kDegree, bool kShared, class V, class Lanes>
BASIN_HD void edge_gradients_of(const Lanes& lanes, const Graph& g, const Widths<ElementOf<V>>& s,
                                const Arguments<V>& in, const Field<ScalarOf<V>>& attention,
                                const In<V>& ct, int64_t e, const Out<V>& f,
                                const Field<ScalarOf<V>>& weights, const Out<ScalarOf<V>>& cutoff,
                                const Out<ScalarOf<V>>& y) {
  constexpr int kRows = (kDegree + 1) * (kDegree + 1) - 1, kBlocks = kShared ? 3 : 1 + 2 * kDegree;
  using S = ScalarOf<V>;
  const int64_t d = g.channels, i = g.receiver[e], j = g.sender[e];
  V cut{};
  for (int64_t h = 0; h < s.heads; ++h) {
    const int64_t begin = h * s.value_head(), end = begin + s.value_head();
    V sum{};
    for_constants<0, kBlocks>([&](auto block) {  // a head's share of each block
      constexpr int b = decltype(block)::value;
      const int64_t first = begin > b * d ? begin : b * d;
      const int64_t last = end < (b + 1) * d ? end : (b + 1) * d;
      if (first >= last) return;
      lanes.each(last - first, [&](int64_t n) {
        const int64_t p = first + n;
        const V up = message_cotangent<kDegree, kShared, b>(g, in, ct, e, i, j, p - b * d);
        const V through = up * in.s[j * s.width + p];
        f.put(e * s.width + p, through * in.c[e]);
        if (cutoff.at) cut = cut + through * in.f[e * s.width + p];
        sum = sum + up * in.v[j * s.width + p];
      });
    });
    const S total = lanes.total(sum);
    if (lanes.first()) weights.put(e * s.heads + h, total);
  }
  if (!cutoff.at) return;
  const S total = lanes.total(cut);
  if (lanes.first()) cutoff.put(e, total);
  for_constants<1, kDegree + 1>([&](auto degree) {
    constexpr int l = decltype(degree)::value, kBlock = kShared ? 1 : l;
    V sums[2 * l + 1] = {};
    lanes.each(d, [&](int64_t c) {
      const int64_t p = kBlock * d + c;
      const V o = message(s, in, attention, e, j, p, static_cast<int>(p / s.value_head()));
      for_range<0, 2 * l + 1>(
          [&](int64_t m) { sums[m] = sums[m] + ct[(i * (1 + kRows) + l * l + m) * d + c] * o; });
    });
    for_range<0, 2 * l + 1>([&](int64_t m) {
      const S along = lanes.total(sums[m]);
      if (lanes.first()) y.put(e * kRows + l * l - 1 + m, along);
    });
  });
}
template <int kDegree, class V, class Lanes>
BASIN_HD void edge_gradients(const Lanes& lanes, const Graph& g, const Widths<ElementOf<V>>& s,
                             const Arguments<V>& in, const Field<ScalarOf<V>>& attention,
                             const In<V>& ct, int64_t e, const Out<V>& f,
                             const Field<ScalarOf<V>>& weights, const Out<ScalarOf<V>>& cutoff,
                             const Out<ScalarOf<V>>& y) {
  if (s.shared) {
    edge_gradients_of<kDegree, true>(lanes, g, s, in, attention, ct, e, f, weights, cutoff, y);
  } else {
    edge_gradients_of<kDegree, false>(lanes, g, s, in, attention, ct, e, f, weights, cutoff, y);
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
template <int kDegree, bool kShared, class V>
BASIN_HD void sender_gradients_of(const Graph& g, const Widths<ElementOf<V>>& s,
                                  const Arguments<V>& in, const Field<ScalarOf<V>>& attention,
                                  const Field<ScalarOf<V>>& logits, const In<V>& ct, int64_t j,
                                  int64_t c, const Out<V>& k, const Out<V>& s_out, const Out<V>& v,
                                  const Out<V>& x) {
  constexpr int kRows = (kDegree + 1) * (kDegree + 1) - 1, kBlocks = kShared ? 3 : 1 + 2 * kDegree;
  using S = ScalarOf<V>;
  const int64_t d = g.channels, h = c / s.head;
  const Heads<kBlocks> heads(s, d, c);
  V key{}, scale[kBlocks] = {}, value[kBlocks] = {}, rows[kRows] = {};
  for (int64_t n = g.sender_offsets[j]; n < g.sender_offsets[j + 1]; ++n) {
    const int64_t e = g.order[n], i = g.receiver[e];
    key = key + in.q[i * d + c] * in.a[e * d + c] * logits[e * s.heads + h];
    for_constants<0, kBlocks>([&](auto block) {
      constexpr int b = decltype(block)::value;
      const int64_t p = b * d + c, at = e * s.heads + heads.of[b];
      const V up = message_cotangent<kDegree, kShared, b>(g, in, ct, e, i, j, c);
      scale[b] = scale[b] + up * in.f[e * s.width + p] * in.c[e];
      value[b] = value[b] + up * (attention[at] * S(s.weight(at)));
    });
    if (!in.x.v) continue;
    for_constants<1, kDegree + 1>([&](auto degree) {
      constexpr int l = decltype(degree)::value, b = kShared ? 2 : kDegree + l;
      const V around = message(s, in, attention, e, j, b * d + c, heads.of[b]);
      for_rows<l>(
          [&](int64_t m) { rows[m] = rows[m] + ct[(i * (1 + kRows) + 1 + m) * d + c] * around; });
    });
  }
  k.put(j * d + c, key);
  for_range<0, kBlocks>([&](int64_t b) {
    s_out.put(j * s.width + b * d + c, scale[b]);
    v.put(j * s.width + b * d + c, value[b]);
  });
  if (!in.x.v) return;
  for_range<0, kRows>([&](int64_t m) { x.put((j * kRows + m) * d + c, rows[m]); });
}
template <int kDegree, class V>
BASIN_HD void sender_gradients(const Graph& g, const Widths<ElementOf<V>>& s,
                               const Arguments<V>& in, const Field<ScalarOf<V>>& attention,
                               const Field<ScalarOf<V>>& logits, const In<V>& ct, int64_t j,
                               int64_t c, const Out<V>& k, const Out<V>& s_out, const Out<V>& v,
                               const Out<V>& x) {
  if (s.shared) {
    sender_gradients_of<kDegree, true>(g, s, in, attention, logits, ct, j, c, k, s_out, v, x);
  } else {
    sender_gradients_of<kDegree, false>(g, s, in, attention, logits, ct, j, c, k, s_out, v, x);
  }
}

}  // namespace basin::gata
