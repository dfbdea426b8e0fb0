// Tangents of linear + batch norm + activation + max and of its derivative on the CPU (formulas in
// linear_max.h). Everything is taken at the arg-max rows, from the moments of x, and from one cross
// covariance of x with its tangent: nothing of size B * N * Cout, as in the first order.
#include <algorithm>
#include <cmath>

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/activation.h"
#include "basin/kernels/cpu/row_moments.h"
#include "basin/kernels/cpu/vectors.h"
#include "basin/kernels/gemm.h"
#include "basin/kernels/linear_max.h"

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
  Tensor moments;   // [1 + Cin, Cin] f64: mu, S
  Tensor cross;     // [1 + Cin, Cin] f64: mean of t_x, D (linear_max.h)
  Tensor centres;   // [2, Cin] T: mu and the mean of t_x, or zeros when the statistics are given
  Tensor w_spread;  // [Cout, Cin] f64: w S
  Tensor w_cross;   // [Cout, Cin] f64: w (D + D^T)
  Tensor zhat;      // [B, Cout] f64
  Tensor t_zhat;    // [B, Cout] f64
  Tensor slant;     // [Cout] f64: r

  int64_t rows() const { return batch * points; }
  const T* centre() const { return centres.template data<T>(); }
  const T* t_centre() const { return centre() + in; }
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
void push_statistics(Pushed<T>& p, const Tensor& w, const Tensor* moments) {
  p.centres = Tensor::zeros({2, p.in}, kDTypeOf<T>);
  p.slant = Tensor::zeros({p.out}, DType::f64);
  if (p.given) return;
  p.moments = moments && moments->defined() ? *moments : Tensor();
  if (!p.moments.defined()) {
    p.moments = Tensor::empty({1 + p.in, p.in}, DType::f64);
    row_moments<T>(p.x, p.rows(), p.in, p.moments.template mutable_data<double>());
  }
  p.cross = Tensor::empty({1 + p.in, p.in}, DType::f64);
  row_cross_moments<T>(p.x, p.t_x, p.rows(), p.in, p.cross.template mutable_data<double>());
  T* centre = p.centres.template mutable_data<T>();
  for (int64_t i = 0; i < p.in; ++i) {
    centre[i] = static_cast<T>(p.moments.template data<double>()[i]);
    centre[p.in + i] = static_cast<T>(p.cross.template data<double>()[i]);
  }
  p.w_spread = wide_product(w, p.moments.template data<double>() + p.in);
  p.w_cross = wide_product(w, symmetric_part(p.cross, p.in).template data<double>());
  double* r = p.slant.template mutable_data<double>();
  for (int64_t c = 0; c < p.out; ++c) {
    const int64_t at = c * p.in;
    r[c] = p.inv_std(c) * (dot<T>(p.t_w + at, p.w_spread.template data<double>() + at, p.in) +
                           0.5 * dot<T>(p.w + at, p.w_cross.template data<double>() + at, p.in));
  }
}

template <class T>
void push_winners(Pushed<T>& p) {
  p.zhat = Tensor::empty({p.batch, p.out}, DType::f64);
  p.t_zhat = Tensor::empty({p.batch, p.out}, DType::f64);
  double* zhat = p.zhat.template mutable_data<double>();
  double* t_zhat = p.t_zhat.template mutable_data<double>();
  const double* slant = p.slant.template data<double>();
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
        t_zhat[b * p.out + c] = s * (t_z - slant[c] * s * z);
      }
    }
  });
}

template <class T>
Pushed<T> push(const LinearMaxPoint& in, const LinearMaxTensors& t, const BnAct& how) {
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
  push_statistics<T>(p, in.w, &in.moments);
  push_winners<T>(p);
  return p;
}

// The coefficients of the derivative and their tangents, per channel; g, t_g [B, Cout] f64.
struct Coefficients {
  Tensor g, t_g;
  Tensor rows;  // [6, Cout] f64: a, t_a, k1, t_k1, k2, t_k2
  double* row(int i) { return rows.mutable_data<double>() + i * rows.size(1); }
  const double* row(int i) const { return rows.data<double>() + i * rows.size(1); }
};

template <class T>
Coefficients coefficients(const Pushed<T>& p, const Tensor& y, const Tensor& ct, const Tensor& t_ct,
                          Act act, double slope, T* t_dgamma, T* t_dbeta) {
  Coefficients k{Tensor::empty(ct.shape(), DType::f64), Tensor::empty(ct.shape(), DType::f64),
                 Tensor::zeros({6, p.out}, DType::f64)};
  double *g = k.g.mutable_data<double>(), *t_g = k.t_g.mutable_data<double>();
  const T *pct = ct.data<T>(), *pt = t_ct.data<T>(), *py = act == Act::none ? pct : y.data<T>();
  dispatch_act(act, [&](auto a) {
    for (int64_t i = 0; i < ct.numel(); ++i) {
      g[i] = pull_activation<double, a()>(pct[i], py[i], slope);
      t_g[i] = pull_activation<double, a()>(pt[i], py[i], slope);
    }
  });
  const double *zhat = p.zhat.template data<double>(), *t_zhat = p.t_zhat.template data<double>();
  const auto rows = static_cast<double>(p.rows());
  for (int64_t c = 0; c < p.out; ++c) {
    double sum_g = 0, sum_tg = 0, sum_gz = 0, sum_tgz = 0;
    for (int64_t b = 0; b < p.batch; ++b) {
      const int64_t i = b * p.out + c;
      sum_g += g[i];
      sum_tg += t_g[i];
      sum_gz += g[i] * zhat[i];
      sum_tgz += t_g[i] * zhat[i] + g[i] * t_zhat[i];
    }
    t_dgamma[c] = static_cast<T>(sum_tgz);
    t_dbeta[c] = static_cast<T>(sum_tg);
    const double s = p.inv_std(c), t_s = -s * s * p.slant.template data<double>()[c];
    const double a = p.gamma[c] * s, t_a = p.t_gamma[c] * s + p.gamma[c] * t_s;
    k.row(0)[c] = a;
    k.row(1)[c] = t_a;
    if (p.given) continue;
    k.row(2)[c] = -a * sum_g / rows;
    k.row(3)[c] = -(t_a * sum_g + a * sum_tg) / rows;
    k.row(4)[c] = -a * s * sum_gz / rows;
    k.row(5)[c] = -(t_a * s * sum_gz + a * t_s * sum_gz + a * s * sum_tgz) / rows;
  }
  return k;
}

// t_dw and t_dbias.
template <class T>
void push_weights(const Pushed<T>& p, const Coefficients& k, const Tensor& t_weights, Tensor& t_dw,
                  Tensor& t_dbias) {
  const Tensor t_spread =
      p.given ? Tensor() : wide_product(t_weights, p.moments.template data<double>() + p.in);
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
      if (!p.given) {
        const auto rows = static_cast<double>(p.rows());
        const int64_t at = c * p.in;
        add_scaled<double, double>(rows * k.row(5)[c], p.w_spread.template data<double>() + at,
                                   p.in, sum);
        add_scaled<double, double>(rows * k.row(4)[c], p.w_cross.template data<double>() + at, p.in,
                                   sum);
        add_scaled<double, double>(rows * k.row(4)[c], t_spread.data<double>() + at, p.in, sum);
      }
      for (int64_t i = 0; i < p.in; ++i) out[c * p.in + i] = static_cast<T>(sum[i]);
      bias[c] = p.given ? static_cast<T>(offset) : T(0);
    }
  });
}

// The dense part of t_dx as one product [x - mu, t_x - mean t_x, 1] E: the rows of E [2 Cin + 1,
// Cin] are the tangent of w^T diag(k2) w, then w^T diag(k2) w itself, then that of w^T k1.
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

// t_dx of rows [begin, end) of cloud b: dense part first, then the winning rows in channel order.
template <class T>
void push_points(const Pushed<T>& p, const Tensor& dense, const Tensor& sparse, int64_t b,
                 int64_t begin, int64_t end, T* t_dx) {
  const int64_t n = p.in, offset = (b * p.points + begin) * n, count = end - begin;
  if (p.given) {
    std::fill(t_dx + offset, t_dx + offset + count * n, T(0));
  } else {
    const int64_t ld = (2 * n + 16) / 16 * 16;  // whole vectors, one column to spare
    Tensor scratch = Tensor::empty({kRowTile, ld}, kDTypeOf<T>);
    T* rows = scratch.mutable_data<T>();
    centre_rows<T>(p.x + offset, p.centre(), count, n, rows, ld);
    centre_rows<T>(p.t_x + offset, p.t_centre(), count, n, rows + n, ld);
    for (int64_t r = 0; r < count; ++r) rows[r * ld + 2 * n] = T(1);
    gemm_serial<T>(false, false, count, n, 2 * n + 1, T(1), rows, ld, dense.template data<T>(), n,
                   T(0), t_dx + offset, n);
  }
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
  Tensor sparse = Tensor::empty({2, p.batch, p.out}, kDTypeOf<T>);  // t_a g + a t_g, a g
  T *on_w = sparse.mutable_data<T>(), *on_t_w = on_w + p.batch * p.out;
  const double *g = k.g.data<double>(), *t_g = k.t_g.data<double>();
  for (int64_t i = 0; i < p.batch * p.out; ++i) {
    const double a = k.row(0)[i % p.out], t_a = k.row(1)[i % p.out];
    on_w[i] = static_cast<T>(t_a * g[i] + a * t_g[i]);
    on_t_w[i] = static_cast<T>(a * g[i]);
  }
  T* out = t_dx.mutable_data<T>();
  const int64_t per_cloud = tile_count(p.points, kRowTile);
  parallel_tiles(p.batch * per_cloud, [&](int64_t tile) {
    const int64_t b = tile / per_cloud, begin = tile % per_cloud * kRowTile;
    push_points<T>(p, dense, sparse, b, begin, std::min(p.points, begin + kRowTile), out);
  });
}

template <class T>
void tangent(const LinearMaxPoint& in, const LinearMaxTensors& t, const BnAct& how, Tensor& t_y) {
  const Pushed<T> p = push<T>(in, t, how);
  const double *zhat = p.zhat.template data<double>(), *t_zhat = p.t_zhat.template data<double>();
  T* out = t_y.mutable_data<T>();
  const T *py = how.act == Act::none ? out : in.y.data<T>(), *pb = t.beta.data<T>();
  const double slope = how.slope;
  dispatch_act(how.act, [&](auto a) {
    for (int64_t i = 0; i < p.batch * p.out; ++i) {
      const int64_t c = i % p.out;
      const double t_z = p.t_gamma[c] * zhat[i] + p.gamma[c] * t_zhat[i] + pb[c];
      const double sign = a() == Act::none ? 0.0 : static_cast<double>(py[i]);
      out[i] = static_cast<T>(pull_activation<double, a()>(t_z, sign, slope));
    }
  });
}

template <class T>
void backward_tangent(const LinearMaxPoint& in, const Tensor& ct, const LinearMaxTensors& t,
                      const Tensor& t_ct, const BnAct& how, LinearMaxTensors& out) {
  const Pushed<T> p = push<T>(in, t, how);
  const Coefficients k = coefficients<T>(p, in.y, ct, t_ct, how.act, how.slope,
                                         out.gamma.mutable_data<T>(), out.beta.mutable_data<T>());
  push_weights<T>(p, k, t.w, out.w, out.bias);
  push_inputs<T>(p, k, out.x);
}

}  // namespace

void LinearBnActMaxTangent::cpu(const LinearMaxPoint& at, const LinearMaxTensors& t,
                                const BnAct& how, Tensor& t_y) {
  dispatch_float(at.x.dtype(), name, [&](auto zero) { tangent<decltype(zero)>(at, t, how, t_y); });
}

void LinearBnActMaxBackwardTangent::cpu(const LinearMaxPoint& at, const Tensor& ct,
                                        const LinearMaxTensors& t, const Tensor& t_ct,
                                        const BnAct& how, LinearMaxTensors& t_grads) {
  dispatch_float(at.x.dtype(), name, [&](auto zero) {
    backward_tangent<decltype(zero)>(at, ct, t, t_ct, how, t_grads);
  });
}

}  // namespace basin
