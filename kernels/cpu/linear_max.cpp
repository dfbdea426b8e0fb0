// Linear + batch norm + activation + max over points on the CPU, in closed form (formulas in
// linear_max.h; what the mean adds, in linear_mean.h). Forward: covariance of x -> statistics; per
// shape and channel panel the maximum of the raw products; then the affine map and the activation
// on [B, Cout]. Backward: the sparse part is gathered and scattered at the arg-max rows, the
// constant part is one row vector, the low-rank part one Cin x Cin product.
#include "basin/kernels/linear_max.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/activation.h"
#include "basin/kernels/cpu/linear_mean.h"
#include "basin/kernels/cpu/linear_moments.h"
#include "basin/kernels/cpu/row_max.h"
#include "basin/kernels/cpu/row_moments.h"
#include "basin/kernels/cpu/vectors.h"
#include "basin/kernels/gemm.h"

namespace basin {
namespace {

constexpr int64_t kRowTile = 512;     // rows of dx made together
constexpr int64_t kChannelTile = 16;  // channels of dw made together
constexpr int64_t kTasks = 32;        // wanted, of the forward pass; more where panels are few

struct Sizes {
  int64_t batch, points, in, out;
  int64_t rows() const { return batch * points; }
};

Sizes sizes_of(const Tensor& x, const Tensor& w) {
  return {x.size(0), x.size(1), x.size(2), w.size(0)};
}

// Leaves the moments of x, and w S, in their places where these are defined.
template <class T>
void statistics(const T* x, const Tensor& w, const Tensor& bias, const Sizes& s, Tensor& mean,
                Tensor& var, LinearMaxKept* kept) {
  Tensor moments =
      kept && kept->moments.defined() ? kept->moments : Tensor::empty({1 + s.in, s.in}, DType::f64);
  row_moments<T>(x, s.rows(), s.in, moments.mutable_data<double>());
  Tensor product =
      kept && kept->spread.defined() ? kept->spread : Tensor::empty({s.out, s.in}, DType::f64);
  wide_product(w, moments.data<double>() + s.in, product);
  const T *pw = w.data<T>(), *pb = bias.data<T>();
  T *pm = mean.mutable_data<T>(), *pv = var.mutable_data<T>();
  for (int64_t c = 0; c < s.out; ++c) {
    const double square = dot(pw + c * s.in, product.data<double>() + c * s.in, s.in);
    pm[c] = static_cast<T>(dot(pw + c * s.in, moments.data<double>(), s.in) + pb[c]);
    pv[c] = static_cast<T>(square < 0 ? 0 : square);
  }
}

// Maximum and mean.
template <class T>
void pool(const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& gamma,
          const Tensor& beta, const BnAct& how, const Tensor& mean, const Tensor& var, Tensor& y,
          Tensor& argmax, Tensor& active) {
  const Sizes s = sizes_of(x, w);
  Tensor affine = Tensor::empty({2, s.out}, kDTypeOf<T>);
  T *centre = affine.mutable_data<T>(), *scale = centre + s.out;
  for (int64_t c = 0; c < s.out; ++c) {
    centre[c] = mean.data<T>()[c] - bias.data<T>()[c];
    scale[c] = static_cast<T>(gamma.data<T>()[c] /
                              std::sqrt(static_cast<double>(var.data<T>()[c]) + how.eps));
  }
  const MeanForward<T> f{x.data<T>(),
                         w.data<T>(),
                         centre,
                         scale,
                         beta.data<T>(),
                         s.points,
                         s.in,
                         s.out,
                         how,
                         y.mutable_data<T>(),
                         argmax.mutable_data<int32_t>(),
                         static_cast<uint32_t*>(active.mutable_raw())};
  const int64_t parts = tile_count(s.out, kMeanChannels);
  parallel_tiles(s.batch * parts, [&](int64_t tile) {
    const int64_t first = tile % parts * kMeanChannels;
    pool_products<T>(f, tile / parts, first, std::min(kMeanChannels, s.out - first));
  });
}

template <class T>
void forward(const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& gamma,
             const Tensor& beta, const BnAct& how, Tensor& y, Tensor& mean, Tensor& var,
             Tensor& argmax, LinearMaxKept* kept) {
  const double eps = how.eps, slope = how.slope;
  const Sizes s = sizes_of(x, w);
  if (!how.given_stats) {
    statistics<T>(x.data<T>(), w, bias, s, mean, var, kept);
  }
  if (kept && kept->active.defined()) {
    return pool<T>(x, w, bias, gamma, beta, how, mean, var, y, argmax, kept->active);
  }
  Tensor signs = Tensor::empty({s.out}, kDTypeOf<T>);
  T* sign = signs.mutable_data<T>();
  for (int64_t c = 0; c < s.out; ++c) {
    // gamma = 0 makes every point tie, so point 0 must win: sign 0 gives just that.
    const T scale = gamma.data<T>()[c];
    sign[c] = scale < 0 ? T(-1) : scale > 0 ? T(1) : T(0);
  }

  const PackedWeights packed = pack_weights<T>(w.data<T>(), sign, s.out, s.in, s.points);
  const T *px = x.data<T>(), *pb = bias.data<T>(), *pm = mean.data<T>(), *pv = var.data<T>();
  const T *pg = gamma.data<T>(), *pbeta = beta.data<T>();
  T* py = y.mutable_data<T>();
  int32_t* index = argmax.mutable_data<int32_t>();
  // Panels of weights that share what is made of the points of a cloud.
  const int64_t together = std::max<int64_t>(1, s.batch * packed.panels() / kTasks);
  const int64_t tasks = tile_count(packed.panels(), together);
  parallel_tiles(s.batch * tasks, [&](int64_t tile) {
    const int64_t b = tile / tasks, panel = tile % tasks * together;
    const int64_t end = std::min(packed.panels(), panel + together);
    row_max<T>(packed, panel, end, px + b * s.points * s.in, s.points, py + b * s.out,
               index + b * s.out);
    dispatch_act(how.act, [&](auto a) {
      for (int64_t c = panel * packed.width; c < std::min(s.out, end * packed.width); ++c) {
        const double product = static_cast<double>(sign[c]) * py[b * s.out + c];
        const double scale = pg[c] / std::sqrt(static_cast<double>(pv[c]) + eps);
        const double z = (product + pb[c] - pm[c]) * scale + pbeta[c];
        py[b * s.out + c] = static_cast<T>(activate<double, a()>(z, slope));
      }
    });
  });
}

// What the derivative needs per channel.
template <class T>
struct Gradient {
  Sizes s{};
  bool given_stats = false;
  const T *x = nullptr, *w = nullptr;
  const int32_t* argmax = nullptr;
  Tensor g;         // [B, Cout] T: ct act'(y)
  Tensor h;         // [B, Cout] f64, of the mean; undefined without it
  Tensor scale;     // [Cout] f64: a = gamma / std
  Tensor sparse;    // [Cout, Cin] f64: sum_b g (x[argmax] - centre) + h U
  Tensor sum_g;     // [Cout] f64: sum_b g + h Q
  Tensor sum_ghat;  // [Cout] f64: sum_b g zhat[argmax] + h w U / std
  Tensor spread;    // [Cout, Cin] f64: w S, training only
  Tensor centre;    // [Cin] T: mu, or zero when the statistics are given
};

template <class T>
void pull_activations(Gradient<T>& d, const Tensor& y, const Tensor& ct, Act act, double slope) {
  d.g = Tensor::empty({d.s.batch, d.s.out}, kDTypeOf<T>);
  const T *pct = ct.data<T>(), *py = act == Act::none ? pct : y.data<T>();
  T* g = d.g.template mutable_data<T>();
  const int64_t stride = ct.size(1);  // the mean may stand behind the maximum
  dispatch_act(act, [&](auto a) {
    for (int64_t b = 0; b < d.s.batch; ++b, g += d.s.out, pct += stride, py += stride) {
      for (int64_t c = 0; c < d.s.out; ++c) {
        g[c] = pull_activation<T, a()>(pct[c], py[c], static_cast<T>(slope));
      }
    }
  });
}

// The part of the mean in sparse and sum_g; known: U where it is there.
template <class T>
void sum_slopes(Gradient<T>& d, const Slopes& slopes, const Tensor& known, const Tensor& ct,
                const T* centre) {
  const Sizes s = d.s;
  d.h = mean_cotangents<T>(slopes, ct);
  const Tensor counts = slope_sums(slopes);
  double* sum_g = d.sum_g.template mutable_data<double>();
  const double *h = d.h.template data<double>(), *q = counts.data<double>();
  for (int64_t i = 0; i < s.batch * s.out; ++i) sum_g[i % s.out] += h[i] * q[i];
  const WeightedSum sum{h, d.sparse.template mutable_data<double>()};
  if (known.defined()) {
    add_weighted<T>(known, {sum});
  } else {
    add_slope_products<T>(slopes, d.x, centre, sum);
  }
}

// sparse, sum_g and sum_ghat, added to what they hold. With the statistics given, centre is zero
// and the bias stays in zhat; in training centre is the column mean, and z - mean = w (x - centre).
template <class T>
void sum_over_batch(Gradient<T>& d, const T* centre, const Tensor& bias, const Tensor& mean,
                    const Tensor& var, double eps) {
  const Sizes s = d.s;
  double* sparse = d.sparse.template mutable_data<double>();
  double* sum_g = d.sum_g.template mutable_data<double>();
  double* sum_ghat = d.sum_ghat.template mutable_data<double>();
  const T *g = d.g.template data<T>(), *pb = bias.data<T>(), *pm = mean.data<T>();
  const T* pv = var.data<T>();
  parallel_for(s.out, kChannelTile, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      double* row = sparse + c * s.in;
      for (int64_t b = 0; b < s.batch; ++b) {
        const T value = g[b * s.out + c];
        if (value == T(0)) continue;
        const int64_t n = d.argmax[b * s.out + c];
        add_centred<T>(value, d.x + (b * s.points + n) * s.in, centre, s.in, row);
        sum_g[c] += value;
      }
      const double inv_std = 1 / std::sqrt(static_cast<double>(pv[c]) + eps);
      const double offset = d.given_stats ? static_cast<double>(pb[c]) - pm[c] : 0.0;
      sum_ghat[c] = inv_std * (dot(d.w + c * s.in, row, s.in) + offset * sum_g[c]);
    }
  });
}

// dw = a sparse + k2 R (w S); slopes is k2 [Cout], null when the statistics are given.
template <class T>
void pull_weights(const Gradient<T>& d, const double* slopes, Tensor& dw) {
  const Sizes s = d.s;
  const double* sparse = d.sparse.template data<double>();
  const double* a = d.scale.template data<double>();
  T* out = dw.mutable_data<T>();
  parallel_for(s.out, 4 * kChannelTile, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      const double k = slopes ? slopes[c] * static_cast<double>(s.rows()) : 0.0;
      const double* p = slopes ? d.spread.template data<double>() : sparse;
      for (int64_t i = c * s.in; i < (c + 1) * s.in; ++i) {
        out[i] = static_cast<T>(a[c] * sparse[i] + k * p[i]);
      }
    }
  });
}

// The dense part of dx is (x - mu) D plus a row: D = w^T diag(k2) w, and behind its Cin rows the
// row w^T k1.
template <class T>
Tensor dense_part(const Gradient<T>& d, const double* constants, const double* slopes) {
  const Sizes s = d.s;
  Tensor constant = Tensor::zeros({s.in}, DType::f64);
  double* pc = constant.mutable_data<double>();
  Tensor scaled = Tensor::empty({s.out, s.in}, kDTypeOf<T>);
  T* ps = scaled.mutable_data<T>();
  for (int64_t c = 0; c < s.out; ++c) {
    const T* row = d.w + c * s.in;
    add_scaled<T, double>(constants[c], row, s.in, pc);
    for (int64_t i = 0; i < s.in; ++i) ps[c * s.in + i] = static_cast<T>(slopes[c]) * row[i];
  }
  Tensor dense = Tensor::empty({s.in + 1, s.in}, kDTypeOf<T>);
  T* p = dense.mutable_data<T>();
  gemm<T>(true, false, s.in, s.in, s.out, T(1), d.w, s.in, ps, s.in, T(0), p, s.in);
  for (int64_t i = 0; i < s.in; ++i) p[s.in * s.in + i] = static_cast<T>(pc[i]);
  return dense;
}

// dx of rows [begin, end) of shape b: dense part first, then the mean's, null without it, then the
// arg-max rows in channel order.
template <class T>
void pull_points(const Gradient<T>& d, const Tensor& dense, const SlopeRows<T>* slopes, int64_t b,
                 int64_t begin, int64_t end, const T* coefficient, T* dx) {
  const Sizes s = d.s;
  const int64_t offset = (b * s.points + begin) * s.in, count = end - begin;
  if (d.given_stats) {
    std::fill(dx + offset, dx + offset + count * s.in, T(0));
  } else {
    Tensor scratch = Tensor::empty({count, s.in}, kDTypeOf<T>);
    T* rows = scratch.mutable_data<T>();
    centre_rows<T>(d.x + offset, d.centre.template data<T>(), count, s.in, rows, s.in);
    const T* matrix = dense.template data<T>();
    gemm_serial<T>(false, false, count, s.in, s.in, T(1), rows, s.in, matrix, s.in, T(1),
                   dx + offset, s.in, {matrix + s.in * s.in, 0});
  }
  if (slopes) slopes->add(b, begin, end, dx + offset);
  for (int64_t c = 0; c < s.out; ++c) {
    const int64_t n = d.argmax[b * s.out + c];
    const T value = coefficient[b * s.out + c];
    if (n < begin || n >= end || value == T(0)) continue;
    add_scaled<T, T>(value, d.w + c * s.in, s.in, dx + (b * s.points + n) * s.in);
  }
}

template <class T>
void pull_inputs(const Gradient<T>& d, const LinearMaxPoint& at, const BnAct& how,
                 const double* constants, const double* slopes, Tensor& dx) {
  const Sizes s = d.s;
  const Tensor dense = d.given_stats ? Tensor() : dense_part(d, constants, slopes);
  const double* a = d.scale.template data<double>();
  const auto scaled = [&](const auto* by) {
    Tensor coefficients = Tensor::empty({s.batch, s.out}, kDTypeOf<T>);
    T* to = coefficients.mutable_data<T>();
    for (int64_t i = 0; i < s.batch * s.out; ++i) to[i] = static_cast<T>(a[i % s.out] * by[i]);
    return coefficients;
  };
  const Tensor sparse = scaled(d.g.template data<T>());
  const T* coefficient = sparse.data<T>();
  Tensor of_mean;
  std::optional<SlopeRows<T>> rows;
  if (d.h.defined()) {
    of_mean = scaled(d.h.template data<double>());
    rows.emplace(slopes_of(at, how), std::vector<SlopeTerm<T>>{{of_mean.data<T>(), d.w}});
  }
  T* out = dx.mutable_data<T>();
  const int64_t per_shape = tile_count(s.points, kRowTile);
  parallel_tiles(s.batch * per_shape, [&](int64_t tile) {
    const int64_t b = tile / per_shape, begin = tile % per_shape * kRowTile;
    pull_points<T>(d, dense, rows ? &*rows : nullptr, b, begin,
                   std::min(s.points, begin + kRowTile), coefficient, out);
  });
}

template <class T>
void store(const Tensor& from, Tensor& to) {
  const double* p = from.data<double>();
  std::transform(p, p + from.numel(), to.mutable_data<T>(),
                 [](double v) { return static_cast<T>(v); });
}

template <class T>
void backward(const LinearMaxPoint& at, const Tensor& ct, const BnAct& how,
              LinearMaxTensors& grads) {
  Gradient<T> d;
  d.s = sizes_of(at.x, at.w);
  d.given_stats = how.given_stats;
  d.x = at.x.data<T>();
  d.w = at.w.data<T>();
  d.argmax = at.argmax.data<int32_t>();
  const Sizes s = d.s;
  pull_activations<T>(d, at.y, ct, how.act, how.slope);
  d.centre = Tensor::zeros({s.in}, kDTypeOf<T>);
  if (!how.given_stats) {
    const Tensor moments = moments_of<T>(at);
    d.spread = spread_of(at, moments);
    std::transform(moments.data<double>(), moments.data<double>() + s.in,
                   d.centre.template mutable_data<T>(), [](double v) { return static_cast<T>(v); });
  }
  d.sparse = Tensor::zeros({s.out, s.in}, DType::f64);
  d.sum_g = Tensor::zeros({s.out}, DType::f64);
  d.sum_ghat = Tensor::zeros({s.out}, DType::f64);
  const T* centre = d.centre.template data<T>();
  if (at.kept.active.defined()) sum_slopes<T>(d, slopes_of(at, how), at.kept.sums, ct, centre);
  sum_over_batch<T>(d, centre, at.bias, at.mean, at.var, how.eps);

  d.scale = Tensor::empty({s.out}, DType::f64);
  double* a = d.scale.template mutable_data<double>();
  Tensor low_rank = Tensor::zeros({2, s.out}, DType::f64);
  double *k1 = low_rank.mutable_data<double>(), *k2 = k1 + s.out;
  const double *sum_g = d.sum_g.template data<double>(),
               *sum_ghat = d.sum_ghat.template data<double>();
  for (int64_t c = 0; c < s.out; ++c) {
    const double inv_std = 1 / std::sqrt(static_cast<double>(at.var.data<T>()[c]) + how.eps);
    a[c] = at.gamma.data<T>()[c] * inv_std;
    k1[c] = -a[c] * sum_g[c] / static_cast<double>(s.rows());
    k2[c] = -a[c] * inv_std * sum_ghat[c] / static_cast<double>(s.rows());
  }
  if (grads.gamma.defined()) store<T>(d.sum_ghat, grads.gamma);
  if (grads.beta.defined()) store<T>(d.sum_g, grads.beta);
  if (grads.bias.defined()) {
    T* p = grads.bias.mutable_data<T>();
    for (int64_t c = 0; c < s.out; ++c) {
      p[c] = how.given_stats ? static_cast<T>(a[c] * sum_g[c]) : T(0);
    }
  }
  if (grads.w.defined()) pull_weights<T>(d, how.given_stats ? nullptr : k2, grads.w);
  if (grads.x.defined()) pull_inputs<T>(d, at, how, k1, k2, grads.x);
}

}  // namespace

void LinearBnActMaxForward::cpu(const Tensor& x, const Tensor& w, const Tensor& bias,
                                const Tensor& gamma, const Tensor& beta, const BnAct& how,
                                Tensor& y, Tensor& mean, Tensor& var, Tensor& argmax,
                                LinearMaxKept* kept) {
  dispatch_float(x.dtype(), name, [&](auto zero) {
    forward<decltype(zero)>(x, w, bias, gamma, beta, how, y, mean, var, argmax, kept);
  });
}

void LinearBnActMaxBackward::cpu(const LinearMaxPoint& at, const Tensor& ct, const BnAct& how,
                                 LinearMaxTensors& grads) {
  dispatch_float(at.x.dtype(), name,
                 [&](auto zero) { backward<decltype(zero)>(at, ct, how, grads); });
}

}  // namespace basin
