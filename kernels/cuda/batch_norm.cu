// CUDA batch normalisation (formulas in kernels/batch_norm.h; the passes in batch_norm.cuh).
#include "basin/kernels/cuda/batch_norm.cuh"

namespace basin {
namespace {

template <class T>
struct Normalise {
  cuda::NormLayer<T> in;
  const T *scale, *beta;
  T* y;
  __device__ void operator()(int64_t r, int64_t c) const {
    const int64_t i = r * in.channels + c;
    y[i] = cuda::activate(in.act, (in.x[i] - in.mean[c]) * scale[c] + beta[c], in.slope);
  }
};

// Cotangents that are there. y is null for Act::none; t_ct is of the second order only.
template <class T>
struct RowCotangents {
  const T *y, *ct, *t_ct;
  int64_t channels;
  Act act;
  T slope;
  __device__ T value(int64_t r, int64_t c) const {
    const int64_t i = r * channels + c;
    return cuda::pull(act, ct[i], y, i, slope);
  }
  __device__ T tangent(int64_t r, int64_t c) const {
    const int64_t i = r * channels + c;
    return cuda::pull(act, t_ct[i], y, i, slope);
  }
};

template <class T>
cuda::NormLayer<T> layer_at(const BatchNormPoint& at, const BnAct& how) {
  return cuda::norm_layer<T>(at.x, at.gamma, at.mean, at.var, how);
}

template <class T>
RowCotangents<T> cotangents_of(const BatchNormPoint& at, const Tensor& ct, const Tensor& t_ct,
                               const BnAct& how) {
  return {how.act == Act::none ? nullptr : cuda::in_ptr<T>(at.y),
          cuda::in_ptr<T>(ct),
          cuda::in_ptr<T>(t_ct),
          at.gamma.numel(),
          how.act,
          static_cast<T>(how.slope)};
}

template <class T>
void tangent(const cuda::NormLayer<T>& in, const T* y, const BatchNormTensors& t, T* t_y) {
  Tensor scratch = cuda::channel_values(3, in.channels, kDTypeOf<T>);
  T* k = cuda::out_ptr<T>(scratch);
  const T* t_x = cuda::in_ptr<T>(t.x);
  const int64_t n = in.channels;
  const cuda::TangentCoefficients<T> finish{in, cuda::in_ptr<T>(t.gamma), cuda::in_ptr<T>(t.beta),
                                            k};
  cuda::norm_tangent(BatchNormTangent::name, in, t_x, finish, [=] __device__(int64_t r, int64_t c) {
    const int64_t i = r * n + c;
    const T t = k[c] * t_x[i] + (k[n + c] * (in.x[i] - in.mean[c]) + k[2 * n + c]);
    t_y[i] = cuda::pull(in.act, t, y, i, in.slope);
  });
}

}  // namespace

void BatchNormForward::cuda(const Tensor& x, const Tensor& gamma, const Tensor& beta,
                            const BnAct& how, Tensor& mean, Tensor& var, Tensor& y) {
  if (x.numel() == 0) return;
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    const auto in = cuda::norm_layer<T>(x, gamma, mean, var, how);
    Tensor scratch = cuda::channel_values(1, in.channels, kDTypeOf<T>);
    T* scale = cuda::out_ptr<T>(scratch);
    const Normalise<T> map{in, scale, cuda::in_ptr<T>(beta), cuda::out_ptr<T>(y)};
    if (how.given_stats) {
      cuda::scales_as_given(name, in, scale);
      cuda::map_elements(name, in.rows, in.channels, map);
    } else {
      cuda::normalise_by_batch(name, in, cuda::out_ptr<T>(mean), cuda::out_ptr<T>(var), scale, map);
    }
  });
}

void BatchNormBackward::cuda(const BatchNormPoint& at, const Tensor& ct, const BnAct& how,
                             BatchNormTensors& grads) {
  dispatch_float(at.x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    cuda::norm_backward(name, layer_at<T>(at, how), cotangents_of<T>(at, ct, Tensor(), how),
                        cuda::wanted<T>(grads.x), cuda::wanted<T>(grads.gamma),
                        cuda::wanted<T>(grads.beta));
  });
}

void BatchNormTangent::cuda(const BatchNormPoint& at, const BatchNormTensors& t, const BnAct& how,
                            Tensor& t_y) {
  dispatch_float(at.x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    tangent(layer_at<T>(at, how), how.act == Act::none ? nullptr : cuda::in_ptr<T>(at.y), t,
            cuda::out_ptr<T>(t_y));
  });
}

void BatchNormBackwardTangent::cuda(const BatchNormPoint& at, const Tensor& ct,
                                    const BatchNormTensors& t, const Tensor& t_ct, const BnAct& how,
                                    BatchNormTensors& t_grads) {
  dispatch_float(at.x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    cuda::norm_backward_tangent(name, layer_at<T>(at, how), cotangents_of<T>(at, ct, t_ct, how), t,
                                t_grads);
  });
}

}  // namespace basin
