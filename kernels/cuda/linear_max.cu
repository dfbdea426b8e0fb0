// Linear + batch norm + activation + max over points on CUDA, in closed form (formulas in
// linear_max.h). Forward: moments of x -> statistics; the maxima of the raw products; then the
// affine map and the activation on [B, Cout]. Backward: the sparse part is gathered and added at
// the arg-max rows, the constant part is one row vector, the low-rank part one Cin x Cin product.
// Nothing of size B * N * Cout is stored; dx needs one copy of x.
#include "basin/kernels/cuda/linear_max.cuh"
#include "basin/kernels/cuda/row_max.cuh"
#include "basin/kernels/cuda/row_moments.cuh"
#include "basin/kernels/gemm.h"

namespace basin {
namespace {

using cuda::layer_scratch;
using cuda::WideLayer;

// mean[c] = w_c mu + bias[c], var[c] = w_c S w_c^T; spread is w S.
template <class T>
void statistics(const WideLayer<T>& in, const double* mu, const double* spread, T* mean, T* var) {
  cuda::for_warps(LinearBnActMaxForward::name, in.out, [=] __device__(int64_t c, int lane) {
    double centre = 0, square = 0;
    for (int64_t i = lane; i < in.in; i += cuda::kChannelLanes) {
      const double w = in.w[c * in.in + i];
      centre += w * mu[i];
      square += w * spread[c * in.in + i];
    }
    centre = cuda::warp_sum(centre);
    square = cuda::warp_sum(square);
    if (lane != 0) return;
    mean[c] = static_cast<T>(centre + in.bias[c]);
    var[c] = static_cast<T>(square < 0 ? 0 : square);
  });
}

// y and argmax from the largest signed products of the runs.
template <class T>
void finish_outputs(const WideLayer<T>& in, const cuda::RunMaxima& maxima, const T* beta,
                    double slope, T* y, int32_t* argmax) {
  const T* value = cuda::in_ptr<T>(maxima.value);
  const int32_t* place = cuda::in_ptr<int32_t>(maxima.place);
  const int64_t runs = maxima.runs;
  const char* name = LinearBnActMaxForward::name;
  cuda::map_elements(name, in.batch, in.out, [=] __device__(int64_t b, int64_t c) {
    const int64_t i = b * in.out + c;
    const cuda::Best<T> top = cuda::join_runs(value, place, runs, in.out, b, c);
    const double gamma = in.gamma[c], sign = gamma < 0 ? -1 : gamma > 0 ? 1 : 0;
    const double product = sign * top.value;
    const double z = (product + in.bias[c] - in.mean[c]) * (gamma * in.inv_std(c)) + beta[c];
    y[i] = static_cast<T>(cuda::activate(in.act, z, slope));
    argmax[i] = top.point;
  });
}

// What the derivative needs per channel; all on the device.
struct Gradient {
  Tensor g;         // [B, Cout] T: ct act'(y)
  Tensor sparse;    // [Cout, Cin] f64: sum_b g (x[argmax] - mu)
  Tensor channels;  // [3, Cout] f64: a, k1, k2
  Tensor moments;   // [1 + Cin, Cin] f64, training only
};

// mu[i] as x has it; zero where the statistics are given.
template <class T>
__device__ T centre_at(const double* mu, int64_t i) {
  return mu ? static_cast<T>(mu[i]) : T(0);
}

template <class T>
void sum_winners(const WideLayer<T>& in, const T* ct, const double* mu, double* sparse) {
  cuda::for_rows(LinearBnActMaxBackward::name, in.out, in.in, [=] __device__(int64_t c, int64_t i) {
    const T centre = centre_at<T>(mu, i);
    double sum = 0;
    for (int64_t b = 0; b < in.batch; ++b) {
      const int64_t at = b * in.out + c;
      const T value = cuda::pull(in.act, ct[at], in.y, at, in.slope);
      if (value == T(0)) continue;
      sum += static_cast<double>(value) * static_cast<double>(in.x[in.winner(b, c) + i] - centre);
    }
    sparse[c * in.in + i] = sum;
  });
}

// Where the gradients of the parameters go; null: not asked for.
template <class T>
struct ParameterGradients {
  T *w, *bias, *gamma, *beta;
};

// g, then a, k1, k2 and the gradients of the parameters, with dw = a sparse + k2 R (w S); spread is
// w S, null when the statistics are given.
template <class T>
void finish_channels(const WideLayer<T>& in, const T* ct, const double* sparse,
                     const double* spread, T* g, double* k, const ParameterGradients<T>& d) {
  const double count = in.count();
  cuda::for_warps(LinearBnActMaxBackward::name, in.out, [=] __device__(int64_t c, int lane) {
    double along = 0, sum_g = 0;
    for (int64_t i = lane; i < in.in; i += cuda::kChannelLanes) {
      along += static_cast<double>(in.w[c * in.in + i]) * sparse[c * in.in + i];
    }
    for (int64_t b = lane; b < in.batch; b += cuda::kChannelLanes) {
      const int64_t at = b * in.out + c;
      g[at] = cuda::pull(in.act, ct[at], in.y, at, in.slope);
      sum_g += g[at];
    }
    along = cuda::warp_sum(along);
    sum_g = cuda::warp_sum(sum_g);
    const double inv_std = in.inv_std(c), a = in.gamma[c] * inv_std;
    const double offset = in.given ? static_cast<double>(in.bias[c]) - in.mean[c] : 0.0;
    const double sum_ghat = inv_std * (along + offset * sum_g);
    const double k2 = in.given ? 0 : -a * inv_std * sum_ghat / count;
    for (int64_t i = lane; d.w && i < in.in; i += cuda::kChannelLanes) {
      const int64_t at = c * in.in + i;
      d.w[at] = static_cast<T>(a * sparse[at] + (spread ? k2 * count * spread[at] : 0.0));
    }
    if (lane != 0) return;
    k[c] = a;
    k[in.out + c] = in.given ? 0 : -a * sum_g / count;
    k[2 * in.out + c] = k2;
    if (d.gamma) d.gamma[c] = static_cast<T>(sum_ghat);
    if (d.beta) d.beta[c] = static_cast<T>(sum_g);
    if (d.bias) d.bias[c] = in.given ? static_cast<T>(a * sum_g) : T(0);
  });
}

// scaled = diag(k2) w, constant = w^T k1
template <class T>
void dense_parts(const WideLayer<T>& in, const double* k, T* scaled, T* constant) {
  cuda::finish_column_sums<1>(
      LinearBnActMaxBackward::name, in.out, in.in,
      [=] __device__(int64_t c, int64_t i, double* s) {
        const T w = in.w[c * in.in + i];
        scaled[c * in.in + i] = static_cast<T>(k[2 * in.out + c]) * w;
        s[0] += k[in.out + c] * w;
      },
      [=] __device__(int64_t i, const double* s) { constant[i] = static_cast<T>(s[0]); },
      cuda::kRowLanes);
}

template <class T>
void centre_points(const WideLayer<T>& in, const double* mu, T* centred) {
  const char* name = LinearBnActMaxBackward::name;
  cuda::for_rows(name, in.rows(), in.in, [=] __device__(int64_t r, int64_t i) {
    centred[r * in.in + i] = in.x[r * in.in + i] - centre_at<T>(mu, i);
  });
}

template <class T>
void add_sparse(const WideLayer<T>& in, const double* k, const T* g, const T* constant, T* dx) {
  cuda::add_winners(
      LinearBnActMaxBackward::name, in, constant,
      [=] __device__(int64_t b, int64_t c) { return static_cast<T>(k[c] * g[b * in.out + c]); },
      in.w, [] __device__(int64_t, int64_t) { return T(0); }, static_cast<const T*>(nullptr), dx);
}

// dx: (x - mu) (w^T diag(k2) w), then the constant and the sparse part.
template <class T>
void pull_points(const WideLayer<T>& in, const Gradient& d, const Tensor& w, Tensor& dx) {
  const double* k = cuda::in_ptr<double>(d.channels);
  const T* g = cuda::in_ptr<T>(d.g);
  T* out = cuda::out_ptr<T>(dx);
  if (in.given) {
    add_sparse(in, k, g, static_cast<const T*>(nullptr), out);
    return;
  }
  const DType dtype = kDTypeOf<T>;
  Tensor scaled = layer_scratch(in.out, in.in, dtype), dense = layer_scratch(in.in, in.in, dtype);
  Tensor centred = layer_scratch(in.rows(), in.in, dtype);
  Tensor constant = layer_scratch(1, in.in, dtype);
  dense_parts(in, k, cuda::out_ptr<T>(scaled), cuda::out_ptr<T>(constant));
  Matmul::cuda(w, scaled, true, false, dense);
  centre_points(in, cuda::in_ptr<double>(d.moments), cuda::out_ptr<T>(centred));
  Tensor product = dx.view(centred.shape());
  Matmul::cuda(centred, dense, false, false, product);
  add_sparse(in, k, g, cuda::in_ptr<T>(constant), out);
}

template <class T>
T* wanted(Tensor& t) {
  return t.defined() ? cuda::out_ptr<T>(t) : nullptr;
}

}  // namespace

void LinearBnActMaxForward::cuda(const Tensor& x, const Tensor& w, const Tensor& bias,
                                 const Tensor& gamma, const Tensor& beta, const BnAct& how,
                                 Tensor& y, Tensor& mean, Tensor& var, Tensor& argmax,
                                 LinearMaxKept* kept) {
  check(!kept || !kept->active.defined(), name, ": has no mean on a device");
  dispatch_float(x.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    const WideLayer<T> in = cuda::wide_layer<T>({x, w, bias, gamma, y, mean, var, argmax, {}}, how);
    if (!how.given_stats) {
      Tensor m = kept && kept->moments.defined() ? kept->moments
                                                 : layer_scratch(1 + in.in, in.in, DType::f64);
      cuda::row_cross_moments(name, x, x, m);
      const Tensor spread = cuda::wide_product(name, w, cuda::moment_matrix(m));
      statistics(in, cuda::in_ptr<double>(m), cuda::in_ptr<double>(spread), cuda::out_ptr<T>(mean),
                 cuda::out_ptr<T>(var));
    }
    finish_outputs(in, cuda::row_max(name, x, w, gamma), cuda::in_ptr<T>(beta), how.slope,
                   cuda::out_ptr<T>(y), cuda::out_ptr<int32_t>(argmax));
  });
}

void LinearBnActMaxBackward::cuda(const LinearMaxPoint& at, const Tensor& ct, const BnAct& how,
                                  LinearMaxTensors& grads) {
  dispatch_float(at.x.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    const WideLayer<T> in = cuda::wide_layer<T>(at, how);
    Gradient d{layer_scratch(in.batch, in.out, kDTypeOf<T>),
               layer_scratch(in.out, in.in, DType::f64), layer_scratch(3, in.out, DType::f64),
               Tensor()};
    if (!how.given_stats) {
      d.moments =
          at.kept.moments.defined() ? at.kept.moments : layer_scratch(1 + in.in, in.in, DType::f64);
      if (!at.kept.moments.defined()) cuda::row_cross_moments(name, at.x, at.x, d.moments);
    }
    Tensor spread;
    if (grads.w.defined() && !how.given_stats) {
      spread = cuda::wide_product(name, at.w, cuda::moment_matrix(d.moments));
    }
    const T* cts = cuda::in_ptr<T>(ct);
    double* sparse = cuda::out_ptr<double>(d.sparse);
    sum_winners(in, cts, cuda::in_ptr<double>(d.moments), sparse);
    finish_channels(in, cts, static_cast<const double*>(sparse), cuda::in_ptr<double>(spread),
                    cuda::out_ptr<T>(d.g), cuda::out_ptr<double>(d.channels),
                    ParameterGradients<T>{wanted<T>(grads.w), wanted<T>(grads.bias),
                                          wanted<T>(grads.gamma), wanted<T>(grads.beta)});
    if (grads.x.defined()) pull_points(in, d, at.w, grads.x);
  });
}

}  // namespace basin
