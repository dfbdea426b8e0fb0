// Batch normalisation under the maximum and the mean over the points of each cloud, on CUDA
// (formulas in kernels/norm_pool.h). A block takes one cloud and 32 channels, its eight rows of
// lanes every eighth point; sums and maxima of the lanes are joined in their order. The derivatives
// are the passes of batch normalisation (batch_norm.cuh) over cotangents that are made where they
// are read.
#include "basin/kernels/norm_pool.h"

#include "basin/kernels/cuda/batch_norm.cuh"
#include "basin/kernels/cuda/extreme.cuh"

namespace basin {
namespace {

using cuda::kChannelLanes;
using cuda::kRowLanes;

// y and its tangent at an element.
template <class T>
struct Normalised {
  cuda::NormLayer<T> in;
  const T *scale, *beta;
  __device__ T before(int64_t i, int64_t c) const {  // the activation
    return (in.x[i] - in.mean[c]) * scale[c] + beta[c];
  }
  __device__ T operator()(int64_t r, int64_t c) const {
    return cuda::activate(in.act, before(r * in.channels + c, c), in.slope);
  }
};
template <class T>
struct NormalisedTangent {
  Normalised<T> at;
  const T *t_x, *k;
  __device__ T operator()(int64_t r, int64_t c) const {
    const int64_t n = at.in.channels, i = r * n + c;
    const T t = k[c] * t_x[i] + (k[n + c] * (at.in.x[i] - at.in.mean[c]) + k[2 * n + c]);
    const T z = at.before(i, c);
    return cuda::pull(at.in.act, t, &z, 0, at.in.slope);
  }
};

// The cotangent of each row, from the cotangents of its cloud's pool and the arg-max.
template <class T>
struct PoolCotangents {
  Normalised<T> at;
  const T *ct, *t_ct;  // [B, 2 C]; t_ct is of the second order only
  const int32_t* argmax;
  cuda::FastDivide points;
  T each;  // 1 / N
  __device__ T pulled(const T* of, int64_t r, int64_t c) const {
    const int64_t n = at.in.channels, b = points.quotient(r), point = points.remainder(r, b);
    const T* pool = of + 2 * b * n + c;
    const T v = pool[n] * each + (argmax[b * n + c] == point ? pool[0] : T(0));
    const T z = at.before(r * n + c, c);
    return cuda::pull(at.in.act, v, &z, 0, at.in.slope);
  }
  __device__ T value(int64_t r, int64_t c) const { return pulled(ct, r, c); }
  __device__ T tangent(int64_t r, int64_t c) const { return pulled(t_ct, r, c); }
};

// out [B, 2 C] and argmax [B, C], which is found, or given and then not written.
template <class T, bool kFind, class Value>
__global__ void pool_kernel(int64_t points, int64_t channels, int64_t slices, Value value, T* out,
                            const int32_t* given, int32_t* found) {
  __shared__ double sums[1][kRowLanes][kChannelLanes];
  __shared__ T tops[kRowLanes][kChannelLanes];
  __shared__ int32_t places[kRowLanes][kChannelLanes];
  const int64_t b = blockIdx.x / slices;
  const int64_t c = (blockIdx.x - b * slices) * kChannelLanes + threadIdx.x;
  double sum = 0;
  cuda::Found<T> top{T(0), -1};
  if (c < channels) {
    for (int64_t n = threadIdx.y; n < points; n += kRowLanes) {
      const cuda::Found<T> next{value(b * points + n, c), static_cast<int32_t>(n)};
      sum += static_cast<double>(next.value);
      if (kFind && cuda::replaces(true, next, top)) top = next;
    }
  }
  sums[0][threadIdx.y][threadIdx.x] = sum;
  tops[threadIdx.y][threadIdx.x] = top.value;
  places[threadIdx.y][threadIdx.x] = top.at;
  __syncthreads();
  if (threadIdx.y != 0 || c >= channels) return;
  cuda::add_lanes(sums, &sum);
  if (kFind) {
    for (int lane = 1; lane < kRowLanes; ++lane) {
      const cuda::Found<T> next{tops[lane][threadIdx.x], places[lane][threadIdx.x]};
      if (cuda::replaces(true, next, top)) top = next;
    }
    found[b * channels + c] = top.at;
  } else {
    top.value = value(b * points + given[b * channels + c], c);
  }
  out[2 * b * channels + c] = top.value;
  out[(2 * b + 1) * channels + c] = static_cast<T>(sum / static_cast<double>(points));
}

template <class T, bool kFind, class Value>
void pool(const char* name, int64_t batch, const cuda::NormLayer<T>& in, const Value& value,
          Tensor& out, const int32_t* given, int32_t* found) {
  const int64_t slices = (in.channels + kChannelLanes - 1) / kChannelLanes;
  cuda::run(name, {cuda::grid_of(name, batch * slices), dim3(kChannelLanes, kRowLanes)},
            pool_kernel<T, kFind, Value>, in.rows / batch, in.channels, slices, value,
            cuda::out_ptr<T>(out), given, found);
}

template <class T>
cuda::NormLayer<T> layer_at(const NormPoolPoint& at, const BnAct& how) {
  return cuda::norm_layer<T>(at.x, at.gamma, at.mean, at.var, how);
}

// The scales of a point whose statistics are there.
template <class T>
Normalised<T> normalised_at(const char* name, const NormPoolPoint& at, const BnAct& how,
                            Tensor& scales) {
  const auto in = layer_at<T>(at, how);
  scales = cuda::channel_values(1, in.channels, kDTypeOf<T>);
  T* scale = cuda::out_ptr<T>(scales);
  cuda::scales_as_given(name, in, scale);
  return {in, scale, cuda::in_ptr<T>(at.beta)};
}

template <class T>
PoolCotangents<T> cotangents_of(const Normalised<T>& normalised, const NormPoolPoint& at,
                                const Tensor& ct, const Tensor& t_ct) {
  const int64_t points = at.x.size(1);
  return {normalised,
          cuda::in_ptr<T>(ct),
          cuda::in_ptr<T>(t_ct),
          cuda::in_ptr<int32_t>(at.argmax),
          cuda::FastDivide(points, normalised.in.rows),
          T(1) / static_cast<T>(points)};
}

}  // namespace

void NormPoolForward::cuda(const Tensor& x, const Tensor& gamma, const Tensor& beta,
                           const BnAct& how, Tensor& mean, Tensor& var, Tensor& out,
                           Tensor& argmax) {
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    const auto in = cuda::norm_layer<T>(x, gamma, mean, var, how);
    Tensor scales = cuda::channel_values(1, in.channels, kDTypeOf<T>);
    T* scale = cuda::out_ptr<T>(scales);
    if (how.given_stats) {
      cuda::scales_as_given(name, in, scale);
    } else {
      cuda::normalise_by_batch(name, in, cuda::out_ptr<T>(mean), cuda::out_ptr<T>(var), scale,
                               cuda::NoMap{});
    }
    const Normalised<T> value{in, scale, cuda::in_ptr<T>(beta)};
    const int32_t* none = nullptr;
    pool<T, true>(name, x.size(0), in, value, out, none, cuda::out_ptr<int32_t>(argmax));
  });
}

void NormPoolBackward::cuda(const NormPoolPoint& at, const Tensor& ct, const BnAct& how,
                            BatchNormTensors& grads) {
  dispatch_float(at.x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    Tensor scales;
    const auto normalised = normalised_at<T>(name, at, how, scales);
    cuda::norm_backward(name, normalised.in, cotangents_of(normalised, at, ct, Tensor()),
                        cuda::wanted<T>(grads.x), cuda::wanted<T>(grads.gamma),
                        cuda::wanted<T>(grads.beta));
  });
}

void NormPoolTangent::cuda(const NormPoolPoint& at, const BatchNormTensors& t, const BnAct& how,
                           Tensor& t_out) {
  dispatch_float(at.x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    Tensor scales, scratch = cuda::channel_values(3, at.gamma.numel(), kDTypeOf<T>);
    const auto normalised = normalised_at<T>(name, at, how, scales);
    const T* t_x = cuda::in_ptr<T>(t.x);
    T* k = cuda::out_ptr<T>(scratch);
    const cuda::TangentCoefficients<T> finish{normalised.in, cuda::in_ptr<T>(t.gamma),
                                              cuda::in_ptr<T>(t.beta), k};
    cuda::norm_tangent(name, normalised.in, t_x, finish, cuda::NoMap{});
    const NormalisedTangent<T> value{normalised, t_x, k};
    int32_t* none = nullptr;
    pool<T, false>(name, at.x.size(0), normalised.in, value, t_out,
                   cuda::in_ptr<int32_t>(at.argmax), none);
  });
}

void NormPoolBackwardTangent::cuda(const NormPoolPoint& at, const Tensor& ct,
                                   const BatchNormTensors& t, const Tensor& t_ct, const BnAct& how,
                                   BatchNormTensors& t_grads) {
  dispatch_float(at.x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    Tensor scales;
    const auto normalised = normalised_at<T>(name, at, how, scales);
    cuda::norm_backward_tangent(name, normalised.in, cotangents_of(normalised, at, ct, t_ct), t,
                                t_grads);
  });
}

}  // namespace basin
