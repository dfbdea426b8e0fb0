// Tangents of linear + batch norm + activation + max and of its derivative on CUDA (formulas in
// linear_max.h). Everything is taken at the arg-max rows, from the moments of x, and from one cross
// covariance of x with its tangent: nothing of size B * N * Cout, as in the first order.
#include "basin/kernels/cuda/linear_max.cuh"
#include "basin/kernels/cuda/row_moments.cuh"
#include "basin/kernels/gemm.h"

namespace basin {
namespace {

using cuda::layer_scratch;
using cuda::WideLayer;

// The tangents beside the layer. Pooled values are of the winning row n = argmax[b, c].
template <class T>
struct Pushed {
  const T *t_x, *t_w, *t_bias, *t_gamma;
  const T *centre, *t_centre;    // [Cin]: mu and the mean of t_x, or zeros
  const double *spread, *cross;  // [Cout, Cin]: w S and w (D + D^T); null when given
  double *zhat, *t_zhat;         // [B, Cout]
  double* slant;                 // [Cout]: r
};
// What owns the memory of a Pushed.
struct PushedMemory {
  Tensor moments, cross_moments;  // [1 + Cin, Cin] f64
  Tensor centres;                 // [2, Cin] T
  Tensor spread, cross;           // [Cout, Cin] f64
  Tensor pooled;                  // [2, B Cout] f64
  Tensor slant;                   // [1, Cout] f64
};

// mu and mean t_x in T; zeros where there are no moments.
template <class T>
void set_centres(const char* name, const double* mu, const double* t_mu, T* centres, int64_t n) {
  cuda::for_items(name, n, [=] __device__(int64_t i) {
    centres[i] = mu ? static_cast<T>(mu[i]) : T(0);
    centres[n + i] = mu ? static_cast<T>(t_mu[i]) : T(0);
  });
}

// r = s (w S t_w^T + w D w^T); w D w^T is half of w (D + D^T) w^T.
template <class T>
void push_deviations(const char* name, const WideLayer<T>& in, const Pushed<T>& p) {
  cuda::for_warps(name, in.out, [=] __device__(int64_t c, int lane) {
    double sum = 0;
    for (int64_t i = lane; p.spread && i < in.in; i += cuda::kChannelLanes) {
      const int64_t at = c * in.in + i;
      sum += p.t_w[at] * p.spread[at] + 0.5 * in.w[at] * p.cross[at];
    }
    sum = cuda::warp_sum(sum);
    if (lane == 0) p.slant[c] = in.inv_std(c) * sum;
  });
}

// zhat and its tangent at the winners: a warp per maximum.
template <class T>
void push_winners(const char* name, const WideLayer<T>& in, const Pushed<T>& p) {
  cuda::for_warps(name, in.batch * in.out, [=] __device__(int64_t item, int lane) {
    const int64_t b = item / in.out, c = item - b * in.out;
    const T *x = in.x + in.winner(b, c), *t_x = p.t_x + in.winner(b, c);
    const T *w = in.w + c * in.in, *t_w = p.t_w + c * in.in;
    double z = 0, t_z = 0;
    for (int64_t i = lane; i < in.in; i += cuda::kChannelLanes) {
      const double value = x[i] - p.centre[i], t_value = t_x[i] - p.t_centre[i];
      z += value * w[i];
      t_z += t_value * w[i] + value * t_w[i];
    }
    z = cuda::warp_sum(z);
    t_z = cuda::warp_sum(t_z);
    if (lane != 0) return;
    if (in.given) {
      z += static_cast<double>(in.bias[c]) - in.mean[c];
      t_z += p.t_bias[c];
    }
    const double s = in.inv_std(c);
    p.zhat[item] = s * z;
    p.t_zhat[item] = s * (t_z - p.slant[c] * s * z);
  });
}

template <class T>
Pushed<T> push(const char* name, const WideLayer<T>& in, const LinearMaxPoint& primal,
               const LinearMaxTensors& t, PushedMemory& m) {
  m.centres = layer_scratch(2, in.in, kDTypeOf<T>);
  m.pooled = layer_scratch(2, in.batch * in.out, DType::f64);
  m.slant = layer_scratch(1, in.out, DType::f64);
  if (!in.given) {
    m.moments = primal.kept.moments;
    if (!m.moments.defined()) {
      m.moments = layer_scratch(1 + in.in, in.in, DType::f64);
      cuda::row_cross_moments(name, primal.x, primal.x, m.moments);
    }
    m.cross_moments = layer_scratch(1 + in.in, in.in, DType::f64);
    cuda::row_cross_moments(name, primal.x, t.x, m.cross_moments);
    m.spread = cuda::wide_product(name, primal.w, cuda::moment_matrix(m.moments));
    const Tensor cross = cuda::symmetric_moments(name, m.cross_moments);
    m.cross = cuda::wide_product(name, primal.w, cuda::in_ptr<double>(cross));
  }
  T* centres = cuda::out_ptr<T>(m.centres);
  double* pooled = cuda::out_ptr<double>(m.pooled);
  set_centres(name, cuda::in_ptr<double>(m.moments), cuda::in_ptr<double>(m.cross_moments), centres,
              in.in);
  const Pushed<T> p{cuda::in_ptr<T>(t.x),
                    cuda::in_ptr<T>(t.w),
                    cuda::in_ptr<T>(t.bias),
                    cuda::in_ptr<T>(t.gamma),
                    centres,
                    centres + in.in,
                    cuda::in_ptr<double>(m.spread),
                    cuda::in_ptr<double>(m.cross),
                    pooled,
                    pooled + in.batch * in.out,
                    cuda::out_ptr<double>(m.slant)};
  push_deviations(name, in, p);
  push_winners(name, in, p);
  return p;
}

template <class T>
void push_outputs(const WideLayer<T>& in, const Pushed<T>& p, const T* t_beta, double slope,
                  T* t_y) {
  const char* name = LinearBnActMaxTangent::name;
  cuda::map_elements(name, in.batch, in.out, [=] __device__(int64_t b, int64_t c) {
    const int64_t i = b * in.out + c;
    const double t_z = p.t_gamma[c] * p.zhat[i] + in.gamma[c] * p.t_zhat[i] + t_beta[c];
    t_y[i] = static_cast<T>(cuda::pull(in.act, t_z, in.y, i, slope));
  });
}

// Rows of the coefficients [6, Cout] f64 of the derivative, and their tangents.
enum Row { kA, kTA, kK1, kTK1, kK2, kTK2 };

// The coefficients, t_dgamma, t_dbeta; g, t_g [B, Cout]. Neighbouring threads read neighbouring
// channels of a row of g.
template <class T>
void finish_channels(const WideLayer<T>& in, const Pushed<T>& p, const T* ct, const T* t_ct,
                     double slope, double* g, double* t_g, double* k, T* t_dgamma, T* t_dbeta) {
  const double rows = in.count();
  const int64_t n = in.out;
  cuda::for_items(LinearBnActMaxBackwardTangent::name, n, [=] __device__(int64_t c) {
    double sum_g = 0, sum_tg = 0, sum_gz = 0, sum_tgz = 0;
    for (int64_t b = 0; b < in.batch; ++b) {
      const int64_t i = b * n + c;
      const double own = cuda::pull(in.act, static_cast<double>(ct[i]), in.y, i, slope);
      const double t_own = cuda::pull(in.act, static_cast<double>(t_ct[i]), in.y, i, slope);
      g[i] = own;
      t_g[i] = t_own;
      sum_g += own;
      sum_tg += t_own;
      sum_gz += own * p.zhat[i];
      sum_tgz += t_own * p.zhat[i] + own * p.t_zhat[i];
    }
    t_dgamma[c] = static_cast<T>(sum_tgz);
    t_dbeta[c] = static_cast<T>(sum_tg);
    const double s = in.inv_std(c), t_s = -s * s * p.slant[c];
    const double a = in.gamma[c] * s, t_a = p.t_gamma[c] * s + in.gamma[c] * t_s;
    const double share = in.given ? 0 : 1 / rows;
    k[kA * n + c] = a;
    k[kTA * n + c] = t_a;
    k[kK1 * n + c] = -a * sum_g * share;
    k[kTK1 * n + c] = -(t_a * sum_g + a * sum_tg) * share;
    k[kK2 * n + c] = -a * s * sum_gz * share;
    k[kTK2 * n + c] = -(t_a * s * sum_gz + a * t_s * sum_gz + a * s * sum_tgz) * share;
  });
}

// t_dw and t_dbias; t_spread is t_w S, null when the statistics are given.
template <class T>
void push_weights(const WideLayer<T>& in, const Pushed<T>& p, const double* k, const double* g,
                  const double* t_g, const double* t_spread, T* t_dw, T* t_dbias) {
  const char* name = LinearBnActMaxBackwardTangent::name;
  const double rows = in.count();
  const int64_t n = in.out;
  cuda::for_rows(name, n, in.in, [=] __device__(int64_t c, int64_t i) {
    const double a = k[kA * n + c], t_a = k[kTA * n + c];
    double sum = 0;
    for (int64_t b = 0; b < in.batch; ++b) {
      const int64_t at = in.winner(b, c) + i, item = b * n + c;
      sum += (t_a * g[item] + a * t_g[item]) * static_cast<double>(in.x[at] - p.centre[i]);
      sum += a * g[item] * static_cast<double>(p.t_x[at] - p.t_centre[i]);
    }
    const int64_t at = c * in.in + i;
    if (t_spread) {
      sum += rows * k[kTK2 * n + c] * p.spread[at];
      sum += rows * k[kK2 * n + c] * (p.cross[at] + t_spread[at]);
    }
    t_dw[at] = static_cast<T>(sum);
  });
  cuda::for_items(name, n, [=] __device__(int64_t c) {
    double sum = 0;
    for (int64_t b = 0; in.given && b < in.batch; ++b) {
      sum += k[kTA * n + c] * g[b * n + c] + k[kA * n + c] * t_g[b * n + c];
    }
    t_dbias[c] = static_cast<T>(sum);
  });
}

// The dense part of t_dx is one product [x - mu, t_x - mean t_x] E and a constant row: E [2 Cin,
// Cin] is the tangent of w^T diag(k2) w above w^T diag(k2) w itself. both = (w, t_w), scaled =
// (t_k2 w + k2 t_w, k2 w), [2, Cout, Cin] each, slopes = k2 w, constant: the tangent of w^T k1.
template <class T>
void dense_parts(const WideLayer<T>& in, const Pushed<T>& p, const double* k, T* both, T* scaled,
                 T* slopes, T* constant) {
  const int64_t n = in.out, second = in.out * in.in;
  cuda::finish_column_sums<1>(
      LinearBnActMaxBackwardTangent::name, n, in.in,
      [=] __device__(int64_t c, int64_t i, double* s) {
        const int64_t at = c * in.in + i;
        const T w = in.w[at], t_w = p.t_w[at];
        const T k2 = static_cast<T>(k[kK2 * n + c]), t_k2 = static_cast<T>(k[kTK2 * n + c]);
        both[at] = w;
        both[second + at] = t_w;
        scaled[at] = t_k2 * w + k2 * t_w;
        scaled[second + at] = slopes[at] = k2 * w;
        s[0] += k[kTK1 * n + c] * w + k[kK1 * n + c] * t_w;
      },
      [=] __device__(int64_t i, const double* s) { constant[i] = static_cast<T>(s[0]); },
      cuda::kRowLanes);
}

template <class T>
void stack(const char* name, const T* upper, const T* lower, T* both, int64_t n) {
  cuda::for_items(name, n, [=] __device__(int64_t i) {
    both[i] = upper[i];
    both[n + i] = lower[i];
  });
}

template <class T>
void centre_points(const WideLayer<T>& in, const Pushed<T>& p, T* centred) {
  const char* name = LinearBnActMaxBackwardTangent::name;
  cuda::for_rows(name, in.rows(), in.in, [=] __device__(int64_t r, int64_t i) {
    const int64_t at = r * in.in + i;
    centred[2 * r * in.in + i] = in.x[at] - p.centre[i];
    centred[(2 * r + 1) * in.in + i] = p.t_x[at] - p.t_centre[i];
  });
}

template <class T>
void add_sparse(const WideLayer<T>& in, const Pushed<T>& p, const double* k, const double* g,
                const double* t_g, const T* constant, T* t_dx) {
  const int64_t n = in.out;
  cuda::add_winners(
      LinearBnActMaxBackwardTangent::name, in, constant,
      [=] __device__(int64_t b, int64_t c) {
        const int64_t i = b * n + c;
        return static_cast<T>(k[kTA * n + c] * g[i] + k[kA * n + c] * t_g[i]);
      },
      in.w,
      [=] __device__(int64_t b, int64_t c) { return static_cast<T>(k[kA * n + c] * g[b * n + c]); },
      p.t_w, t_dx);
}

// t_dx before the sparse part; returns the constant row, undefined when the statistics are given.
template <class T>
Tensor push_points(const WideLayer<T>& in, const Pushed<T>& p, const double* k, const Tensor& w,
                   Tensor& t_dx) {
  if (in.given) return {};
  const char* name = LinearBnActMaxBackwardTangent::name;
  const DType dtype = kDTypeOf<T>;
  Tensor both = layer_scratch(2 * in.out, in.in, dtype);
  Tensor scaled = layer_scratch(2 * in.out, in.in, dtype);
  Tensor slopes = layer_scratch(in.out, in.in, dtype), moved = layer_scratch(in.in, in.in, dtype);
  Tensor constant = layer_scratch(1, in.in, dtype);
  dense_parts(in, p, k, cuda::out_ptr<T>(both), cuda::out_ptr<T>(scaled), cuda::out_ptr<T>(slopes),
              cuda::out_ptr<T>(constant));
  Tensor own = layer_scratch(in.in, in.in, dtype), dense = layer_scratch(2 * in.in, in.in, dtype);
  Matmul::cuda(both, scaled, true, false, moved);
  Matmul::cuda(w, slopes, true, false, own);
  stack(name, cuda::in_ptr<T>(moved), cuda::in_ptr<T>(own), cuda::out_ptr<T>(dense), in.in * in.in);
  Tensor centred = layer_scratch(in.rows(), 2 * in.in, dtype);
  centre_points(in, p, cuda::out_ptr<T>(centred));
  Tensor product = t_dx.view({in.rows(), in.in});
  Matmul::cuda(centred, dense, false, false, product);
  return constant;
}

template <class T>
void backward_tangent(const LinearMaxPoint& primal, const Tensor& ct, const LinearMaxTensors& t,
                      const Tensor& t_ct, const BnAct& how, LinearMaxTensors& out) {
  const char* name = LinearBnActMaxBackwardTangent::name;
  const WideLayer<T> in = cuda::wide_layer<T>(primal, how);
  PushedMemory memory;
  const Pushed<T> p = push(name, in, primal, t, memory);
  Tensor gradients = layer_scratch(2, in.batch * in.out, DType::f64);
  Tensor coefficients = layer_scratch(6, in.out, DType::f64);
  double *g = cuda::out_ptr<double>(gradients), *t_g = g + in.batch * in.out;
  double* k = cuda::out_ptr<double>(coefficients);
  finish_channels(in, p, cuda::in_ptr<T>(ct), cuda::in_ptr<T>(t_ct), how.slope, g, t_g, k,
                  cuda::out_ptr<T>(out.gamma), cuda::out_ptr<T>(out.beta));
  Tensor t_spread;
  if (!how.given_stats) {
    t_spread = cuda::wide_product(name, t.w, cuda::moment_matrix(memory.moments));
  }
  push_weights(in, p, k, g, t_g, cuda::in_ptr<double>(t_spread), cuda::out_ptr<T>(out.w),
               cuda::out_ptr<T>(out.bias));
  const Tensor constant = push_points(in, p, k, primal.w, out.x);
  add_sparse(in, p, k, g, t_g, cuda::in_ptr<T>(constant), cuda::out_ptr<T>(out.x));
}

}  // namespace

void LinearBnActMaxTangent::cuda(const LinearMaxPoint& at, const LinearMaxTensors& t,
                                 const BnAct& how, Tensor& t_y, LinearMaxPushed*) {
  dispatch_float(at.x.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    const WideLayer<T> wide = cuda::wide_layer<T>(at, how);
    PushedMemory memory;
    const Pushed<T> p = push(name, wide, at, t, memory);
    push_outputs(wide, p, cuda::in_ptr<T>(t.beta), how.slope, cuda::out_ptr<T>(t_y));
  });
}

void LinearBnActMaxBackwardTangent::cuda(const LinearMaxPoint& at, const Tensor& ct,
                                         const LinearMaxTensors& t, const Tensor& t_ct,
                                         const BnAct& how, LinearMaxTensors& t_grads,
                                         LinearMaxPushed*) {
  dispatch_float(at.x.dtype(), name, [&](auto zero) {
    backward_tangent<decltype(zero)>(at, ct, t, t_ct, how, t_grads);
  });
}

}  // namespace basin
