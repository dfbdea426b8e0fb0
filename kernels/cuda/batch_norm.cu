// CUDA batch normalisation (formulas in kernels/batch_norm.h). Each pass is column sums in double,
// coefficients per channel, and a map over the elements: one launch for few rows, else two
// (rows.cuh). As on the CPU, statistics are sums of x - x[0].
#include "basin/kernels/batch_norm.h"

#include "basin/kernels/cuda/activation.cuh"
#include "basin/kernels/cuda/rows.cuh"

namespace basin {
namespace {

// [count, C]. Not in the templates: nvcc loses the braces of a shape beside a device lambda.
Tensor coefficients(int64_t count, int64_t channels, DType dtype) {
  return Tensor::empty({count, channels}, dtype, Device::cuda);
}

// What every pass reads. y is null for Act::none.
template <class T>
struct Layer {
  const T *x, *gamma, *mean, *var, *y, *ct;
  double eps;
  Act act;
  T slope;
  bool given;
  int64_t rows, channels;
  int64_t size() const { return rows * channels; }
};

// Of the normalisation, from var as it is stored.
template <class T>
__device__ T scale_of(const Layer<T>& in, int64_t c) {
  return static_cast<T>(in.gamma[c] * cuda::inverse_deviation(in.var, c, in.eps));
}

template <class T>
__device__ T normalised(const Layer<T>& in, const T* scale, const T* beta, int64_t i, int64_t c) {
  return cuda::activate(in.act, (in.x[i] - in.mean[c]) * scale[c] + beta[c], in.slope);
}

template <class T>
void normalise_by_batch(const Layer<T>& in, const T* beta, T* mean, T* var, T* scale, T* y) {
  const T* x = in.x;
  const double rows = static_cast<double>(in.rows);
  cuda::map_by_column_sums<2>(
      BatchNormForward::name, in.rows, in.channels,
      [=] __device__(int64_t r, int64_t c, double* s) {
        const int64_t i = r * in.channels + c;
        const double d = static_cast<double>(x[i]) - static_cast<double>(x[c]);
        s[0] += d;
        s[1] += d * d;
      },
      [=] __device__(int64_t c, const double* s) {
        const double shifted = s[0] / rows, square = s[1] / rows - shifted * shifted;
        mean[c] = static_cast<T>(static_cast<double>(x[c]) + shifted);
        var[c] = static_cast<T>(square < 0 ? 0 : square);
        scale[c] = scale_of(in, c);
      },
      [=] __device__(int64_t i, int64_t c) { y[i] = normalised(in, scale, beta, i, c); });
}

template <class T>
void normalise_as_given(const Layer<T>& in, const T* beta, T* scale, T* y) {
  const char* name = BatchNormForward::name;
  cuda::for_items(name, in.channels, [=] __device__(int64_t c) { scale[c] = scale_of(in, c); });
  cuda::for_items(name, in.size(), [=] __device__(int64_t i) {
    y[i] = normalised<T>(in, scale, beta, i, i % in.channels);
  });
}

// From the sums of g and g (x - mean), g the cotangent behind the activation: dgamma and dbeta
// where they are asked for, and k [3, C] of dx = k0 g + k1 + k2 (x - mean).
template <class T>
struct BackwardCoefficients {
  Layer<T> in;
  T *k, *dgamma, *dbeta;
  bool summed;  // false: nobody needs the sums
  __device__ void operator()(int64_t c, const double* s) const {
    const int64_t n = in.channels;
    const double inv_std = cuda::inverse_deviation(in.var, c, in.eps);
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
template <class T>
void backward(const Layer<T>& in, T* dx, T* dgamma, T* dbeta) {
  const char* name = BatchNormBackward::name;
  Tensor scratch = coefficients(3, in.channels, kDTypeOf<T>);
  T* k = cuda::out_ptr<T>(scratch);
  const int64_t n = in.channels;
  const BackwardCoefficients<T> finish{in, k, dgamma, dbeta, dgamma || dbeta || !in.given};
  const auto add = [=] __device__(int64_t r, int64_t c, double* s) {
    const int64_t i = r * in.channels + c;
    const T g = cuda::pull(in.act, in.ct[i], in.y, i, in.slope);
    s[0] += static_cast<double>(g);
    s[1] += static_cast<double>(g * (in.x[i] - in.mean[c]));
  };
  const auto map = [=] __device__(int64_t i, int64_t c) {
    const T g = cuda::pull(in.act, in.ct[i], in.y, i, in.slope);
    dx[i] = k[c] * g + (k[n + c] + k[2 * n + c] * (in.x[i] - in.mean[c]));
  };
  if (finish.summed && dx) {
    cuda::map_by_column_sums<2>(name, in.rows, n, add, finish, map);
  } else if (finish.summed) {
    cuda::finish_column_sums<2>(name, in.rows, n, add, finish);
  } else {
    cuda::for_items(name, n, [=] __device__(int64_t c) { finish(c, nullptr); });
    if (dx) cuda::for_items(name, in.size(), [=] __device__(int64_t i) { map(i, i % n); });
  }
}

// From the sums of t_x and t_x (x - mean): k [3, C] of t = k0 t_x + k1 (x - mean) + k2.
template <class T>
struct TangentCoefficients {
  Layer<T> in;
  const T *t_gamma, *t_beta;
  T* k;
  __device__ void operator()(int64_t c, const double* sums) const {
    const int64_t n = in.channels;
    const double s = cuda::inverse_deviation(in.var, c, in.eps), g = in.gamma[c];
    const double rows = static_cast<double>(in.rows);
    const double centre = in.given ? 0 : sums[0] / rows, slant = in.given ? 0 : sums[1] / rows;
    k[c] = static_cast<T>(g * s);
    k[n + c] = static_cast<T>(t_gamma[c] * s - g * s * s * s * slant);
    k[2 * n + c] = static_cast<T>(t_beta[c] - g * s * centre);
  }
};

template <class T>
void tangent(const Layer<T>& in, const T* t_x, const T* t_gamma, const T* t_beta, T* t_y) {
  const char* name = BatchNormTangent::name;
  const int64_t n = in.channels;
  Tensor scratch = coefficients(3, n, kDTypeOf<T>);
  T* k = cuda::out_ptr<T>(scratch);
  const TangentCoefficients<T> finish{in, t_gamma, t_beta, k};
  const auto map = [=] __device__(int64_t i, int64_t c) {
    const T t = k[c] * t_x[i] + (k[n + c] * (in.x[i] - in.mean[c]) + k[2 * n + c]);
    t_y[i] = cuda::pull(in.act, t, in.y, i, in.slope);
  };
  if (in.given) {
    cuda::for_items(name, n, [=] __device__(int64_t c) { finish(c, nullptr); });
    cuda::for_items(name, in.size(), [=] __device__(int64_t i) { map(i, i % n); });
    return;
  }
  cuda::map_by_column_sums<2>(
      name, in.rows, n,
      [=] __device__(int64_t r, int64_t c, double* s) {
        const int64_t i = r * in.channels + c;
        s[0] += static_cast<double>(t_x[i]);
        s[1] += static_cast<double>(t_x[i] * (in.x[i] - in.mean[c]));
      },
      finish, map);
}

// From the seven sums: the coefficients k [5, C] of
//   t_dx = k0 g + k1 t_g + k2 (x - mean) + k3 t_x + k4,
// and the tangents of dgamma and dbeta.
template <class T>
struct SecondCoefficients {
  Layer<T> in;
  const T* t_gamma;
  T *k, *t_dgamma, *t_dbeta;
  __device__ void operator()(int64_t c, const double* sum) const {
    const int64_t n = in.channels;
    const double s = cuda::inverse_deviation(in.var, c, in.eps),
                 rows = static_cast<double>(in.rows);
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

template <class T>
void backward_tangent(const Layer<T>& in, const T* t_x, const T* t_gamma, const T* t_ct, T* t_dx,
                      T* t_dgamma, T* t_dbeta) {
  const char* name = BatchNormBackwardTangent::name;
  const int64_t n = in.channels;
  Tensor scratch = coefficients(5, n, kDTypeOf<T>);
  T* k = cuda::out_ptr<T>(scratch);
  cuda::map_by_column_sums<7>(
      name, in.rows, n,
      [=] __device__(int64_t r, int64_t c, double* s) {
        const int64_t i = r * in.channels + c;
        const T d = in.x[i] - in.mean[c], t = t_x[i];
        const T g = cuda::pull(in.act, in.ct[i], in.y, i, in.slope);
        const T t_g = cuda::pull(in.act, t_ct[i], in.y, i, in.slope);
        s[0] += static_cast<double>(t);
        s[1] += static_cast<double>(t * d);
        s[2] += static_cast<double>(g);
        s[3] += static_cast<double>(g * d);
        s[4] += static_cast<double>(t_g);
        s[5] += static_cast<double>(t_g * d);
        s[6] += static_cast<double>(g * t);
      },
      SecondCoefficients<T>{in, t_gamma, k, t_dgamma, t_dbeta},
      [=] __device__(int64_t i, int64_t c) {
        const T g = cuda::pull(in.act, in.ct[i], in.y, i, in.slope);
        const T t_g = cuda::pull(in.act, t_ct[i], in.y, i, in.slope);
        t_dx[i] = (k[c] * g + k[n + c] * t_g) +
                  (k[2 * n + c] * (in.x[i] - in.mean[c]) + (k[3 * n + c] * t_x[i] + k[4 * n + c]));
      });
}

// Of the forward pass, mean, var and y are where its results go.
template <class T>
Layer<T> layer(const BatchNormPoint& at, const Tensor& ct, const BnAct& how) {
  const int64_t channels = at.gamma.numel();
  return {cuda::in_ptr<T>(at.x),
          cuda::in_ptr<T>(at.gamma),
          cuda::in_ptr<T>(at.mean),
          cuda::in_ptr<T>(at.var),
          how.act == Act::none ? nullptr : cuda::in_ptr<T>(at.y),
          cuda::in_ptr<T>(ct),
          how.eps,
          how.act,
          static_cast<T>(how.slope),
          how.given_stats,
          channels == 0 ? 0 : at.x.numel() / channels,
          channels};
}

template <class T>
T* wanted(Tensor& t) {
  return t.defined() ? cuda::out_ptr<T>(t) : nullptr;
}

}  // namespace

void BatchNormForward::cuda(const Tensor& x, const Tensor& gamma, const Tensor& beta,
                            const BnAct& how, Tensor& mean, Tensor& var, Tensor& y) {
  if (x.numel() == 0) return;
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    const Layer<T> in = layer<T>({x, gamma, mean, var, y}, Tensor(), how);
    Tensor scratch = coefficients(1, in.channels, kDTypeOf<T>);
    T* scale = cuda::out_ptr<T>(scratch);
    const T* shift = cuda::in_ptr<T>(beta);
    if (how.given_stats) {
      normalise_as_given(in, shift, scale, cuda::out_ptr<T>(y));
    } else {
      normalise_by_batch(in, shift, cuda::out_ptr<T>(mean), cuda::out_ptr<T>(var), scale,
                         cuda::out_ptr<T>(y));
    }
  });
}

void BatchNormBackward::cuda(const BatchNormPoint& at, const Tensor& ct, const BnAct& how,
                             BatchNormTensors& grads) {
  dispatch_float(at.x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    backward(layer<T>(at, ct, how), wanted<T>(grads.x), wanted<T>(grads.gamma),
             wanted<T>(grads.beta));
  });
}

void BatchNormTangent::cuda(const BatchNormPoint& at, const BatchNormTensors& t, const BnAct& how,
                            Tensor& t_y) {
  dispatch_float(at.x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    tangent(layer<T>(at, Tensor(), how), cuda::in_ptr<T>(t.x), cuda::in_ptr<T>(t.gamma),
            cuda::in_ptr<T>(t.beta), cuda::out_ptr<T>(t_y));
  });
}

void BatchNormBackwardTangent::cuda(const BatchNormPoint& at, const Tensor& ct,
                                    const BatchNormTensors& t, const Tensor& t_ct, const BnAct& how,
                                    BatchNormTensors& t_grads) {
  dispatch_float(at.x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    backward_tangent(layer<T>(at, ct, how), cuda::in_ptr<T>(t.x), cuda::in_ptr<T>(t.gamma),
                     cuda::in_ptr<T>(t_ct), cuda::out_ptr<T>(t_grads.x),
                     cuda::out_ptr<T>(t_grads.gamma), cuda::out_ptr<T>(t_grads.beta));
  });
}

}  // namespace basin
