// Forward pass of the edge messages: a tile of a few nodes' edges goes through all maps while it
// stays in cache, then its sums over the neighbours are written.
#include <algorithm>

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/edge_message_tile.h"
#include "basin/kernels/cpu/hot.h"

namespace basin::edge {
namespace {

// delta, s and z = p_i + r_j + s w_s of the edges of nodes [first, first + count)
template <class T>
BASIN_HOT void gather_rows(const Sizes& s, const T* __restrict w_s, const T* __restrict p,
                           const T* __restrict r, const T* __restrict x,
                           const int32_t* __restrict index, int64_t first, int64_t count,
                           T* __restrict delta, T* __restrict square, T* __restrict z) {
  const int64_t d = s.d;
  for (int64_t i = first; i < first + count; ++i) {
    const T *pi = p + i * d, *xi = x + 3 * i;
    for (int64_t q = 0; q < s.k; ++q, delta += 3, ++square, z += s.ld) {
      const int64_t j = index[i * s.k + q];
      const T* rj = r + j * d;
      for (int c = 0; c < 3; ++c) delta[c] = xi[c] - x[3 * j + c];
      const T length = delta[0] * delta[0] + delta[1] * delta[1] + delta[2] * delta[2];
      *square = length;
      for (int64_t c = 0; c < d; ++c) z[c] = pi[c] + rj[c] + length * w_s[c];
      for (int64_t c = d; c < s.ld; ++c) z[c] = T(0);
    }
  }
}

// z <- silu(z + bias), rows [n, ld]
template <bool kDivide, class T>
BASIN_HOT void silu_rows(int64_t n, int64_t ld, T limit, const T* __restrict bias,
                         T* __restrict z) {
  for (int64_t e = 0; e < n; ++e, z += ld) {
    for (int64_t c = 0; c < ld; ++c) {
      const T v = z[c] + bias[c];
      z[c] = v * sigmoid<kDivide>(v, limit);
    }
  }
}

// The same, and f = silu'.
template <bool kDivide, class T>
BASIN_HOT void silu_slope_rows(int64_t n, int64_t ld, T limit, const T* __restrict bias,
                               T* __restrict z, T* __restrict f) {
  for (int64_t e = 0; e < n; ++e, z += ld, f += ld) {
    for (int64_t c = 0; c < ld; ++c) {
      const T v = z[c] + bias[c];
      const T g = sigmoid<kDivide>(v, limit);
      z[c] = v * g;
      f[c] = g + v * g * (T(1) - g);
    }
  }
}

// The same, and h = silu''.
template <bool kDivide, class T>
BASIN_HOT void silu_slopes_rows(int64_t n, int64_t ld, T limit, const T* __restrict bias,
                                T* __restrict z, T* __restrict f, T* __restrict h) {
  for (int64_t e = 0; e < n; ++e, z += ld, f += ld, h += ld) {
    for (int64_t c = 0; c < ld; ++c) {
      const T v = z[c] + bias[c];
      const T g = sigmoid<kDivide>(v, limit), y = v * g, rest = T(1) - g;
      z[c] = y;
      f[c] = g + y * rest;
      h[c] = g * rest * (T(2) + v - 2 * y);
    }
  }
}

// gate = sigmoid(w_a . m0 + b_a), m = gate m0
template <bool kDivide, class T>
BASIN_HOT void gate_rows(int64_t n, int64_t ld, T limit, const T* __restrict w_a, T b_a,
                         const T* __restrict m0, T* __restrict gate, T* __restrict m) {
  for (int64_t e = 0; e < n; ++e) gate[e] = row_dot(w_a, m0 + e * ld, ld) + b_a;
  for (int64_t e = 0; e < n; ++e) gate[e] = sigmoid<kDivide>(gate[e], limit);
  for (int64_t e = 0; e < n; ++e) {
    for (int64_t c = 0; c < ld; ++c) m[e * ld + c] = gate[e] * m0[e * ld + c];
  }
}

template <class T>
BASIN_HOT void dot_rows(int64_t n, int64_t ld, const T* __restrict w, const T* __restrict x,
                        T* __restrict y) {
  for (int64_t e = 0; e < n; ++e) y[e] = row_dot(w, x + e * ld, ld);
}

// out row i: sum_j m
template <class T>
BASIN_HOT void sum_rows(const Sizes& s, int64_t count, const T* __restrict m, T* __restrict out) {
  const int64_t d = s.d;
  for (int64_t i = 0; i < count; ++i, out += s.width()) {
    for (int64_t c = 0; c < d; ++c) out[c] = m[c];
    m += s.ld;
    for (int64_t q = 1; q < s.k; ++q, m += s.ld) {
      for (int64_t c = 0; c < d; ++c) out[c] += m[c];
    }
  }
}

template <class T>
void activate(const Sizes& s, int64_t n, const T* bias, T* z, T* f, T* h) {
  const auto limit = static_cast<T>(s.limit);
  with_reciprocal([&](auto divide) {
    constexpr bool kDivide = divide();
    if (h) {
      hot([&] { silu_slopes_rows<kDivide>(n, s.ld, limit, bias, z, f, h); });
    } else if (f) {
      hot([&] { silu_slope_rows<kDivide>(n, s.ld, limit, bias, z, f); });
    } else {
      hot([&] { silu_rows<kDivide>(n, s.ld, limit, bias, z); });
    }
  });
}

template <class T>
void forward(const EdgeMessageTensors& in, const Tensor& index, Tensor& out) {
  const Sizes s = sizes_of<T>(in, index);
  check_index(s, index);
  const Weights<T> w(s, in);
  T* result = out.mutable_data<T>();
  parallel_for(s.rows(), kTaskNodes, [&](int64_t begin, int64_t end) {
    Scratch<T> scratch(tile_scratch<T>(s));
    const Tile<T> t = take_tile<T>(s, Slopes::none, scratch);
    for_tiles(s, begin, end, [&](int64_t cloud, int64_t first, int64_t count) {
      forward_tile<T>(s, w, NodeRows<T>(s, in, cloud),
                      index.data<int32_t>() + cloud * s.nodes * s.k, first, count, t);
      T* at = result + (cloud * s.nodes + first) * s.width();
      sum_messages(s, count, t.m, at);
      if (s.moves) sum_shifts(s, count, t.delta, t.phi, T(0), at);
    });
  });
}

}  // namespace

template <class T>
void forward_tile(const Sizes& s, const Weights<T>& w, const NodeRows<T>& rows,
                  const int32_t* index, int64_t first, int64_t count, const Tile<T>& t) {
  const int64_t n = count * s.k;
  hot([&] {
    gather_rows(s, w.w_s, rows.p, rows.r, rows.x, index, first, count, t.delta, t.s, t.e1);
  });
  activate(s, n, w.zero, t.e1, t.f1, t.h1);
  multiply(s, n, t.e1, w.w2, T(0), t.m0);
  activate(s, n, w.b2, t.m0, t.f2, t.h2);
  const auto limit = static_cast<T>(s.limit);
  if (s.attention) {
    with_reciprocal([&](auto divide) {
      constexpr bool kDivide = divide();
      hot([&] { gate_rows<kDivide>(n, s.ld, limit, w.w_a, w.b_a, t.m0, t.gate, t.m); });
    });
  }
  if (!s.moves) return;
  multiply(s, n, t.m, w.w_c, T(0), t.e3);
  activate(s, n, w.b_c, t.e3, t.f3, t.h3);
  hot([&] { dot_rows(n, s.ld, w.w_x, t.e3, t.phi); });
}

template <class T>
void sum_messages(const Sizes& s, int64_t count, const T* m, T* out) {
  hot([&] { sum_rows(s, count, m, out); });
}

template <class T>
void sum_shifts(const Sizes& s, int64_t count, const T* delta, const T* phi, T beta, T* out) {
  for (int64_t i = 0; i < count; ++i, out += s.width()) {
    T shift[3] = {};
    for (int64_t q = 0; q < s.k; ++q, delta += 3, ++phi) {
      for (int c = 0; c < 3; ++c) shift[c] += delta[c] * *phi;
    }
    for (int c = 0; c < 3; ++c) {
      T* to = out + s.d + c;
      *to = shift[c] / static_cast<T>(s.k) + (beta == T(0) ? T(0) : beta * *to);
    }
  }
}

#define BASIN_EDGE_INSTANTIATE(T)                                                                 \
  template void forward_tile(const Sizes&, const Weights<T>&, const NodeRows<T>&, const int32_t*, \
                             int64_t, int64_t, const Tile<T>&);                                   \
  template void sum_messages(const Sizes&, int64_t, const T*, T*);                                \
  template void sum_shifts(const Sizes&, int64_t, const T*, const T*, T, T*);
BASIN_EDGE_INSTANTIATE(float)
BASIN_EDGE_INSTANTIATE(double)
#undef BASIN_EDGE_INSTANTIATE

}  // namespace basin::edge

namespace basin {

void EdgeMessage::cpu(const EdgeMessageTensors& in, const MessageEdges& edges, Tensor& out) {
  if (out.dtype() == DType::f32) {
    edge::forward<float>(in, edges.index, out);
  } else {
    edge::forward<double>(in, edges.index, out);
  }
}

}  // namespace basin
