// Linear + batch norm + activation + max over points on the CPU, in closed form (formulas in
// linear_max.h). Forward: covariance of x -> statistics; per shape and channel panel the maximum of
// the raw products; then the affine map and the activation on [B, Cout]. Backward: the sparse part
// is gathered and scattered at the arg-max rows, the constant part is one row vector, the low-rank
// part one Cin x Cin product.
#include "basin/kernels/linear_max.h"

#include <algorithm>
#include <cmath>

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/activation.h"
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

// The moments of x, into `given` where that is a defined tensor.
template <class T>
Tensor moments_of(const T* x, const Sizes& s, Tensor* given) {
  Tensor moments = given && given->defined() ? *given : Tensor::empty({1 + s.in, s.in}, DType::f64);
  row_moments<T>(x, s.rows(), s.in, moments.mutable_data<double>());
  return moments;
}

template <class T>
void statistics(const Tensor& moments, const Tensor& w, const Tensor& bias, const Sizes& s,
                Tensor& mean, Tensor& var) {
  const Tensor product = wide_product(w, moments.data<double>() + s.in);
  const T *pw = w.data<T>(), *pb = bias.data<T>();
  T *pm = mean.mutable_data<T>(), *pv = var.mutable_data<T>();
  for (int64_t c = 0; c < s.out; ++c) {
    const double square = dot<T>(pw + c * s.in, product.data<double>() + c * s.in, s.in);
    pm[c] = static_cast<T>(dot<T>(pw + c * s.in, moments.data<double>(), s.in) + pb[c]);
    pv[c] = static_cast<T>(square < 0 ? 0 : square);
  }
}

template <class T>
void forward(const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& gamma,
             const Tensor& beta, const BnAct& how, Tensor& y, Tensor& mean, Tensor& var,
             Tensor& argmax, Tensor* moments) {
  const double eps = how.eps, slope = how.slope;
  const Sizes s = sizes_of(x, w);
  if (!how.given_stats) {
    statistics<T>(moments_of<T>(x.data<T>(), s, moments), w, bias, s, mean, var);
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
  Tensor scale;     // [Cout] f64: a = gamma / std
  Tensor sparse;    // [Cout, Cin] f64: sum_b g (x[argmax] - centre)
  Tensor sum_g;     // [Cout] f64
  Tensor sum_ghat;  // [Cout] f64: sum_b g zhat[argmax]
  Tensor moments;   // [1 + Cin, Cin] f64, training only
  Tensor centre;    // [Cin] T: mu, or zero when the statistics are given
};

template <class T>
void pull_activations(Gradient<T>& d, const Tensor& y, const Tensor& ct, Act act, double slope) {
  d.g = Tensor::empty(ct.shape(), kDTypeOf<T>);
  const T *pct = ct.data<T>(), *py = act == Act::none ? pct : y.data<T>();
  T* g = d.g.template mutable_data<T>();
  dispatch_act(act, [&](auto a) {
    for (int64_t i = 0; i < ct.numel(); ++i) {
      g[i] = pull_activation<T, a()>(pct[i], py[i], static_cast<T>(slope));
    }
  });
}

// sparse, sum_g and sum_ghat. With the statistics given, centre is zero and the bias stays in zhat;
// in training centre is the column mean, and z - mean = w (x - centre).
template <class T>
void sum_over_batch(Gradient<T>& d, const T* centre, const Tensor& bias, const Tensor& mean,
                    const Tensor& var, double eps) {
  const Sizes s = d.s;
  d.sparse = Tensor::zeros({s.out, s.in}, DType::f64);
  d.sum_g = Tensor::zeros({s.out}, DType::f64);
  d.sum_ghat = Tensor::zeros({s.out}, DType::f64);
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
      sum_ghat[c] = inv_std * (dot<T>(d.w + c * s.in, row, s.in) + offset * sum_g[c]);
    }
  });
}

// dw = a sparse + k2 R (w S); slopes is k2 [Cout], null when the statistics are given.
template <class T>
void pull_weights(const Gradient<T>& d, const Tensor& w, const double* slopes, Tensor& dw) {
  const Sizes s = d.s;
  const Tensor product =
      slopes ? wide_product(w, d.moments.template data<double>() + s.in) : Tensor();
  const double* sparse = d.sparse.template data<double>();
  const double* a = d.scale.template data<double>();
  T* out = dw.mutable_data<T>();
  parallel_for(s.out, 4 * kChannelTile, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      const double k = slopes ? slopes[c] * static_cast<double>(s.rows()) : 0.0;
      const double* p = slopes ? product.data<double>() : sparse;
      for (int64_t i = c * s.in; i < (c + 1) * s.in; ++i) {
        out[i] = static_cast<T>(a[c] * sparse[i] + k * p[i]);
      }
    }
  });
}

// The dense part of dx as one product [x - mu, 1] D: the rows of D [Cin + 1, Cin] are w^T diag(k2)
// w, then w^T k1.
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

// dx of rows [begin, end) of shape b: dense part first, then the arg-max rows in channel order.
template <class T>
void pull_points(const Gradient<T>& d, const Tensor& dense, int64_t b, int64_t begin, int64_t end,
                 const T* coefficient, T* dx) {
  const Sizes s = d.s;
  const int64_t offset = (b * s.points + begin) * s.in, count = end - begin;
  if (d.given_stats) {
    std::fill(dx + offset, dx + offset + count * s.in, T(0));
  } else {
    const int64_t ld = (s.in + 16) / 16 * 16;  // whole vectors, one column to spare
    Tensor scratch = Tensor::empty({kRowTile, ld}, kDTypeOf<T>);
    T* rows = scratch.mutable_data<T>();
    centre_rows<T>(d.x + offset, d.centre.template data<T>(), count, s.in, rows, ld);
    for (int64_t r = 0; r < count; ++r) rows[r * ld + s.in] = T(1);
    gemm_serial<T>(false, false, count, s.in, s.in + 1, T(1), rows, ld, dense.template data<T>(),
                   s.in, T(0), dx + offset, s.in);
  }
  for (int64_t c = 0; c < s.out; ++c) {
    const int64_t n = d.argmax[b * s.out + c];
    const T value = coefficient[b * s.out + c];
    if (n < begin || n >= end || value == T(0)) continue;
    add_scaled<T, T>(value, d.w + c * s.in, s.in, dx + (b * s.points + n) * s.in);
  }
}

template <class T>
void pull_inputs(const Gradient<T>& d, const double* constants, const double* slopes, Tensor& dx) {
  const Sizes s = d.s;
  const Tensor dense = d.given_stats ? Tensor() : dense_part(d, constants, slopes);
  Tensor coefficients = Tensor::empty({s.batch, s.out}, kDTypeOf<T>);
  T* coefficient = coefficients.mutable_data<T>();
  const double* a = d.scale.template data<double>();
  const T* g = d.g.template data<T>();
  for (int64_t b = 0; b < s.batch; ++b) {
    for (int64_t c = 0; c < s.out; ++c) {
      coefficient[b * s.out + c] = static_cast<T>(a[c] * g[b * s.out + c]);
    }
  }
  T* out = dx.mutable_data<T>();
  const int64_t per_shape = tile_count(s.points, kRowTile);
  parallel_tiles(s.batch * per_shape, [&](int64_t tile) {
    const int64_t b = tile / per_shape, begin = tile % per_shape * kRowTile;
    pull_points<T>(d, dense, b, begin, std::min(s.points, begin + kRowTile), coefficient, out);
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
    d.moments = at.moments.defined() ? at.moments : moments_of<T>(d.x, s, nullptr);
    std::transform(d.moments.template data<double>(), d.moments.template data<double>() + s.in,
                   d.centre.template mutable_data<T>(), [](double v) { return static_cast<T>(v); });
  }
  sum_over_batch<T>(d, d.centre.template data<T>(), at.bias, at.mean, at.var, how.eps);

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
  if (grads.w.defined()) pull_weights<T>(d, at.w, how.given_stats ? nullptr : k2, grads.w);
  if (grads.x.defined()) pull_inputs<T>(d, k1, k2, grads.x);
}

}  // namespace

void LinearBnActMaxForward::cpu(const Tensor& x, const Tensor& w, const Tensor& bias,
                                const Tensor& gamma, const Tensor& beta, const BnAct& how,
                                Tensor& y, Tensor& mean, Tensor& var, Tensor& argmax,
                                Tensor* moments) {
  dispatch_float(x.dtype(), name, [&](auto zero) {
    forward<decltype(zero)>(x, w, bias, gamma, beta, how, y, mean, var, argmax, moments);
  });
}

void LinearBnActMaxBackward::cpu(const LinearMaxPoint& at, const Tensor& ct, const BnAct& how,
                                 LinearMaxTensors& grads) {
  dispatch_float(at.x.dtype(), name,
                 [&](auto zero) { backward<decltype(zero)>(at, ct, how, grads); });
}

}  // namespace basin
