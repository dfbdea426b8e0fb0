// Tangents of the edge convolution and of its gradient on the CPU (formulas in edge_conv.h). One
// pass over the edges gathers the tangents of v, which settles the tangents of the statistics; the
// gradient's tangent needs one more, which scatters. Sums over all points are taken in double.
#include <algorithm>
#include <cmath>

#include "basin/kernels/cpu/activation.h"
#include "basin/kernels/cpu/edge_conv_rows.h"
#include "basin/kernels/cpu/hot.h"
#include "basin/kernels/edge_conv.h"

namespace basin {
namespace {

Tensor or_zero(const Tensor& t, const Tensor& like) {
  return t.defined() ? t : Tensor::zeros(like.shape(), like.dtype());
}

// What the passes read.
template <class T>
struct Inputs {
  EdgeSizes s;
  const Tensor &index, &gamma, &var;
  const EdgeConvSaved& saved;
  EdgeChannels<T> channels;
  double eps;
  bool given_stats;
  Tensor ut, vt, gamma_t, beta_t;  // defined
  const T *u, *v;

  Inputs(const EdgeConvPoint& at, const EdgeConvTensors& t, const BnAct& how)
      : s(EdgeSizes::of(at.u, at.index)),
        index(at.index),
        gamma(at.gamma),
        var(at.var),
        saved(at.saved),
        channels(s, at.saved.centre, at.gamma),
        eps(how.eps),
        given_stats(how.given_stats),
        ut(or_zero(t.u, at.u)),
        vt(or_zero(t.v, at.v)),
        gamma_t(or_zero(t.gamma, at.gamma)),
        beta_t(or_zero(t.beta, at.gamma)),
        u(at.u.data<T>()),
        v(at.v.data<T>()) {}
  const uint8_t* argmax() const { return static_cast<const uint8_t*>(saved.argmax.raw()); }
  double mean_offset(int64_t c) const { return saved.centre.data<double>()[2 * s.channels + c]; }
};

// Rows of one cloud and slice.
template <class T>
struct Rows {
  const T *u, *v, *ut, *vt, *sums, *neighbour_sum;  // [N, C] of the cloud
  const int32_t* degree;                            // [N]
};

// Tangents at the winners and of the statistics.
struct Moved {
  Tensor zt;                                          // [B, N, C]: tangent of z at the winner
  Tensor neighbour_sum;                               // [B, N, C]: sum_q vt[j]
  Tensor mean_t, inv_std, inv_std_t, scale, scale_t;  // [C] f64; scale = gamma inv_std
};

// Values per channel in T, padded as the loops read them.
template <class T>
class Padded {
 public:
  explicit Padded(int64_t stride) : values_(Tensor::zeros({stride}, kDTypeOf<T>)) {}
  Padded(int64_t stride, const Tensor& from) : Padded(stride) {
    for (int64_t c = 0; c < from.numel(); ++c) set(c, from.data<double>()[c]);
  }
  void set(int64_t c, double value) { values_.mutable_data<T>()[c] = static_cast<T>(value); }
  const T* data() const { return values_.data<T>(); }

 private:
  Tensor values_;
};

// zt and neighbour_sum; returns the partial sums [B, 2, C] over the edges of zt and zc zt, zc =
// z - centre_u - centre_v.
template <class T>
Tensor gather_tangents(const Inputs<T>& in, Moved& m) {
  const EdgeSizes& s = in.s;
  m.zt = Tensor::empty(in.ut.shape(), kDTypeOf<T>);
  m.neighbour_sum = Tensor::empty(in.ut.shape(), kDTypeOf<T>);
  T *zt = m.zt.mutable_data<T>(), *neighbour_sum = m.neighbour_sum.mutable_data<T>();
  const T *ut = in.ut.template data<T>(), *vt = in.vt.template data<T>();
  const Tensor zero = Tensor::zeros({kEdgeWidth}, kDTypeOf<T>);
  const Tensor one = Tensor::full({kEdgeWidth}, kDTypeOf<T>, 1);
  Tensor partial = Tensor::empty({s.batch, 2, s.channels}, DType::f64);
  double* p = partial.mutable_data<double>();
  for_edge_tiles<T>(s, in.index, [&](const EdgeLoops<T>& loops, const EdgeTile& t, int64_t b) {
    Tensor scratch = Tensor::empty({s.points, loops.width}, kDTypeOf<T>);
    T* packed = scratch.template mutable_data<T>();
    const int64_t base = b * s.points * s.channels, c = t.first;
    typename EdgeLoops<T>::Tangents from{};
    from.ut = ut + base;
    if (!in.given_stats) {
      from.u = in.u + base;
      from.v = in.v + base;
      from.sums = in.saved.sums.template data<T>() + base;
      from.centre_u = in.channels.centre_u() + c;
      from.centre_v = in.channels.centre_v() + c;
      from.degree = in.saved.degree.template data<int32_t>() + b * s.points;
    }
    double first[kEdgeWidth] = {}, second[kEdgeWidth] = {};
    loops.pack(t, vt + base, zero.template data<T>(), one.template data<T>(), packed);
    loops.gather(t, from, packed, in.argmax() + base, neighbour_sum + base, zt + base, first,
                 second);
    std::copy_n(first, t.count, p + 2 * b * s.channels + c);
    std::copy_n(second, t.count, p + (2 * b + 1) * s.channels + c);
  });
  return partial;
}

template <class T>
Moved move(const Inputs<T>& in) {
  const EdgeSizes& s = in.s;
  Moved m;
  const Tensor partial = gather_tangents(in, m);
  for (Tensor* v : {&m.mean_t, &m.inv_std, &m.inv_std_t, &m.scale, &m.scale_t}) {
    *v = Tensor::zeros({s.channels}, DType::f64);
  }
  for (int64_t c = 0; c < s.channels; ++c) {
    double first = 0, second = 0;
    for (int64_t b = 0; b < s.batch && !in.given_stats; ++b) {
      first += partial.data<double>()[2 * b * s.channels + c];
      second += partial.data<double>()[(2 * b + 1) * s.channels + c];
    }
    second -= in.mean_offset(c) * first;  // now with z - mean
    const double inv = 1 / std::sqrt(static_cast<double>(in.var.template data<T>()[c]) + in.eps);
    const double inv_t = -inv * inv * inv * second / s.edges();
    const double gamma = in.gamma.template data<T>()[c];
    m.mean_t.mutable_data<double>()[c] = first / s.edges();
    m.inv_std.mutable_data<double>()[c] = inv;
    m.inv_std_t.mutable_data<double>()[c] = inv_t;
    m.scale.mutable_data<double>()[c] = gamma * inv;
    m.scale_t.mutable_data<double>()[c] = in.gamma_t.template data<T>()[c] * inv + gamma * inv_t;
  }
  return m;
}

template <class T, Act kAct>
BASIN_HOT void push_rows(const T* __restrict y, const T* __restrict winner, const T* __restrict zt,
                         const T* __restrict mean_offset, const T* __restrict mean_t,
                         const T* __restrict scale, const T* __restrict scale_t,
                         const T* __restrict beta_t, T slope, int64_t rows, int64_t n,
                         T* __restrict y_t) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < n; ++c) {
      const int64_t i = r * n + c;
      const T moved = scale_t[c] * (winner[i] - mean_offset[c]) + scale[c] * (zt[i] - mean_t[c]);
      y_t[i] = pull_activation<T, kAct>(moved + beta_t[c], kAct == Act::none ? T(0) : y[i], slope);
    }
  }
}

template <class T>
void tangent(const Inputs<T>& in, const Tensor& y, const BnAct& how, Tensor& y_t) {
  const EdgeSizes& s = in.s;
  const Moved m = move(in);
  const Padded<T> mean_t(s.channels, m.mean_t), scale(s.channels, m.scale),
      scale_t(s.channels, m.scale_t);
  const T *winner = in.saved.winner.template data<T>(), *zt = m.zt.data<T>();
  const T* py = how.act == Act::none ? winner : y.data<T>();
  T* out = y_t.mutable_data<T>();
  parallel_for(s.rows(), s.rows_per_tile(), [&](int64_t begin, int64_t end) {
    const int64_t i = begin * s.channels;
    dispatch_act(how.act, [&](auto a) {
      hot([&] {
        push_rows<T, a()>(py + i, winner + i, zt + i, in.channels.mean_offset(), mean_t.data(),
                          scale.data(), scale_t.data(), in.beta_t.template data<T>(),
                          static_cast<T>(how.slope), end - begin, s.channels, out + i);
      });
    });
  });
}

template <class T>
struct GradientRows {
  const T *y, *ct, *ct_t, *winner, *zt;             // [rows, C]
  const T *mean_offset, *mean_t, *scale, *scale_t;  // [C]
};

// g = ct act'(y), g_t = ct_t act'(y): out = scale_t g + scale g_t, and the sums over the rows of
// g, g zc, g_t and g_t zc + g zc_t, where zc = z - mean at the winner.
template <class T, Act kAct>
BASIN_HOT void pull_rows(const GradientRows<T>& in, T slope, int64_t rows, int64_t n,
                         T* __restrict out, double* __restrict sums) {
  double *g_sum = sums, *gz_sum = sums + n, *gt_sum = sums + 2 * n, *gzt_sum = sums + 3 * n;
  for (int64_t r = 0; r < rows; ++r) {
    const T *y = in.y + r * n, *ct = in.ct + r * n, *ct_t = in.ct_t + r * n;
    const T *winner = in.winner + r * n, *zt = in.zt + r * n;
    T* to = out + r * n;
    for (int64_t c = 0; c < n; ++c) {
      const T sign = kAct == Act::none ? T(0) : y[c];
      const T g = pull_activation<T, kAct>(ct[c], sign, slope);
      const T g_t = pull_activation<T, kAct>(ct_t[c], sign, slope);
      const T zc = winner[c] - in.mean_offset[c], zc_t = zt[c] - in.mean_t[c];
      to[c] = in.scale_t[c] * g + in.scale[c] * g_t;
      g_sum[c] += static_cast<double>(g);
      gz_sum[c] += static_cast<double>(g * zc);
      gt_sum[c] += static_cast<double>(g_t);
      gzt_sum[c] += static_cast<double>(g_t * zc + g * zc_t);
    }
  }
}

template <class T>
struct EdgeConstants {
  Padded<T> k2, k2_t, per_point, per_edge;
  explicit EdgeConstants(int64_t stride)
      : k2(stride), k2_t(stride), per_point(stride), per_edge(stride) {}
};

// From the four sums [4, C]: dgamma_t, dbeta_t and the constants of the sweep over the edges.
template <class T>
EdgeConstants<T> finish_channels(const Inputs<T>& in, const Moved& m, const double* sums,
                                 Tensor& dgamma_t, Tensor& dbeta_t) {
  const int64_t n = in.s.channels;
  EdgeConstants<T> k(in.channels.stride());
  for (int64_t c = 0; c < n; ++c) {
    const double g = sums[c], gz = sums[n + c], g_t = sums[2 * n + c], gz_t = sums[3 * n + c];
    const double inv = m.inv_std.data<double>()[c], inv_t = m.inv_std_t.data<double>()[c];
    const double a = m.scale.data<double>()[c], a_t = m.scale_t.data<double>()[c];
    dbeta_t.mutable_data<T>()[c] = static_cast<T>(g_t);
    dgamma_t.mutable_data<T>()[c] = static_cast<T>(inv_t * gz + inv * gz_t);
    if (in.given_stats) continue;
    const double edges = in.s.edges();
    const double k1_t = -(a_t * g + a * g_t) / edges;
    const double k2 = -a * inv * inv * gz / edges;
    const double k2_t =
        -(a_t * inv * inv * gz + 2 * a * inv * inv_t * gz + a * inv * inv * gz_t) / edges;
    const double each = k1_t - k2_t * in.mean_offset(c) - k2 * m.mean_t.data<double>()[c];
    k.k2.set(c, k2);
    k.k2_t.set(c, k2_t);
    k.per_edge.set(c, each);
    k.per_point.set(c, each * static_cast<double>(in.s.neighbours));
  }
  return k;
}

// du_t += constant + k2_t sums + k2 (k ut + neighbour_sum)
template <class T>
BASIN_HOT void finish_points(const EdgeTile& t, const Rows<T>& rows, const T* __restrict constant,
                             const T* __restrict k2, const T* __restrict k2_t, T* __restrict du) {
  const T k = static_cast<T>(t.neighbours);
  for (int64_t i = 0; i < t.points; ++i) {
    const int64_t at = i * t.channels + t.first;
    const T *ut = rows.ut + at, *sums = rows.sums + at, *neighbour_sum = rows.neighbour_sum + at;
    T* out = du + at;
    for (int64_t c = 0; c < t.count; ++c) {
      out[c] += constant[c] + k2_t[c] * sums[c] + k2[c] * (k * ut[c] + neighbour_sum[c]);
    }
  }
}

// dv_t = packed + degree (constant + k2_t (v - centre) + k2 vt)
template <class T>
BASIN_HOT void finish_neighbours(const EdgeTile& t, const Rows<T>& rows, int64_t width,
                                 const T* __restrict packed, const T* __restrict constant,
                                 const T* __restrict k2, const T* __restrict k2_t,
                                 const T* __restrict centre, T* __restrict dv) {
  for (int64_t j = 0; j < t.points; ++j) {
    const int64_t at = j * t.channels + t.first;
    const T *v = rows.v + at, *vt = rows.vt + at;
    const T degree = static_cast<T>(rows.degree[j]);
    for (int64_t c = 0; c < t.count; ++c) {
      const T each = constant[c] + k2_t[c] * (v[c] - centre[c]) + k2[c] * vt[c];
      dv[at + c] = packed[j * width + c] + degree * each;
    }
  }
}

// du_t holds (a g)_t; the sums over edges join it, and fill dv_t.
template <class T>
void sweep_edges(const Inputs<T>& in, const Moved& m, const EdgeConstants<T>& k, T* du, T* dv) {
  const EdgeSizes& s = in.s;
  const Tensor one = Tensor::full({kEdgeWidth}, kDTypeOf<T>, 1);
  const T *ut = in.ut.template data<T>(), *vt = in.vt.template data<T>();
  const T *neighbour_sum = m.neighbour_sum.data<T>(),
          *sums = in.given_stats ? neighbour_sum : in.saved.sums.template data<T>();
  for_edge_tiles<T>(s, in.index, [&](const EdgeLoops<T>& loops, const EdgeTile& t, int64_t b) {
    Tensor scratch = Tensor::empty({s.points, loops.width}, kDTypeOf<T>);
    T* packed = scratch.template mutable_data<T>();
    const int64_t base = b * s.points * s.channels, c = t.first;
    const typename EdgeLoops<T>::Sources from{du + base,
                                              in.given_stats ? nullptr : in.u + base,
                                              in.given_stats ? nullptr : ut + base,
                                              one.template data<T>(),
                                              in.channels.centre_u() + c,
                                              k.k2_t.data() + c,
                                              k.k2.data() + c};
    const Rows<T> rows{in.u + base,
                       in.v + base,
                       ut + base,
                       vt + base,
                       sums + base,
                       neighbour_sum + base,
                       in.saved.degree.template data<int32_t>() + b * s.points};
    loops.scatter(t, from, in.argmax() + base, packed);
    if (!in.given_stats) {
      hot([&] {
        finish_points<T>(t, rows, k.per_point.data() + c, k.k2.data() + c, k.k2_t.data() + c,
                         du + base);
      });
    }
    hot([&] {
      finish_neighbours<T>(t, rows, loops.width, packed, k.per_edge.data() + c, k.k2.data() + c,
                           k.k2_t.data() + c, in.channels.centre_v() + c, dv + base);
    });
  });
}

template <class T>
void backward_tangent(const Inputs<T>& in, const Tensor& y, const Tensor& ct, const Tensor& ct_t,
                      const BnAct& how, EdgeConvTensors& grads_t) {
  const EdgeSizes& s = in.s;
  const Moved m = move(in);
  const Padded<T> mean_t(s.channels, m.mean_t), scale(s.channels, m.scale),
      scale_t(s.channels, m.scale_t);
  const Tensor second = or_zero(ct_t, ct);
  const T* py = how.act == Act::none ? ct.data<T>() : y.data<T>();
  T* out = grads_t.u.mutable_data<T>();
  const Tensor sums = edge_column_sums(s, 4, [&](int64_t begin, int64_t rows, double* p) {
    const int64_t i = begin * s.channels;
    const GradientRows<T> from{py + i,
                               ct.data<T>() + i,
                               second.data<T>() + i,
                               in.saved.winner.template data<T>() + i,
                               m.zt.data<T>() + i,
                               in.channels.mean_offset(),
                               mean_t.data(),
                               scale.data(),
                               scale_t.data()};
    dispatch_act(how.act, [&](auto a) {
      hot([&] {
        pull_rows<T, a()>(from, static_cast<T>(how.slope), rows, s.channels, out + i, p);
      });
    });
  });
  const EdgeConstants<T> k =
      finish_channels(in, m, sums.data<double>(), grads_t.gamma, grads_t.beta);
  sweep_edges(in, m, k, out, grads_t.v.mutable_data<T>());
}

}  // namespace

void EdgeBnActMaxTangent::cpu(const EdgeConvPoint& at, const EdgeConvTensors& t, const BnAct& how,
                              Tensor& y_t) {
  dispatch_float(at.u.dtype(), name,
                 [&](auto zero) { tangent(Inputs<decltype(zero)>(at, t, how), at.y, how, y_t); });
}

void EdgeBnActMaxBackwardTangent::cpu(const EdgeConvPoint& at, const Tensor& ct,
                                      const EdgeConvTensors& t, const Tensor& ct_t,
                                      const BnAct& how, EdgeConvTensors& grads_t) {
  dispatch_float(at.u.dtype(), name, [&](auto zero) {
    backward_tangent(Inputs<decltype(zero)>(at, t, how), at.y, ct, ct_t, how, grads_t);
  });
}

}  // namespace basin
