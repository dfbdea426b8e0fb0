// Tangents of batch normalisation and of its derivative on the CPU (formulas in batch_norm.h). Both
// are a pass of column sums and a pass that is linear in the rows with one set of coefficients per
// channel, so they cost what a first-order pass costs.
#include <cmath>

#include "basin/kernels/batch_norm.h"
#include "basin/kernels/cpu/activation.h"
#include "basin/kernels/cpu/column_sums.h"
#include "basin/kernels/cpu/hot.h"

namespace basin {
namespace {

// p [2, C]: sum of t, sum of t (x - mean).
template <class T>
BASIN_HOT void add_tangent_sums(const T* __restrict x, const T* __restrict t,
                                const T* __restrict mean, int64_t rows, int64_t n,
                                double* __restrict p) {
  double* __restrict q = p + n;
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    const int64_t i0 = r * n, i1 = i0 + n, i2 = i1 + n, i3 = i2 + n;
    for (int64_t c = 0; c < n; ++c) {
      const T m = mean[c], t0 = t[i0 + c], t1 = t[i1 + c], t2 = t[i2 + c], t3 = t[i3 + c];
      p[c] += static_cast<double>((t0 + t1) + (t2 + t3));
      q[c] += static_cast<double>((t0 * (x[i0 + c] - m) + t1 * (x[i1 + c] - m)) +
                                  (t2 * (x[i2 + c] - m) + t3 * (x[i3 + c] - m)));
    }
  }
  for (; r < rows; ++r) {
    for (int64_t c = 0; c < n; ++c) {
      p[c] += static_cast<double>(t[r * n + c]);
      q[c] += static_cast<double>(t[r * n + c] * (x[r * n + c] - mean[c]));
    }
  }
}

// t_y = act'(z) (k0 t_x + k1 (x - mean) + k2)
template <class T, Act kAct>
BASIN_HOT void push_rows(const T* __restrict x, const T* __restrict y, const T* __restrict t_x,
                         const T* __restrict mean, const T* __restrict k, T slope, int64_t rows,
                         int64_t n, T* __restrict t_y) {
  const T* __restrict k0 = k, * __restrict k1 = k + n, * __restrict k2 = k + 2 * n;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < n; ++c) {
      const int64_t i = r * n + c;
      const T t = k0[c] * t_x[i] + (k1[c] * (x[i] - mean[c]) + k2[c]);
      t_y[i] = pull_activation<T, kAct>(t, kAct == Act::none ? T(0) : y[i], slope);
    }
  }
}

// What the second-order pass reads, all [rows, C] from the tile's first row on; y is null for
// Act::none.
template <class T>
struct Rows {
  const T *x, *y, *ct, *t_x, *t_ct;
  const T* mean;  // [C]
  T slope;
};

// p [7, C]: sums of t_x, t_x d, g, g d, t_g, t_g d, g t_x, where d = x - mean.
template <class T, Act kAct>
BASIN_HOT void add_second_sums(const Rows<T>& in, int64_t rows, int64_t n, double* __restrict p) {
  const T* __restrict x = in.x, * __restrict y = in.y, * __restrict ct = in.ct;
  const T* __restrict t_x = in.t_x, * __restrict t_ct = in.t_ct, * __restrict mean = in.mean;
  const T slope = in.slope;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < n; ++c) {
      const int64_t i = r * n + c;
      const T sign = kAct == Act::none ? T(0) : y[i];
      const T d = x[i] - mean[c], t = t_x[i];
      const T g = pull_activation<T, kAct>(ct[i], sign, slope);
      const T t_g = pull_activation<T, kAct>(t_ct[i], sign, slope);
      p[c] += static_cast<double>(t);
      p[n + c] += static_cast<double>(t * d);
      p[2 * n + c] += static_cast<double>(g);
      p[3 * n + c] += static_cast<double>(g * d);
      p[4 * n + c] += static_cast<double>(t_g);
      p[5 * n + c] += static_cast<double>(t_g * d);
      p[6 * n + c] += static_cast<double>(g * t);
    }
  }
}

// t_dx = k0 g + k1 t_g + k2 d + k3 t_x + k4
template <class T, Act kAct>
BASIN_HOT void push_gradient_rows(const Rows<T>& in, const T* __restrict k, int64_t rows, int64_t n,
                                  T* __restrict t_dx) {
  const T* __restrict x = in.x, * __restrict y = in.y, * __restrict ct = in.ct;
  const T* __restrict t_x = in.t_x, * __restrict t_ct = in.t_ct, * __restrict mean = in.mean;
  const T slope = in.slope;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < n; ++c) {
      const int64_t i = r * n + c;
      const T sign = kAct == Act::none ? T(0) : y[i];
      const T g = pull_activation<T, kAct>(ct[i], sign, slope);
      const T t_g = pull_activation<T, kAct>(t_ct[i], sign, slope);
      t_dx[i] = (k[c] * g + k[n + c] * t_g) +
                (k[2 * n + c] * (x[i] - mean[c]) + (k[3 * n + c] * t_x[i] + k[4 * n + c]));
    }
  }
}

template <class T>
double inverse_deviation(const Tensor& var, int64_t c, double eps) {
  return 1 / std::sqrt(static_cast<double>(var.data<T>()[c]) + eps);
}

template <class T>
void tangent(const BatchNormPoint& at, const BatchNormTensors& t, const BnAct& how, Tensor& t_y) {
  const Tensor &x = at.x, &gamma = at.gamma;
  const int64_t channels = gamma.numel(), rows = x.numel() / std::max<int64_t>(1, channels);
  const T *px = x.data<T>(), *pt = t.x.data<T>(), *pm = at.mean.data<T>();
  const T* py = how.act == Act::none ? nullptr : at.y.data<T>();
  Tensor sums;
  if (!how.given_stats) {
    sums = column_sums(rows, channels, 2, [&](int64_t begin, int64_t count, double* p) {
      hot([&] {
        add_tangent_sums<T>(px + begin * channels, pt + begin * channels, pm, count, channels, p);
      });
    });
  }
  const double* p = how.given_stats ? nullptr : sums.data<double>();
  const auto count = static_cast<double>(rows);
  Tensor coefficients = Tensor::empty({3, channels}, kDTypeOf<T>);
  T* k = coefficients.mutable_data<T>();
  for (int64_t c = 0; c < channels; ++c) {
    const double s = inverse_deviation<T>(at.var, c, how.eps), g = gamma.data<T>()[c];
    const double centre = p ? p[c] / count : 0, slant = p ? p[channels + c] / count : 0;
    k[c] = static_cast<T>(g * s);
    k[channels + c] = static_cast<T>(t.gamma.data<T>()[c] * s - g * s * s * s * slant);
    k[2 * channels + c] = static_cast<T>(t.beta.data<T>()[c] - g * s * centre);
  }
  T* out = t_y.mutable_data<T>();
  parallel_for(rows, rows_per_tile(channels), [&](int64_t begin, int64_t end) {
    const int64_t i = begin * channels;
    dispatch_act(how.act, [&](auto a) {
      hot([&] {
        push_rows<T, a()>(px + i, py ? py + i : nullptr, pt + i, pm, k, static_cast<T>(how.slope),
                          end - begin, channels, out + i);
      });
    });
  });
}

// The coefficients of push_gradient_rows and the tangents of dgamma and dbeta, per channel, from
// the sums p [7, C] of add_second_sums.
template <class T>
void second_coefficients(const double* p, double rows, const BatchNormPoint& at,
                         const Tensor& t_gamma, const BnAct& how, T* k, BatchNormTensors& t_grads) {
  const Tensor &gamma = at.gamma, &var = at.var;
  const int64_t channels = gamma.numel();
  T *t_dgamma = t_grads.gamma.mutable_data<T>(), *t_dbeta = t_grads.beta.mutable_data<T>();
  for (int64_t c = 0; c < channels; ++c) {
    const double s = inverse_deviation<T>(var, c, how.eps);
    const double scale = gamma.data<T>()[c] * s, t_scale_g = t_gamma.data<T>()[c] * s;
    const auto sum = [&](int kind) { return p[kind * channels + c]; };
    const double sum_g = sum(2), sum_gx = sum(3) * s, sum_tg = sum(4);
    if (how.given_stats) {
      const double sum_tgx = s * (sum(5) + sum(6));
      k[c] = static_cast<T>(t_scale_g);
      k[channels + c] = static_cast<T>(scale);
      for (int q = 2; q < 5; ++q) k[q * channels + c] = T(0);
      t_dgamma[c] = static_cast<T>(sum_tgx);
      t_dbeta[c] = static_cast<T>(sum_tg);
      continue;
    }
    const double centre = sum(0) / rows, r = sum(1) * s / rows;
    const double sum_tgx = s * sum(5) + s * (sum(6) - centre * sum_g) - s * r * sum_gx;
    const double t_scale = t_scale_g - scale * s * r;  // gamma's tangent and that of s
    k[c] = static_cast<T>(t_scale);
    k[channels + c] = static_cast<T>(scale);
    k[2 * channels + c] =
        static_cast<T>(s / rows * (-t_scale * sum_gx - scale * sum_tgx + scale * s * r * sum_gx));
    k[3 * channels + c] = static_cast<T>(-scale * s * sum_gx / rows);
    k[4 * channels + c] =
        static_cast<T>((-t_scale * sum_g - scale * sum_tg + scale * s * centre * sum_gx) / rows);
    t_dgamma[c] = static_cast<T>(sum_tgx);
    t_dbeta[c] = static_cast<T>(sum_tg);
  }
}

template <class T>
void backward_tangent(const BatchNormPoint& at, const Tensor& ct, const BatchNormTensors& t,
                      const Tensor& t_ct, const BnAct& how, BatchNormTensors& t_grads) {
  const Tensor& x = at.x;
  const int64_t channels = at.gamma.numel(), rows = x.numel() / std::max<int64_t>(1, channels);
  const auto rows_from = [&](int64_t begin) {
    const int64_t i = begin * channels;
    return Rows<T>{x.data<T>() + i,          how.act == Act::none ? nullptr : at.y.data<T>() + i,
                   ct.data<T>() + i,         t.x.data<T>() + i,
                   t_ct.data<T>() + i,       at.mean.data<T>(),
                   static_cast<T>(how.slope)};
  };
  const Tensor sums = column_sums(rows, channels, 7, [&](int64_t begin, int64_t count, double* p) {
    dispatch_act(how.act, [&](auto a) {
      hot([&] { add_second_sums<T, a()>(rows_from(begin), count, channels, p); });
    });
  });
  Tensor coefficients = Tensor::empty({5, channels}, kDTypeOf<T>);
  T* k = coefficients.mutable_data<T>();
  second_coefficients<T>(sums.data<double>(), static_cast<double>(rows), at, t.gamma, how, k,
                         t_grads);
  T* out = t_grads.x.mutable_data<T>();
  parallel_for(rows, rows_per_tile(channels), [&](int64_t begin, int64_t end) {
    dispatch_act(how.act, [&](auto a) {
      hot([&] {
        push_gradient_rows<T, a()>(rows_from(begin), k, end - begin, channels,
                                   out + begin * channels);
      });
    });
  });
}

}  // namespace

void BatchNormTangent::cpu(const BatchNormPoint& at, const BatchNormTensors& t, const BnAct& how,
                           Tensor& t_y) {
  dispatch_float(at.x.dtype(), name, [&](auto zero) { tangent<decltype(zero)>(at, t, how, t_y); });
}

void BatchNormBackwardTangent::cpu(const BatchNormPoint& at, const Tensor& ct,
                                   const BatchNormTensors& t, const Tensor& t_ct, const BnAct& how,
                                   BatchNormTensors& t_grads) {
  dispatch_float(at.x.dtype(), name, [&](auto zero) {
    backward_tangent<decltype(zero)>(at, ct, t, t_ct, how, t_grads);
  });
}

}  // namespace basin
