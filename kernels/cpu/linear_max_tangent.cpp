// Tangents of linear + batch norm + activation + max and of its derivative on the CPU (formulas in
// linear_max.h). Everything is taken at the arg-max rows, from the moments of x, and from one cross
// covariance of x with its tangent: nothing of size B * N * Cout, as in the first order.
#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/activation.h"
#include "basin/kernels/cpu/linear_mean.h"
#include "basin/kernels/cpu/linear_moments.h"
#include "basin/kernels/gemm.h"

namespace basin {
namespace {

constexpr int64_t kRowTile = 512;     // rows of t_dx made together
constexpr int64_t kChannelTile = 16;  // channels made together

// What both tangents need. Pooled values are of the winning row n = argmax[b, c].
template <class T>
struct Pushed {
  int64_t batch, points, in, out;
  bool given;
  const T *x, *w, *bias, *gamma, *mean, *var;
  const T *t_x, *t_w, *t_bias, *t_gamma;
  const int32_t* argmax;
  double eps;
  Tensor w_spread;               // [Cout, Cin] f64: w S, training only
  LinearMaxPushed shared;        // with this direction's tensors
  std::optional<Slopes> slopes;  // of the mean

  int64_t rows() const { return batch * points; }
  const T* centre() const { return shared.centres.template data<T>(); }
  const T* t_centre() const { return centre() + in; }
  double slant(int64_t c) const { return shared.slant.template data<double>()[c]; }
  double inv_std(int64_t c) const { return 1 / std::sqrt(static_cast<double>(var[c]) + eps); }
  int64_t winner(int64_t b, int64_t c) const { return (b * points + argmax[b * out + c]) * in; }
};

// D + D^T, [Cin, Cin].
Tensor symmetric_part(const Tensor& cross, int64_t n) {
  Tensor sum = Tensor::empty({n, n}, DType::f64);
  const double* d = cross.data<double>() + n;
  double* p = sum.mutable_data<double>();
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) p[i * n + j] = d[i * n + j] + d[j * n + i];
  }
  return sum;
}

template <class T>
void push_statistics(Pushed<T>& p, const LinearMaxPoint& at, const LinearMaxTensors& t) {
  LinearMaxPushed& shared = p.shared;
  shared.centres = Tensor::zeros({2, p.in}, kDTypeOf<T>);
  shared.slant = Tensor::zeros({p.out}, DType::f64);
  if (p.given) return;
  const Tensor moments = moments_of<T>(at);
  Tensor cross = Tensor::empty({1 + p.in, p.in}, DType::f64);  // mean of t_x, D (linear_max.h)
  row_cross_moments<T>(p.x, p.t_x, p.rows(), p.in, cross.mutable_data<double>());
  T* centre = shared.centres.template mutable_data<T>();
  for (int64_t i = 0; i < p.in; ++i) {
    centre[i] = static_cast<T>(moments.data<double>()[i]);
    centre[p.in + i] = static_cast<T>(cross.data<double>()[i]);
  }
  p.w_spread = spread_of(at, moments);
  shared.t_spread = Tensor::empty({p.out, p.in}, DType::f64);
  wide_product(t.w, moments.data<double>() + p.in, shared.t_spread);
  wide_product(at.w, symmetric_part(cross, p.in).template data<double>(), shared.t_spread, 1);
  // r = s (w S t_w^T + w D w^T), of which w (t_w S + w (D + D^T))^T has the first once
  double* r = shared.slant.template mutable_data<double>();
  for (int64_t c = 0; c < p.out; ++c) {
    const int64_t row = c * p.in;
    r[c] = 0.5 * p.inv_std(c) *
           (dot(p.t_w + row, p.w_spread.template data<double>() + row, p.in) +
            dot(p.w + row, shared.t_spread.template data<double>() + row, p.in));
  }
}

template <class T>
void push_winners(Pushed<T>& p) {
  p.shared.zhat = Tensor::empty({p.batch, p.out}, DType::f64);
  p.shared.t_zhat = Tensor::empty({p.batch, p.out}, DType::f64);
  double* zhat = p.shared.zhat.template mutable_data<double>();
  double* t_zhat = p.shared.t_zhat.template mutable_data<double>();
  parallel_for(p.out, kChannelTile, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      const T *w = p.w + c * p.in, *t_w = p.t_w + c * p.in;
      const double s = p.inv_std(c);
      const double offset = p.given ? static_cast<double>(p.bias[c]) - p.mean[c] : 0;
      const double t_offset = p.given ? p.t_bias[c] : T(0);
      for (int64_t b = 0; b < p.batch; ++b) {
        const T *x = p.x + p.winner(b, c), *t_x = p.t_x + p.winner(b, c);
        const double z = dot_centred<T>(x, p.centre(), w, p.in) + offset;
        const double t_z = dot_centred<T>(t_x, p.t_centre(), w, p.in) +
                           dot_centred<T>(x, p.centre(), t_w, p.in) + t_offset;
        zhat[b * p.out + c] = s * z;
        t_zhat[b * p.out + c] = s * (t_z - p.slant(c) * s * z);
      }
    }
  });
}

template <class T>
Pushed<T> push(const LinearMaxPoint& in, const LinearMaxTensors& t, const BnAct& how,
               LinearMaxPushed* pushed) {
  Pushed<T> p;
  p.batch = in.x.size(0);
  p.points = in.x.size(1);
  p.in = in.x.size(2);
  p.out = in.w.size(0);
  p.given = how.given_stats;
  p.x = in.x.data<T>();
  p.w = in.w.data<T>();
  p.bias = in.bias.data<T>();
  p.gamma = in.gamma.data<T>();
  p.mean = in.mean.data<T>();
  p.var = in.var.data<T>();
  p.argmax = in.argmax.data<int32_t>();
  p.t_x = t.x.data<T>();
  p.t_w = t.w.data<T>();
  p.t_bias = t.bias.data<T>();
  p.t_gamma = t.gamma.data<T>();
  p.eps = how.eps;
  if (pushed) p.shared = *pushed;
  if (!p.shared.zhat.defined()) {
    push_statistics<T>(p, in, t);
    push_winners<T>(p);
  } else if (!p.given) {
    p.w_spread = spread_of(in, moments_of<T>(in));
  }
  if (in.kept.active.defined()) {
    p.slopes = slopes_of(in, how);
    if (!p.shared.sums.defined()) p.shared.sums = slope_products<T>(*p.slopes, p.x, p.centre());
    if (!p.shared.t_sums.defined()) {
      p.shared.t_sums = slope_products<T>(*p.slopes, p.t_x, p.t_centre());
    }
  }
  if (pushed) *pushed = p.shared;
  return p;
}

// The coefficients of the derivative and their tangents, per channel; g, t_g [B, Cout] f64.
struct Coefficients {
  Tensor g, t_g;
  Tensor h, t_h;  // of the mean; undefined without it
  Tensor rows;    // [6, Cout] f64: a, t_a, k1, t_k1, k2, t_k2
  double* row(int i) { return rows.mutable_data<double>() + i * rows.size(1); }
  const double* row(int i) const { return rows.data<double>() + i * rows.size(1); }
};

// Sums over the batch of what the mean adds, with U of linear_max.h, U' its tangent along t_x.
struct MeanSums {
  Tensor products;  // [3, Cout, Cin] f64: of h U, t_h U and h U'
  Tensor counts;    // [2, Cout] f64: of h Q and t_h Q
  const double* product(int i) const {
    return products.data<double>() + i * (products.numel() / 3);
  }
  const double* count(int i) const { return counts.data<double>() + i * counts.size(1); }
};

template <class T>
MeanSums mean_sums(const Pushed<T>& p, const Coefficients& k) {
  MeanSums sums{Tensor::zeros({3, p.out, p.in}, DType::f64), Tensor::zeros({2, p.out}, DType::f64)};
  double* products = sums.products.mutable_data<double>();
  const int64_t size = p.out * p.in;
  const double *h = k.h.data<double>(), *t_h = k.t_h.data<double>();
  add_weighted<T>(p.shared.sums, {{h, products}, {t_h, products + size}});
  add_weighted<T>(p.shared.t_sums, {{h, products + 2 * size}});
  const Tensor slopes = slope_sums(*p.slopes);
  double* counts = sums.counts.mutable_data<double>();
  for (int64_t i = 0; i < p.batch * p.out; ++i) {
    counts[i % p.out] += h[i] * slopes.data<double>()[i];
    counts[p.out + i % p.out] += t_h[i] * slopes.data<double>()[i];
  }
  return sums;
}

// Of channel c: sums over the batch of g and t_g, of g zhat and of its tangent.
struct ChannelSums {
  double g = 0, t_g = 0, gz = 0, t_gz = 0;
};

template <class T>
ChannelSums channel_sums(const Pushed<T>& p, const Coefficients& k, const MeanSums* mean,
                         int64_t c) {
  const double *g = k.g.data<double>(), *t_g = k.t_g.data<double>();
  const double *zhat = p.shared.zhat.template data<double>(),
               *t_zhat = p.shared.t_zhat.template data<double>();
  ChannelSums sums;
  for (int64_t b = 0; b < p.batch; ++b) {
    const int64_t i = b * p.out + c;
    sums.g += g[i];
    sums.t_g += t_g[i];
    sums.gz += g[i] * zhat[i];
    sums.t_gz += t_g[i] * zhat[i] + g[i] * t_zhat[i];
  }
  if (!mean) return sums;
  const double s = p.inv_std(c), r = p.slant(c);
  const double offset = p.given ? static_cast<double>(p.bias[c]) - p.mean[c] : 0;
  const double t_offset = p.given ? p.t_bias[c] : T(0);
  const double q = mean->count(0)[c], t_q = mean->count(1)[c];
  const T *w = p.w + c * p.in, *t_w = p.t_w + c * p.in;
  const auto product = [&](const T* row, int i) {
    return dot(row, mean->product(i) + c * p.in, p.in);
  };
  const double hz = s * (product(w, 0) + offset * q);
  sums.g += q;
  sums.t_g += t_q;
  sums.gz += hz;
  sums.t_gz += s * (product(w, 1) + offset * t_q + product(w, 2) + product(t_w, 0) + t_offset * q) -
               s * r * hz;
  return sums;
}

template <class T>
Coefficients pulled(const Pushed<T>& p, const Tensor& y, const Tensor& ct, const Tensor& t_ct,
                    Act act, double slope) {
  const Shape pooled{p.batch, p.out};
  Coefficients k{Tensor::empty(pooled, DType::f64),
                 Tensor::empty(pooled, DType::f64),
                 {},
                 {},
                 Tensor::zeros({6, p.out}, DType::f64)};
  double *g = k.g.mutable_data<double>(), *t_g = k.t_g.mutable_data<double>();
  const T *pct = ct.data<T>(), *pt = t_ct.data<T>(), *py = act == Act::none ? pct : y.data<T>();
  const int64_t stride = ct.size(1);  // the mean may stand behind the maximum
  dispatch_act(act, [&](auto a) {
    for (int64_t i = 0; i < p.batch * p.out; ++i) {
      const int64_t from = i / p.out * stride + i % p.out;
      g[i] = pull_activation<double, a()>(pct[from], py[from], slope);
      t_g[i] = pull_activation<double, a()>(pt[from], py[from], slope);
    }
  });
  if (p.slopes) {
    k.h = mean_cotangents<T>(*p.slopes, ct);
    k.t_h = mean_cotangents<T>(*p.slopes, t_ct);
  }
  return k;
}

template <class T>
void fill_rows(const Pushed<T>& p, const MeanSums* mean, Coefficients& k, T* t_dgamma, T* t_dbeta) {
  const auto rows = static_cast<double>(p.rows());
  for (int64_t c = 0; c < p.out; ++c) {
    const ChannelSums sums = channel_sums<T>(p, k, mean, c);
    t_dgamma[c] = static_cast<T>(sums.t_gz);
    t_dbeta[c] = static_cast<T>(sums.t_g);
    const double s = p.inv_std(c), t_s = -s * s * p.slant(c);
    const double a = p.gamma[c] * s, t_a = p.t_gamma[c] * s + p.gamma[c] * t_s;
    k.row(0)[c] = a;
    k.row(1)[c] = t_a;
    if (p.given) continue;
    k.row(2)[c] = -a * sums.g / rows;
    k.row(3)[c] = -(t_a * sums.g + a * sums.t_g) / rows;
    k.row(4)[c] = -a * s * sums.gz / rows;
    k.row(5)[c] = -(t_a * s * sums.gz + a * t_s * sums.gz + a * s * sums.t_gz) / rows;
  }
}

// t_dw and t_dbias.
template <class T>
void push_weights(const Pushed<T>& p, const Coefficients& k, const MeanSums* mean, Tensor& t_dw,
                  Tensor& t_dbias) {
  const double *g = k.g.data<double>(), *t_g = k.t_g.data<double>();
  T *out = t_dw.mutable_data<T>(), *bias = t_dbias.mutable_data<T>();
  parallel_for(p.out, kChannelTile, [&](int64_t begin, int64_t end) {
    Tensor scratch = Tensor::empty({p.in}, DType::f64);
    double* sum = scratch.mutable_data<double>();
    for (int64_t c = begin; c < end; ++c) {
      const double a = k.row(0)[c], t_a = k.row(1)[c];
      std::fill(sum, sum + p.in, 0.0);
      double offset = 0;
      for (int64_t b = 0; b < p.batch; ++b) {
        const int64_t i = b * p.out + c, at = p.winner(b, c);
        add_centred<T>(t_a * g[i] + a * t_g[i], p.x + at, p.centre(), p.in, sum);
        add_centred<T>(a * g[i], p.t_x + at, p.t_centre(), p.in, sum);
        offset += t_a * g[i] + a * t_g[i];
      }
      if (mean) {
        const int64_t at = c * p.in;
        add_scaled<double, double>(t_a, mean->product(0) + at, p.in, sum);
        add_scaled<double, double>(a, mean->product(1) + at, p.in, sum);
        add_scaled<double, double>(a, mean->product(2) + at, p.in, sum);
        offset += t_a * mean->count(0)[c] + a * mean->count(1)[c];
      }
      if (!p.given) {
        const auto rows = static_cast<double>(p.rows());
        const int64_t at = c * p.in;
        add_scaled<double, double>(rows * k.row(5)[c], p.w_spread.template data<double>() + at,
                                   p.in, sum);
        add_scaled<double, double>(rows * k.row(4)[c],
                                   p.shared.t_spread.template data<double>() + at, p.in, sum);
      }
      for (int64_t i = 0; i < p.in; ++i) out[c * p.in + i] = static_cast<T>(sum[i]);
      bias[c] = p.given ? static_cast<T>(offset) : T(0);
    }
  });
}

// The dense part of t_dx is [x - mu, t_x - mean t_x] E plus a row: the 2 Cin rows of E are the
// tangent of w^T diag(k2) w, then w^T diag(k2) w itself; behind them the row, that of w^T k1.
template <class T>
Tensor dense_part(const Pushed<T>& p, const Coefficients& k) {
  const int64_t n = p.in;
  Tensor constant = Tensor::zeros({n}, DType::f64);
  double* pc = constant.mutable_data<double>();
  Tensor scaled = Tensor::empty({3, p.out, n}, kDTypeOf<T>);  // k2 w, t_k2 w + k2 t_w, k2 w
  T *slopes = scaled.mutable_data<T>(), *t_slopes = slopes + p.out * n;
  for (int64_t c = 0; c < p.out; ++c) {
    const T *w = p.w + c * n, *t_w = p.t_w + c * n;
    add_scaled<T, double>(k.row(3)[c], w, n, pc);
    add_scaled<T, double>(k.row(2)[c], t_w, n, pc);
    const T k2 = static_cast<T>(k.row(4)[c]), t_k2 = static_cast<T>(k.row(5)[c]);
    for (int64_t i = 0; i < n; ++i) {
      slopes[c * n + i] = k2 * w[i];
      t_slopes[c * n + i] = t_k2 * w[i] + k2 * t_w[i];
    }
  }
  Tensor dense = Tensor::empty({2 * n + 1, n}, kDTypeOf<T>);
  T* e = dense.mutable_data<T>();
  gemm<T>(true, false, n, n, p.out, T(1), p.w, n, t_slopes, n, T(0), e, n);
  gemm<T>(true, false, n, n, p.out, T(1), p.t_w, n, slopes, n, T(1), e, n);
  gemm<T>(true, false, n, n, p.out, T(1), p.w, n, slopes, n, T(0), e + n * n, n);
  for (int64_t i = 0; i < n; ++i) e[2 * n * n + i] = static_cast<T>(pc[i]);
  return dense;
}

// t_dx of rows [begin, end) of cloud b: dense part first, then the mean's, null without it, then
// the winning rows in channel order.
template <class T>
void push_points(const Pushed<T>& p, const Tensor& dense, const SlopeRows<T>* slopes,
                 const Tensor& sparse, int64_t b, int64_t begin, int64_t end, T* t_dx) {
  const int64_t n = p.in, offset = (b * p.points + begin) * n, count = end - begin;
  if (p.given) {
    std::fill(t_dx + offset, t_dx + offset + count * n, T(0));
  } else {
    const int64_t ld = 2 * n;
    Tensor scratch = Tensor::empty({count, ld}, kDTypeOf<T>);
    T* rows = scratch.mutable_data<T>();
    centre_rows<T>(p.x + offset, p.centre(), count, n, rows, ld);
    centre_rows<T>(p.t_x + offset, p.t_centre(), count, n, rows + n, ld);
    const T* matrix = dense.template data<T>();
    gemm_serial<T>(false, false, count, n, ld, T(1), rows, ld, matrix, n, T(1), t_dx + offset, n,
                   {matrix + ld * n, 0});
  }
  if (slopes) slopes->add(b, begin, end, t_dx + offset);
  const T *on_w = sparse.template data<T>(), *on_t_w = on_w + p.batch * p.out;
  for (int64_t c = 0; c < p.out; ++c) {
    const int64_t row = p.argmax[b * p.out + c], i = b * p.out + c;
    if (row < begin || row >= end) continue;
    add_scaled<T, T>(on_w[i], p.w + c * n, n, t_dx + p.winner(b, c));
    add_scaled<T, T>(on_t_w[i], p.t_w + c * n, n, t_dx + p.winner(b, c));
  }
}

template <class T>
void push_inputs(const Pushed<T>& p, const Coefficients& k, Tensor& t_dx) {
  const Tensor dense = p.given ? Tensor() : dense_part<T>(p, k);
  const int64_t pooled = p.batch * p.out;
  const auto tangents = [&](const Tensor& g, const Tensor& t_g) {  // t_a g + a t_g, a g
    Tensor both = Tensor::empty({2, p.batch, p.out}, kDTypeOf<T>);
    T* to = both.mutable_data<T>();
    for (int64_t i = 0; i < pooled; ++i) {
      const double a = k.row(0)[i % p.out], t_a = k.row(1)[i % p.out];
      to[i] = static_cast<T>(t_a * g.data<double>()[i] + a * t_g.data<double>()[i]);
      to[pooled + i] = static_cast<T>(a * g.data<double>()[i]);
    }
    return both;
  };
  const Tensor sparse = tangents(k.g, k.t_g);
  Tensor of_mean;
  std::optional<SlopeRows<T>> slopes;
  if (p.slopes) {
    of_mean = tangents(k.h, k.t_h);
    const T* coefficient = of_mean.data<T>();
    slopes.emplace(*p.slopes,
                   std::vector<SlopeTerm<T>>{{coefficient, p.w}, {coefficient + pooled, p.t_w}});
  }
  T* out = t_dx.mutable_data<T>();
  const int64_t per_cloud = tile_count(p.points, kRowTile);
  parallel_tiles(p.batch * per_cloud, [&](int64_t tile) {
    const int64_t b = tile / per_cloud, begin = tile % per_cloud * kRowTile;
    push_points<T>(p, dense, slopes ? &*slopes : nullptr, sparse, b, begin,
                   std::min(p.points, begin + kRowTile), out);
  });
}

// The tangent of the mean, into out [B, 2 Cout].
template <class T>
void push_mean(const Pushed<T>& p, const T* t_beta, T* out) {
  const Tensor slopes = slope_sums(*p.slopes);
  for (int64_t i = 0; i < p.batch * p.out; ++i) {
    const int64_t c = i % p.out;
    const double s = p.inv_std(c), q = slopes.data<double>()[i];
    const double offset = p.given ? static_cast<double>(p.bias[c]) - p.mean[c] : 0;
    const double t_offset = p.given ? p.t_bias[c] : T(0);
    const T* u = p.shared.sums.template data<T>() + i * p.in;
    const T *t_u = p.shared.t_sums.template data<T>() + i * p.in, *w = p.w + c * p.in;
    const double z = dot(w, u, p.in);
    const double t_z = dot(w, t_u, p.in) + dot(p.t_w + c * p.in, u, p.in);
    const double zhat = s * (z + offset * q);
    const double t_zhat = s * (t_z + t_offset * q - p.slant(c) * zhat);
    const double sum = p.t_gamma[c] * zhat + p.gamma[c] * t_zhat + t_beta[c] * q;
    out[i / p.out * 2 * p.out + p.out + c] = static_cast<T>(sum / static_cast<double>(p.points));
  }
}

template <class T>
void tangent(const LinearMaxPoint& in, const LinearMaxTensors& t, const BnAct& how, Tensor& t_y,
             LinearMaxPushed* pushed) {
  const Pushed<T> p = push<T>(in, t, how, pushed);
  const double *zhat = p.shared.zhat.template data<double>(),
               *t_zhat = p.shared.t_zhat.template data<double>();
  T* out = t_y.mutable_data<T>();
  const T *py = how.act == Act::none ? out : in.y.data<T>(), *pb = t.beta.data<T>();
  const double slope = how.slope;
  const int64_t stride = t_y.size(1);  // the mean may stand behind the maximum
  dispatch_act(how.act, [&](auto a) {
    for (int64_t i = 0; i < p.batch * p.out; ++i) {
      const int64_t c = i % p.out, to = i / p.out * stride + c;
      const double t_z = p.t_gamma[c] * zhat[i] + p.gamma[c] * t_zhat[i] + pb[c];
      const double sign = a() == Act::none ? 0.0 : static_cast<double>(py[to]);
      out[to] = static_cast<T>(pull_activation<double, a()>(t_z, sign, slope));
    }
  });
  if (p.slopes) push_mean<T>(p, pb, out);
}

template <class T>
void backward_tangent(const LinearMaxPoint& in, const Tensor& ct, const LinearMaxTensors& t,
                      const Tensor& t_ct, const BnAct& how, LinearMaxTensors& out,
                      LinearMaxPushed* pushed) {
  const Pushed<T> p = push<T>(in, t, how, pushed);
  Coefficients k = pulled<T>(p, in.y, ct, t_ct, how.act, how.slope);
  std::optional<MeanSums> mean;
  if (p.slopes) mean = mean_sums<T>(p, k);
  const MeanSums* of_mean = mean ? &*mean : nullptr;
  fill_rows<T>(p, of_mean, k, out.gamma.mutable_data<T>(), out.beta.mutable_data<T>());
  push_weights<T>(p, k, of_mean, out.w, out.bias);
  push_inputs<T>(p, k, out.x);
}

}  // namespace

void LinearBnActMaxTangent::cpu(const LinearMaxPoint& at, const LinearMaxTensors& t,
                                const BnAct& how, Tensor& t_y, LinearMaxPushed* pushed) {
  dispatch_float(at.x.dtype(), name,
                 [&](auto zero) { tangent<decltype(zero)>(at, t, how, t_y, pushed); });
}

void LinearBnActMaxBackwardTangent::cpu(const LinearMaxPoint& at, const Tensor& ct,
                                        const LinearMaxTensors& t, const Tensor& t_ct,
                                        const BnAct& how, LinearMaxTensors& t_grads,
                                        LinearMaxPushed* pushed) {
  dispatch_float(at.x.dtype(), name, [&](auto zero) {
    backward_tangent<decltype(zero)>(at, ct, t, t_ct, how, t_grads, pushed);
  });
}

}  // namespace basin
