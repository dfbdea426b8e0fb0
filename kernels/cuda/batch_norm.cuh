// The passes of batch normalisation on CUDA (formulas in kernels/batch_norm.h), for every way in
// which the cotangents of a row come: read (batch_norm.cu), or made from those of a pool over its
// cloud (norm_pool.cu). Each pass is column sums in double, coefficients per channel, and a map
// over the elements: one launch for few rows, else two (rows.cuh). As on the CPU, statistics are
// sums of x - x[0]. Cotangents have
//   value(r, c), tangent(r, c): those in front of the activation.
#pragma once
#include "basin/kernels/batch_norm.h"
#include "basin/kernels/cuda/activation.cuh"
#include "basin/kernels/cuda/rows.cuh"

namespace basin::cuda {

// [count, C]. Not in the templates: nvcc loses the braces of a shape beside a device lambda.
inline Tensor channel_values(int64_t count, int64_t channels, DType dtype) {
  return Tensor::empty({count, channels}, dtype, Device::cuda);
}

// What every pass reads.
template <class T>
struct NormLayer {
  const T *x, *gamma, *mean, *var;
  int64_t rows, channels;
  double eps;
  Act act;
  T slope;
  bool given;
  __device__ double inverse_deviation(int64_t c) const {
    return cuda::inverse_deviation(var, c, eps);
  }
  // Of the normalisation, from var as it is stored.
  __device__ T scale(int64_t c) const { return static_cast<T>(gamma[c] * inverse_deviation(c)); }
};

template <class T>
NormLayer<T> norm_layer(const Tensor& x, const Tensor& gamma, const Tensor& mean, const Tensor& var,
                        const BnAct& how) {
  const int64_t channels = gamma.numel();
  return {in_ptr<T>(x),
          in_ptr<T>(gamma),
          in_ptr<T>(mean),
          in_ptr<T>(var),
          channels == 0 ? 0 : x.numel() / channels,
          channels,
          how.eps,
          how.act,
          static_cast<T>(how.slope),
          how.given_stats};
}

template <class T>
T* wanted(Tensor& t) {
  return t.defined() ? out_ptr<T>(t) : nullptr;
}

// The statistics of the batch into mean and var, which in.mean and in.var read, and the scales;
// then map(r, c) of every element, or no more with NoMap.
template <class T, class Map>
void normalise_by_batch(const char* name, const NormLayer<T>& in, T* mean, T* var, T* scale,
                        Map map) {
  const T* x = in.x;
  const double rows = static_cast<double>(in.rows);
  const auto add = [=] __device__(int64_t r, int64_t c, double* s) {
    const double d = static_cast<double>(x[r * in.channels + c]) - static_cast<double>(x[c]);
    s[0] += d;
    s[1] += d * d;
  };
  const auto finish = [=] __device__(int64_t c, const double* s) {
    const double shifted = s[0] / rows, square = s[1] / rows - shifted * shifted;
    mean[c] = static_cast<T>(static_cast<double>(x[c]) + shifted);
    var[c] = static_cast<T>(square < 0 ? 0 : square);
    scale[c] = in.scale(c);
  };
  if constexpr (std::is_same_v<Map, NoMap>) {
    finish_column_sums<2>(name, in.rows, in.channels, add, finish);
  } else {
    map_by_column_sums<2>(name, in.rows, in.channels, add, finish, map);
  }
}

template <class T>
void scales_as_given(const char* name, const NormLayer<T>& in, T* scale) {
  for_items(name, in.channels, [=] __device__(int64_t c) { scale[c] = in.scale(c); });
}

// From the sums of g and g (x - mean), g the cotangent behind the activation: dgamma and dbeta
// where they are asked for, and k [3, C] of dx = k0 g + k1 + k2 (x - mean).
template <class T>
struct BackwardCoefficients {
  NormLayer<T> in;
  T *k, *dgamma, *dbeta;
  bool summed;  // false: nobody needs the sums
  __device__ void operator()(int64_t c, const double* s) const {
    const int64_t n = in.channels;
    const double inv_std = in.inverse_deviation(c);
    const double scale = inv_std * in.gamma[c], rows = static_cast<double>(in.rows);
    k[c] = static_cast<T>(scale);
    k[n + c] = k[2 * n + c] = T(0);
    if (!summed) return;
    const double sum_g = s[0], sum_gx = s[1] * inv_std;
    if (dbeta) dbeta[c] = static_cast<T>(sum_g);
    if (dgamma) dgamma[c] = static_cast<T>(sum_gx);
    if (in.given) return;
    k[n + c] = static_cast<T>(-scale * sum_g / rows);
    k[2 * n + c] = static_cast<T>(-scale * inv_std * sum_gx / rows);
  }
};

// dx, dgamma, dbeta; null: not asked for.
template <class T, class Cotangents>
void norm_backward(const char* name, const NormLayer<T>& in, const Cotangents& cotangents, T* dx,
                   T* dgamma, T* dbeta) {
  Tensor scratch = channel_values(3, in.channels, kDTypeOf<T>);
  T* k = out_ptr<T>(scratch);
  const int64_t n = in.channels;
  const BackwardCoefficients<T> finish{in, k, dgamma, dbeta, dgamma || dbeta || !in.given};
  const auto add = [=] __device__(int64_t r, int64_t c, double* s) {
    const T g = cotangents.value(r, c);
    s[0] += static_cast<double>(g);
    s[1] += static_cast<double>(g * (in.x[r * n + c] - in.mean[c]));
  };
  const auto map = [=] __device__(int64_t r, int64_t c) {
    const int64_t i = r * n + c;
    dx[i] = k[c] * cotangents.value(r, c) + (k[n + c] + k[2 * n + c] * (in.x[i] - in.mean[c]));
  };
  if (finish.summed && dx) {
    map_by_column_sums<2>(name, in.rows, n, add, finish, map);
  } else if (finish.summed) {
    finish_column_sums<2>(name, in.rows, n, add, finish);
  } else {
    for_items(name, n, [=] __device__(int64_t c) { finish(c, nullptr); });
    if (dx) map_elements(name, in.rows, n, map);
  }
}

// From the sums of t_x and t_x (x - mean): k [3, C] of t = k0 t_x + k1 (x - mean) + k2.
template <class T>
struct TangentCoefficients {
  NormLayer<T> in;
  const T *t_gamma, *t_beta;
  T* k;
  __device__ void operator()(int64_t c, const double* sums) const {
    const int64_t n = in.channels;
    const double s = in.inverse_deviation(c), g = in.gamma[c];
    const double rows = static_cast<double>(in.rows);
    const double centre = in.given ? 0 : sums[0] / rows, slant = in.given ? 0 : sums[1] / rows;
    k[c] = static_cast<T>(g * s);
    k[n + c] = static_cast<T>(t_gamma[c] * s - g * s * s * s * slant);
    k[2 * n + c] = static_cast<T>(t_beta[c] - g * s * centre);
  }
};

// The coefficients k, then map(r, c) of every element, or no more with NoMap.
template <class T, class Map>
void norm_tangent(const char* name, const NormLayer<T>& in, const T* t_x,
                  const TangentCoefficients<T>& finish, Map map) {
  constexpr bool kMaps = !std::is_same_v<Map, NoMap>;
  const int64_t n = in.channels;
  if (in.given) {
    for_items(name, n, [=] __device__(int64_t c) { finish(c, nullptr); });
    if constexpr (kMaps) map_elements(name, in.rows, n, map);
    return;
  }
  const auto add = [=] __device__(int64_t r, int64_t c, double* s) {
    const int64_t i = r * n + c;
    s[0] += static_cast<double>(t_x[i]);
    s[1] += static_cast<double>(t_x[i] * (in.x[i] - in.mean[c]));
  };
  if constexpr (kMaps) {
    map_by_column_sums<2>(name, in.rows, n, add, finish, map);
  } else {
    finish_column_sums<2>(name, in.rows, n, add, finish);
  }
}

// From the seven sums: the coefficients k [5, C] of
//   t_dx = k0 g + k1 t_g + k2 (x - mean) + k3 t_x + k4,
// and the tangents of dgamma and dbeta.
template <class T>
struct SecondCoefficients {
  NormLayer<T> in;
  const T* t_gamma;
  T *k, *t_dgamma, *t_dbeta;
  __device__ void operator()(int64_t c, const double* sum) const {
    const int64_t n = in.channels;
    const double s = in.inverse_deviation(c), rows = static_cast<double>(in.rows);
    const double scale = in.gamma[c] * s, t_scale_g = t_gamma[c] * s;
    const double centre = in.given ? 0 : sum[0] / rows, r = in.given ? 0 : sum[1] * s / rows;
    const double sum_g = sum[2], sum_gx = sum[3] * s, sum_tg = sum[4];
    const double sum_tgx = s * (sum[5] + sum[6] - centre * sum_g) - s * r * sum_gx;
    const double t_scale = t_scale_g - scale * s * r;  // gamma's tangent and that of s
    const double each = in.given ? 0 : 1 / rows;       // the statistics' share
    k[c] = static_cast<T>(t_scale);
    k[n + c] = static_cast<T>(scale);
    k[2 * n + c] =
        static_cast<T>(s * each * (-t_scale * sum_gx - scale * sum_tgx + scale * s * r * sum_gx));
    k[3 * n + c] = static_cast<T>(-scale * s * sum_gx * each);
    k[4 * n + c] =
        static_cast<T>((-t_scale * sum_g - scale * sum_tg + scale * s * centre * sum_gx) * each);
    t_dgamma[c] = static_cast<T>(sum_tgx);
    t_dbeta[c] = static_cast<T>(sum_tg);
  }
};

template <class T, class Cotangents>
void norm_backward_tangent(const char* name, const NormLayer<T>& in, const Cotangents& cotangents,
                           const BatchNormTensors& t, BatchNormTensors& t_grads) {
  const int64_t n = in.channels;
  Tensor scratch = channel_values(5, n, kDTypeOf<T>);
  T *k = out_ptr<T>(scratch), *t_dx = out_ptr<T>(t_grads.x);
  const T* t_x = in_ptr<T>(t.x);
  const SecondCoefficients<T> finish{in, in_ptr<T>(t.gamma), k, out_ptr<T>(t_grads.gamma),
                                     out_ptr<T>(t_grads.beta)};
  map_by_column_sums<7>(
      name, in.rows, n,
      [=] __device__(int64_t r, int64_t c, double* s) {
        const int64_t i = r * n + c;
        const T d = in.x[i] - in.mean[c], t = t_x[i];
        const T g = cotangents.value(r, c), t_g = cotangents.tangent(r, c);
        s[0] += static_cast<double>(t);
        s[1] += static_cast<double>(t * d);
        s[2] += static_cast<double>(g);
        s[3] += static_cast<double>(g * d);
        s[4] += static_cast<double>(t_g);
        s[5] += static_cast<double>(t_g * d);
        s[6] += static_cast<double>(g * t);
      },
      finish,
      [=] __device__(int64_t r, int64_t c) {
        const int64_t i = r * n + c;
        t_dx[i] = (k[c] * cotangents.value(r, c) + k[n + c] * cotangents.tangent(r, c)) +
                  (k[2 * n + c] * (in.x[i] - in.mean[c]) + (k[3 * n + c] * t_x[i] + k[4 * n + c]));
      });
}

}  // namespace basin::cuda
