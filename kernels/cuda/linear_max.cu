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

// y holds the largest signed products on entry.
template <class T>
void finish_outputs(const WideLayer<T>& in, const T* beta, double slope, T* y) {
  cuda::for_items(LinearBnActMaxForward::name, in.batch * in.out, [=] __device__(int64_t i) {
    const int64_t c = i % in.out;
    const double gamma = in.gamma[c], sign = gamma < 0 ? -1 : gamma > 0 ? 1 : 0;
    const double product = sign * y[i];
    const double z = (product + in.bias[c] - in.mean[c]) * (gamma * in.inv_std(c)) + beta[c];
    y[i] = static_cast<T>(cuda::activate(in.act, z, slope));
  });
}

// What the derivative needs per channel; all on the device.
struct Gradient {
  Tensor g;         // [B, Cout] T: ct act'(y)
  Tensor sparse;    // [Cout, Cin] f64: sum_b g (x[argmax] - centre)
  Tensor channels;  // [3, Cout] f64: a, k1, k2
  Tensor moments;   // [1 + Cin, Cin] f64, training only
  Tensor centre;    // [1, Cin] T: mu, or zero when the statistics are given
};

template <class T>
void set_centre(const WideLayer<T>& in, const double* mu, T* centre) {
  cuda::for_items(LinearBnActMaxBackward::name, in.in,
                  [=] __device__(int64_t i) { centre[i] = mu ? static_cast<T>(mu[i]) : T(0); });
}

template <class T>
void sum_winners(const WideLayer<T>& in, const T* ct, const T* centre, T* g, double* sparse) {
  const char* name = LinearBnActMaxBackward::name;
  cuda::for_items(name, in.batch * in.out, [=] __device__(int64_t i) {
    g[i] = cuda::pull(in.act, ct[i], in.y, i, in.slope);
  });
  cuda::for_rows(name, in.out, in.in, [=] __device__(int64_t c, int64_t i) {
    double sum = 0;
    for (int64_t b = 0; b < in.batch; ++b) {
      const T value = g[b * in.out + c];
      if (value == T(0)) continue;
      sum +=
          static_cast<double>(value) * static_cast<double>(in.x[in.winner(b, c) + i] - centre[i]);
    }
    sparse[c * in.in + i] = sum;
  });
}

// a, k1, k2 and the gradients per channel; null: not asked for.
template <class T>
void finish_channels(const WideLayer<T>& in, const T* g, const double* sparse, double* k, T* dgamma,
                     T* dbeta, T* dbias) {
  const double count = in.count();
  cuda::for_warps(LinearBnActMaxBackward::name, in.out, [=] __device__(int64_t c, int lane) {
    double along = 0, sum_g = 0;
    for (int64_t i = lane; i < in.in; i += cuda::kChannelLanes) {
      along += static_cast<double>(in.w[c * in.in + i]) * sparse[c * in.in + i];
    }
    for (int64_t b = lane; b < in.batch; b += cuda::kChannelLanes) sum_g += g[b * in.out + c];
    along = cuda::warp_sum(along);
    sum_g = cuda::warp_sum(sum_g);
    if (lane != 0) return;
    const double inv_std = in.inv_std(c), a = in.gamma[c] * inv_std;
    const double offset = in.given ? static_cast<double>(in.bias[c]) - in.mean[c] : 0.0;
    const double sum_ghat = inv_std * (along + offset * sum_g);
    k[c] = a;
    k[in.out + c] = in.given ? 0 : -a * sum_g / count;
    k[2 * in.out + c] = in.given ? 0 : -a * inv_std * sum_ghat / count;
    if (dgamma) dgamma[c] = static_cast<T>(sum_ghat);
    if (dbeta) dbeta[c] = static_cast<T>(sum_g);
    if (dbias) dbias[c] = in.given ? static_cast<T>(a * sum_g) : T(0);
  });
}

// dw = a sparse + k2 R (w S); spread is w S, null when the statistics are given.
template <class T>
void pull_weights(const WideLayer<T>& in, const double* k, const double* sparse,
                  const double* spread, T* dw) {
  const double count = in.count();
  cuda::for_items(LinearBnActMaxBackward::name, in.out * in.in, [=] __device__(int64_t i) {
    const int64_t c = i / in.in;
    const double low_rank = spread ? k[2 * in.out + c] * count * spread[i] : 0.0;
    dw[i] = static_cast<T>(k[c] * sparse[i] + low_rank);
  });
}

// diag(k2) w, and w^T k1 as column sums.
template <class T>
Tensor dense_parts(const WideLayer<T>& in, const double* k, T* scaled) {
  return cuda::column_sums<1>(
      LinearBnActMaxBackward::name, in.out, in.in,
      [=] __device__(int64_t c, int64_t i, double* s) {
        const T w = in.w[c * in.in + i];
        scaled[c * in.in + i] = static_cast<T>(k[2 * in.out + c]) * w;
        s[0] += k[in.out + c] * w;
      },
      cuda::kRowLanes);
}

template <class T>
void centre_points(const WideLayer<T>& in, const double* constants, const T* centre, T* centred,
                   T* constant) {
  const char* name = LinearBnActMaxBackward::name;
  cuda::for_rows(name, in.rows(), in.in, [=] __device__(int64_t r, int64_t i) {
    centred[r * in.in + i] = in.x[r * in.in + i] - centre[i];
  });
  cuda::for_items(name, in.in,
                  [=] __device__(int64_t i) { constant[i] = static_cast<T>(constants[i]); });
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
  Tensor centred = layer_scratch(in.rows(), in.in, dtype),
         constant = layer_scratch(1, in.in, dtype);
  const Tensor constants = dense_parts(in, k, cuda::out_ptr<T>(scaled));
  Matmul::cuda(w, scaled, true, false, dense);
  centre_points(in, cuda::in_ptr<double>(constants), cuda::in_ptr<T>(d.centre),
                cuda::out_ptr<T>(centred), cuda::out_ptr<T>(constant));
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
                                 Tensor* moments) {
  dispatch_float(x.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    const WideLayer<T> in = cuda::wide_layer<T>({x, w, bias, gamma, y, mean, var, argmax, {}}, how);
    if (!how.given_stats) {
      Tensor m =
          moments && moments->defined() ? *moments : layer_scratch(1 + in.in, in.in, DType::f64);
      cuda::row_cross_moments(name, x, x, m);
      const Tensor spread = cuda::wide_product(name, w, cuda::moment_matrix(name, m));
      statistics(in, cuda::in_ptr<double>(m), cuda::in_ptr<double>(spread), cuda::out_ptr<T>(mean),
                 cuda::out_ptr<T>(var));
    }
    cuda::row_max(name, x, w, gamma, y, argmax);
    finish_outputs(in, cuda::in_ptr<T>(beta), how.slope, cuda::out_ptr<T>(y));
  });
}

void LinearBnActMaxBackward::cuda(const LinearMaxPoint& at, const Tensor& ct, const BnAct& how,
                                  LinearMaxTensors& grads) {
  dispatch_float(at.x.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    const WideLayer<T> in = cuda::wide_layer<T>(at, how);
    Gradient d{layer_scratch(in.batch, in.out, kDTypeOf<T>),
               layer_scratch(in.out, in.in, DType::f64), layer_scratch(3, in.out, DType::f64),
               Tensor(), layer_scratch(1, in.in, kDTypeOf<T>)};
    if (!how.given_stats) {
      d.moments = at.moments.defined() ? at.moments : layer_scratch(1 + in.in, in.in, DType::f64);
      if (!at.moments.defined()) cuda::row_cross_moments(name, at.x, at.x, d.moments);
    }
    set_centre(in, cuda::in_ptr<double>(d.moments), cuda::out_ptr<T>(d.centre));
    const double* sparse = cuda::in_ptr<double>(d.sparse);
    sum_winners(in, cuda::in_ptr<T>(ct), cuda::in_ptr<T>(d.centre), cuda::out_ptr<T>(d.g),
                cuda::out_ptr<double>(d.sparse));
    finish_channels(in, cuda::in_ptr<T>(d.g), sparse, cuda::out_ptr<double>(d.channels),
                    wanted<T>(grads.gamma), wanted<T>(grads.beta), wanted<T>(grads.bias));
    if (grads.w.defined()) {
      Tensor spread;
      if (!how.given_stats) {
        spread = cuda::wide_product(name, at.w, cuda::moment_matrix(name, d.moments));
      }
      pull_weights(in, cuda::in_ptr<double>(d.channels), sparse, cuda::in_ptr<double>(spread),
                   cuda::out_ptr<T>(grads.w));
    }
    if (grads.x.defined()) pull_points(in, d, at.w, grads.x);
  });
}

}  // namespace basin
