// Tangent of the forward pass of the edge messages, x. that of x, given the values of a tile:
//   z1. = p_i. + r_j. + s. w_s + s w_s.,   s. = 2 delta . delta.,   e. = silu'(z) z.,
//   z2. = e1. W2^T + e1 W2.^T + b2.,       gate. = a (1 - a) (w_a. . m0 + w_a . m0. + b_a.),
//   M_i. = sum_j m.,                       D_i. = mean_j (delta. phi + delta phi.).
// For the tangent of the VJP the tile also keeps silu'(z). = silu''(z) z. . Several tangents share
// the values of a tile while these are in the cache.
#include "basin/core/parallel.h"
#include "basin/kernels/cpu/edge_message_tile.h"
#include "basin/kernels/cpu/hot.h"

namespace basin::edge {
namespace {

// Rows that may be absent: then one row of zeros, again and again.
template <class T>
struct Rows {
  const T* data;
  int64_t stride;
};

template <class T>
BASIN_HOT void gather_tangents(const Sizes& s, const T* __restrict w_s, const T* __restrict w_s_t,
                               Rows<T> p, Rows<T> r, Rows<T> x, const int32_t* __restrict index,
                               int64_t first, int64_t count, const T* __restrict delta,
                               const T* __restrict square, T* __restrict delta_t,
                               T* __restrict square_t, T* __restrict z) {
  const int64_t d = s.d;
  for (int64_t i = first; i < first + count; ++i) {
    const T *pi = p.data + i * p.stride, *xi = x.data + i * x.stride;
    for (int64_t q = 0; q < s.k; ++q, delta += 3, delta_t += 3, z += s.ld) {
      const int64_t j = index[i * s.k + q];
      const T *rj = r.data + j * r.stride, *xj = x.data + j * x.stride;
      T half = 0;
      for (int c = 0; c < 3; ++c) {
        delta_t[c] = xi[c] - xj[c];
        half += delta[c] * delta_t[c];
      }
      const T length = *square++, length_t = 2 * half;
      *square_t++ = length_t;
      for (int64_t c = 0; c < d; ++c) z[c] = pi[c] + rj[c] + length_t * w_s[c] + length * w_s_t[c];
      for (int64_t c = d; c < s.ld; ++c) z[c] = T(0);
    }
  }
}

// z_t <- f (z_t + bias_t), the tangent of silu(z + bias)
template <class T>
BASIN_HOT void tangent_rows(int64_t n, int64_t ld, const T* __restrict bias_t,
                            const T* __restrict f, T* __restrict z_t) {
  for (int64_t e = 0; e < n; ++e, f += ld, z_t += ld) {
    for (int64_t c = 0; c < ld; ++c) z_t[c] = f[c] * (z_t[c] + bias_t[c]);
  }
}

// The same, and f_t = h (z_t + bias_t), the tangent of silu'.
template <class T>
BASIN_HOT void tangent_slope_rows(int64_t n, int64_t ld, const T* __restrict bias_t,
                                  const T* __restrict f, const T* __restrict h, T* __restrict z_t,
                                  T* __restrict f_t) {
  for (int64_t e = 0; e < n; ++e, f += ld, h += ld, z_t += ld, f_t += ld) {
    for (int64_t c = 0; c < ld; ++c) {
      const T v_t = z_t[c] + bias_t[c];
      z_t[c] = f[c] * v_t;
      f_t[c] = h[c] * v_t;
    }
  }
}

template <class T>
BASIN_HOT void gate_rows(int64_t n, int64_t ld, const Weights<T>& w, const Weights<T>& w_t,
                         const Tile<T>& t, const Tile<T>& t_t) {
  for (int64_t e = 0; e < n; ++e) {
    const T *m0 = t.m0 + e * ld, *m0_t = t_t.m0 + e * ld;
    const T a = t.gate[e];
    const T a_t = a * (T(1) - a) * (row_dot(w_t.w_a, m0, ld) + row_dot(w.w_a, m0_t, ld) + w_t.b_a);
    t_t.gate[e] = a_t;
    T* __restrict m_t = t_t.m + e * ld;
    for (int64_t c = 0; c < ld; ++c) m_t[c] = a_t * m0[c] + a * m0_t[c];
  }
}

// y_t = w_t . x + w . x_t by rows
template <class T>
BASIN_HOT void dot_rows(int64_t n, int64_t ld, const T* __restrict w, const T* __restrict w_t,
                        const T* __restrict x, const T* __restrict x_t, T* __restrict y_t) {
  for (int64_t e = 0; e < n; ++e, x += ld, x_t += ld) {
    y_t[e] = row_dot(w_t, x, ld) + row_dot(w, x_t, ld);
  }
}

template <class T>
void activate(const Sizes& s, int64_t n, const T* bias_t, const T* f, const T* h, T* z_t, T* f_t) {
  if (f_t) {
    hot([&] { tangent_slope_rows(n, s.ld, bias_t, f, h, z_t, f_t); });
  } else {
    hot([&] { tangent_rows(n, s.ld, bias_t, f, z_t); });
  }
}

template <class T>
void tangent(const EdgeMessageTensors& in, const Tensor& index,
             std::span<const EdgeMessageTensors> tangents, Tensor* value, std::span<Tensor> out) {
  const Sizes s = sizes_of<T>(in, index);
  check_index(s, index);
  const Weights<T> w(s, in);
  std::vector<Weights<T>> w_t;
  std::vector<T*> results;
  for (const EdgeMessageTensors& t : tangents) w_t.emplace_back(s, t);
  for (Tensor& t : out) results.push_back(t.mutable_data<T>());
  T* values = value ? value->mutable_data<T>() : nullptr;
  parallel_for(s.rows(), kTaskNodes, [&](int64_t begin, int64_t end) {
    Scratch<T> scratch(2 * tile_scratch<T>(s));
    const Tile<T> t = take_tile<T>(s, Slopes::first, scratch);
    const Tile<T> t_t = take_tile<T>(s, Slopes::none, scratch);
    for_tiles(s, begin, end, [&](int64_t cloud, int64_t first, int64_t count) {
      const int32_t* edges = index.data<int32_t>() + cloud * s.nodes * s.k;
      const int64_t at = (cloud * s.nodes + first) * s.width();
      forward_tile<T>(s, w, NodeRows<T>(s, in, cloud), edges, first, count, t);
      if (values) {
        sum_messages(s, count, t.m, values + at);
        if (s.moves) sum_shifts(s, count, t.delta, t.phi, T(0), values + at);
      }
      for (size_t lane = 0; lane < w_t.size(); ++lane) {
        tangent_tile<T>(s, w, w_t[lane], NodeRows<T>(s, tangents[lane], cloud), edges, first, count,
                        t, t_t);
        T* row = results[lane] + at;
        sum_messages(s, count, t_t.m, row);
        if (!s.moves) continue;
        sum_shifts(s, count, t_t.delta, t.phi, T(0), row);
        sum_shifts(s, count, t.delta, t_t.phi, T(1), row);
      }
    });
  });
}

// y_t = x_t W^T + x W_t^T
template <class T>
void multiply_tangent(const Sizes& s, int64_t n, const T* x, const T* x_t, const Panels<T>& w,
                      const Panels<T>& w_t, T* y_t) {
  multiply(s, n, x_t, w, T(0), y_t);
  if (w_t) multiply(s, n, x, w_t, T(1), y_t);
}

}  // namespace

template <class T>
void tangent_tile(const Sizes& s, const Weights<T>& w, const Weights<T>& w_t,
                  const NodeRows<T>& rows_t, const int32_t* index, int64_t first, int64_t count,
                  const Tile<T>& t, const Tile<T>& t_t) {
  const int64_t n = count * s.k;
  const auto or_zero = [&](const T* data, int64_t stride) {
    return data ? Rows<T>{data, stride} : Rows<T>{w.zero, 0};
  };
  hot([&] {
    gather_tangents(s, w.w_s, w_t.w_s, or_zero(rows_t.p, s.d), or_zero(rows_t.r, s.d),
                    or_zero(rows_t.x, 3), index, first, count, t.delta, t.s, t_t.delta, t_t.s,
                    t_t.e1);
  });
  activate(s, n, w.zero, t.f1, t.h1, t_t.e1, t_t.f1);
  multiply_tangent(s, n, t.e1, t_t.e1, w.w2, w_t.w2, t_t.m0);
  activate(s, n, w_t.b2, t.f2, t.h2, t_t.m0, t_t.f2);
  if (s.attention) hot([&] { gate_rows(n, s.ld, w, w_t, t, t_t); });
  if (!s.moves) return;
  multiply_tangent(s, n, t.m, t_t.m, w.w_c, w_t.w_c, t_t.e3);
  activate(s, n, w_t.b_c, t.f3, t.h3, t_t.e3, t_t.f3);
  hot([&] { dot_rows(n, s.ld, w.w_x, w_t.w_x, t.e3, t_t.e3, t_t.phi); });
}

template void tangent_tile(const Sizes&, const Weights<float>&, const Weights<float>&,
                           const NodeRows<float>&, const int32_t*, int64_t, int64_t,
                           const Tile<float>&, const Tile<float>&);
template void tangent_tile(const Sizes&, const Weights<double>&, const Weights<double>&,
                           const NodeRows<double>&, const int32_t*, int64_t, int64_t,
                           const Tile<double>&, const Tile<double>&);

}  // namespace basin::edge

namespace basin {

void EdgeMessageJvp::cpu(const EdgeMessageTensors& in, const MessageEdges& edges,
                         std::span<const EdgeMessageTensors> tangents, Tensor* value,
                         std::span<Tensor> out) {
  if (in.p.dtype() == DType::f32) {
    edge::tangent<float>(in, edges.index, tangents, value, out);
  } else {
    edge::tangent<double>(in, edges.index, tangents, value, out);
  }
}

}  // namespace basin
