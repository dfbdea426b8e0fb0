// Layer normalisation on the device: one warp per row (row_maps.h), which leaves the row's scale
// for the sums over rows.
#include "basin/kernels/layer_norm.h"

#include "basin/kernels/cuda/column_sums.cuh"
#include "basin/kernels/cuda/warp_rows.cuh"

namespace basin {
namespace {

using row_map::RowScale;

struct Rows {
  explicit Rows(const Tensor& x) : n(x.size(-1)), count(x.numel() / n) {}
  int64_t n, count;
};

// Not in the templates: nvcc loses the braces of a shape beside a device lambda.
Tensor doubles(int64_t n) { return Tensor::zeros({n}, DType::f64, Device::cuda); }
Tensor scales_of(int64_t rows) { return doubles(rows * (sizeof(RowScale) / sizeof(double))); }

template <class T>
__device__ const T* or_null(const T* p, int64_t at) {
  return p ? p + at : nullptr;
}

template <class T>
void layer_norm(Rows rows, const T* x, const T* gamma, const T* beta, double eps, T* y) {
  cuda::for_rows(LayerNormForward::name, rows.count,
                 [=] __device__(const cuda::WarpLanes& lanes, int64_t r) {
                   const int64_t at = r * rows.n;
                   row_map::layer_norm(lanes, rows.n, x + at, gamma, beta, eps, y + at);
                 });
}

template <class T>
void layer_norm_jvp(Rows rows, const T* x, const T* gamma, const T* t, const T* gamma_t,
                    const T* beta_t, double eps, T* y_t) {
  cuda::for_rows(LayerNormJvp::name, rows.count,
                 [=] __device__(const cuda::WarpLanes& lanes, int64_t r) {
                   const int64_t at = r * rows.n;
                   row_map::layer_norm_jvp(lanes, rows.n, x + at, gamma, or_null(t, at), gamma_t,
                                           beta_t, eps, y_t + at);
                 });
}

// out [n] <- sum over the rows of value(row, column)
template <class T, class Value>
void sum_columns(const char* name, Rows rows, Value value, T* out) {
  const int64_t n = rows.n;
  Tensor scratch = doubles(cuda::column_tiles(rows.count) * n), total = doubles(n);
  double* sum = cuda::out_ptr<double>(total);
  cuda::add_columns(name, rows.count, n, value, cuda::out_ptr<double>(scratch), sum);
  cuda::for_items(name, n, [=] __device__(int64_t i) { out[i] = static_cast<T>(sum[i]); });
}

template <class T>
void layer_norm_vjp(Rows rows, const T* x, const T* gamma, const T* c, double eps, T* dx, T* dgamma,
                    T* dbeta) {
  const char* name = LayerNormVjp::name;
  Tensor memory = scales_of(rows.count);
  auto* scale = static_cast<RowScale*>(memory.mutable_raw());
  const int64_t n = rows.n;
  cuda::for_rows(name, rows.count, [=] __device__(const cuda::WarpLanes& lanes, int64_t r) {
    const int64_t at = r * n;
    const RowScale k = row_map::layer_norm_vjp(lanes, n, x + at, gamma, c + at, eps, dx + at);
    if (lanes.lane == 0) scale[r] = k;
  });
  const auto to_gamma = [=] __device__(int64_t r, int64_t i) {
    return static_cast<double>(c[r * n + i]) * row_map::xhat_of(scale[r], x[r * n + i]);
  };
  const auto to_beta = [=] __device__(int64_t r, int64_t i) {
    return static_cast<double>(c[r * n + i]);
  };
  sum_columns(name, rows, to_gamma, dgamma);
  sum_columns(name, rows, to_beta, dbeta);
}

template <class T>
void layer_norm_vjp_jvp(Rows rows, const T* x, const T* gamma, const T* c, const T* t,
                        const T* gamma_t, const T* c_t, double eps, T* dx_t, T* dgamma_t,
                        T* dbeta_t) {
  const char* name = LayerNormVjpJvp::name;
  Tensor memory = scales_of(rows.count);
  auto* scale = static_cast<RowScale*>(memory.mutable_raw());
  const int64_t n = rows.n;
  cuda::for_rows(name, rows.count, [=] __device__(const cuda::WarpLanes& lanes, int64_t r) {
    const int64_t at = r * n;
    const RowScale k = row_map::layer_norm_vjp_jvp(lanes, n, x + at, gamma, c + at, or_null(t, at),
                                                   gamma_t, or_null(c_t, at), eps, dx_t + at);
    if (lanes.lane == 0) scale[r] = k;
  });
  const auto to_gamma = [=] __device__(int64_t r, int64_t i) {
    const int64_t at = r * n;
    const double xhat_t = row_map::xhat_tangent(scale[r], x[at + i], or_null(t, at), i);
    const double own = static_cast<double>(c[at + i]) * xhat_t;
    return c_t ? own + static_cast<double>(c_t[at + i]) * row_map::xhat_of(scale[r], x[at + i])
               : own;
  };
  const auto to_beta = [=] __device__(int64_t r, int64_t i) {
    return c_t ? static_cast<double>(c_t[r * n + i]) : 0.0;
  };
  sum_columns(name, rows, to_gamma, dgamma_t);
  sum_columns(name, rows, to_beta, dbeta_t);
}

}  // namespace

void LayerNormForward::cuda(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps,
                            Tensor& y) {
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    layer_norm(Rows(x), cuda::in_ptr<T>(x), cuda::in_ptr<T>(gamma), cuda::in_ptr<T>(beta), eps,
               cuda::out_ptr<T>(y));
  });
}
void LayerNormVjp::cuda(const Tensor& x, const Tensor& gamma, const Tensor& ct, double eps,
                        Tensor& dx, Tensor& dgamma, Tensor& dbeta) {
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    layer_norm_vjp(Rows(x), cuda::in_ptr<T>(x), cuda::in_ptr<T>(gamma), cuda::in_ptr<T>(ct), eps,
                   cuda::out_ptr<T>(dx), cuda::out_ptr<T>(dgamma), cuda::out_ptr<T>(dbeta));
  });
}
void LayerNormJvp::cuda(const Tensor& x, const Tensor& gamma, const Tensor& t,
                        const Tensor& gamma_t, const Tensor& beta_t, double eps, Tensor& y_t) {
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    layer_norm_jvp(Rows(x), cuda::in_ptr<T>(x), cuda::in_ptr<T>(gamma), cuda::in_ptr<T>(t),
                   cuda::in_ptr<T>(gamma_t), cuda::in_ptr<T>(beta_t), eps, cuda::out_ptr<T>(y_t));
  });
}
void LayerNormVjpJvp::cuda(const Tensor& x, const Tensor& gamma, const Tensor& ct, const Tensor& t,
                           const Tensor& gamma_t, const Tensor& ct_t, double eps, Tensor& dx_t,
                           Tensor& dgamma_t, Tensor& dbeta_t) {
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    layer_norm_vjp_jvp(Rows(x), cuda::in_ptr<T>(x), cuda::in_ptr<T>(gamma), cuda::in_ptr<T>(ct),
                       cuda::in_ptr<T>(t), cuda::in_ptr<T>(gamma_t), cuda::in_ptr<T>(ct_t), eps,
                       cuda::out_ptr<T>(dx_t), cuda::out_ptr<T>(dgamma_t),
                       cuda::out_ptr<T>(dbeta_t));
  });
}

}  // namespace basin
