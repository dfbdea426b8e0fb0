// Batch normalisation on the CPU and its tangents: formulas in batch_norm.h, the passes in
// batch_norm_passes.h.
#include "basin/kernels/batch_norm.h"

#include "basin/kernels/cpu/batch_norm_passes.h"

namespace basin {
namespace {

template <class T, Act kAct>
BASIN_HOT void normalise_rows(const T* __restrict x, const T* __restrict mean,
                              const T* __restrict scale, const T* __restrict beta, T slope,
                              int64_t rows, int64_t n, T* __restrict y) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < n; ++c) {
      const T z = (x[r * n + c] - mean[c]) * scale[c] + beta[c];
      y[r * n + c] = activate<T, kAct>(z, slope);
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

template <class T>
norm_passes::Layer<T> layer_at(const BatchNormPoint& at, const BnAct& how) {
  return norm_passes::layer_of<T>(at.x, at.gamma, at.mean, at.var, how);
}

template <class T>
norm_passes::RowCotangents<T> cotangents_of(const BatchNormPoint& at, const Tensor& ct,
                                            const Tensor& t_ct, const BnAct& how) {
  return {how.act == Act::none ? nullptr : at.y.data<T>(), ct.data<T>(),
          t_ct.defined() ? t_ct.data<T>() : nullptr, at.gamma.numel()};
}

template <class T>
void tangent(const BatchNormPoint& at, const BatchNormTensors& t, const BnAct& how, Tensor& t_y) {
  const auto in = layer_at<T>(at, how);
  const Tensor coefficients = norm_passes::tangent_coefficients(in, t);
  const T *k = coefficients.data<T>(), *t_x = t.x.data<T>();
  const T* y = how.act == Act::none ? nullptr : at.y.data<T>();
  T* out = t_y.mutable_data<T>();
  parallel_for(in.rows, rows_per_tile(in.channels), [&](int64_t begin, int64_t end) {
    const int64_t i = begin * in.channels;
    dispatch_act(how.act, [&](auto a) {
      hot([&] {
        push_rows<T, a()>(in.x + i, y ? y + i : nullptr, t_x + i, in.mean, k, in.slope, end - begin,
                          in.channels, out + i);
      });
    });
  });
}

}  // namespace

void BatchNormForward::cpu(const Tensor& x, const Tensor& gamma, const Tensor& beta,
                           const BnAct& how, Tensor& mean, Tensor& var, Tensor& y) {
  dispatch_float(x.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    if (x.numel() == 0) return;
    const int64_t channels = gamma.numel();
    if (!how.given_stats) {
      norm_passes::statistics<T>(x.data<T>(), x.numel() / channels, channels,
                                 mean.mutable_data<T>(), var.mutable_data<T>());
    }
    const auto in = norm_passes::layer_of<T>(x, gamma, mean, var, how);
    const Tensor scales = in.scales();
    const T *scale = scales.data<T>(), *shift = beta.data<T>();
    T* out = y.mutable_data<T>();
    parallel_for(in.rows, rows_per_tile(channels), [&](int64_t begin, int64_t end) {
      const int64_t i = begin * channels;
      dispatch_act(how.act, [&](auto a) {
        hot([&] {
          normalise_rows<T, a()>(in.x + i, in.mean, scale, shift, in.slope, end - begin, channels,
                                 out + i);
        });
      });
    });
  });
}

void BatchNormBackward::cpu(const BatchNormPoint& at, const Tensor& ct, const BnAct& how,
                            BatchNormTensors& grads) {
  dispatch_float(at.x.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    norm_passes::backward(layer_at<T>(at, how), cotangents_of<T>(at, ct, {}, how), grads);
  });
}

void BatchNormTangent::cpu(const BatchNormPoint& at, const BatchNormTensors& t, const BnAct& how,
                           Tensor& t_y) {
  dispatch_float(at.x.dtype(), name, [&](auto zero) { tangent<decltype(zero)>(at, t, how, t_y); });
}

void BatchNormBackwardTangent::cpu(const BatchNormPoint& at, const Tensor& ct,
                                   const BatchNormTensors& t, const Tensor& t_ct, const BnAct& how,
                                   BatchNormTensors& t_grads) {
  dispatch_float(at.x.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    norm_passes::backward_tangent(layer_at<T>(at, how), cotangents_of<T>(at, ct, t_ct, how), t,
                                  t_grads);
  });
}

}  // namespace basin
