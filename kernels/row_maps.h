// Maps over the rows of a matrix, shared by CPU loop and CUDA kernel: log-softmax, softmax,
// cross-entropy and layer normalisation with their derivatives, one function per row. `lanes` says
// who works on the row: one thread of the CPU, or a warp whose lanes take every 32nd element. Sums
// are in f64. Formulas in kernels/softmax.h and kernels/layer_norm.h.
#pragma once
#include <cmath>
#include <cstdint>

#include "basin/kernels/scalar.h"

#ifdef __CUDACC__
#define BASIN_ROW __device__ inline
#else
#define BASIN_ROW inline
#endif

namespace basin::row_map {

struct OneThread {
  template <class F>
  void each(int64_t n, const F& f) const {
    for (int64_t i = 0; i < n; ++i) f(i);
  }
  template <class F>
  double sum(int64_t n, const F& f) const {
    double total = 0;
    for (int64_t i = 0; i < n; ++i) total += static_cast<double>(f(i));
    return total;
  }
  template <class T>
  T max(int64_t n, const T* x) const {  // a NaN counts as the largest
    T top = x[0];
    for (int64_t i = 1; i < n; ++i) top = x[i] > top || x[i] != x[i] ? x[i] : top;
    return top;
  }
};

template <class T, class Lanes>
BASIN_ROW void log_softmax(const Lanes& lanes, int64_t n, const T* x, T* y) {
  const T top = lanes.max(n, x);
  const T log_sum =
      static_cast<T>(::log(lanes.sum(n, [&](int64_t i) { return scalar::exp_(x[i] - top); })));
  lanes.each(n, [&](int64_t i) { y[i] = (x[i] - top) - log_sum; });
}
template <class T, class Lanes>
BASIN_ROW void log_softmax_vjp(const Lanes& lanes, int64_t n, const T* y, const T* c, T* dx) {
  const T total = static_cast<T>(lanes.sum(n, [&](int64_t i) { return c[i]; }));
  lanes.each(n, [&](int64_t i) { dx[i] = c[i] - scalar::exp_(y[i]) * total; });
}
template <class T, class Lanes>
BASIN_ROW T mean_under(const Lanes& lanes, int64_t n, const T* y, const T* t) {  // sum e^y t
  return static_cast<T>(lanes.sum(n, [&](int64_t i) { return scalar::exp_(y[i]) * t[i]; }));
}
template <class T, class Lanes>
BASIN_ROW void log_softmax_jvp(const Lanes& lanes, int64_t n, const T* y, const T* t, T* y_t) {
  const T mean = mean_under(lanes, n, y, t);
  lanes.each(n, [&](int64_t i) { y_t[i] = t[i] - mean; });
}
// t, c_t may be null: zero.
template <class T, class Lanes>
BASIN_ROW void log_softmax_vjp_jvp(const Lanes& lanes, int64_t n, const T* y, const T* c,
                                   const T* t, const T* c_t, T* dx_t) {
  const T mean = t ? mean_under(lanes, n, y, t) : T(0);
  const T total = static_cast<T>(lanes.sum(n, [&](int64_t i) { return c[i]; }));
  const T total_t = c_t ? static_cast<T>(lanes.sum(n, [&](int64_t i) { return c_t[i]; })) : T(0);
  lanes.each(n, [&](int64_t i) {
    const T slope = t ? (t[i] - mean) * total : T(0);
    dx_t[i] = (c_t ? c_t[i] : T(0)) - scalar::exp_(y[i]) * (slope + total_t);
  });
}

template <class T, class Lanes>
BASIN_ROW void softmax(const Lanes& lanes, int64_t n, const T* x, T* p) {
  const T top = lanes.max(n, x);
  const T total = static_cast<T>(lanes.sum(n, [&](int64_t i) { return scalar::exp_(x[i] - top); }));
  lanes.each(n, [&](int64_t i) { p[i] = scalar::exp_(x[i] - top) / total; });
}
template <class T, class Lanes>
BASIN_ROW T dot(const Lanes& lanes, int64_t n, const T* a, const T* b) {
  return static_cast<T>(lanes.sum(n, [&](int64_t i) { return a[i] * b[i]; }));
}
// p (t - p . t): the Jacobian is symmetric, so this is the VJP and the JVP.
template <class T, class Lanes>
BASIN_ROW void softmax_slope(const Lanes& lanes, int64_t n, const T* p, const T* t, T* out) {
  const T mean = dot(lanes, n, p, t);
  lanes.each(n, [&](int64_t i) { out[i] = p[i] * (t[i] - mean); });
}
template <class T, class Lanes>
BASIN_ROW void softmax_vjp_jvp(const Lanes& lanes, int64_t n, const T* p, const T* c, const T* t,
                               const T* c_t, T* dx_t) {
  const T mean = t ? dot(lanes, n, p, t) : T(0), pc = dot(lanes, n, p, c);
  const auto p_t = [&](int64_t i) { return t ? p[i] * (t[i] - mean) : T(0); };
  const T pc_t = static_cast<T>(
      lanes.sum(n, [&](int64_t i) { return p_t(i) * c[i] + (c_t ? p[i] * c_t[i] : T(0)); }));
  lanes.each(n, [&](int64_t i) {
    dx_t[i] = p_t(i) * (c[i] - pc) + p[i] * ((c_t ? c_t[i] : T(0)) - pc_t);
  });
}

// The target of a row: 1 - smoothing on the label, `other` elsewhere.
struct Target {
  int64_t label;
  double hit, other;
  template <class T>
  BASIN_HD T at(int64_t i) const {
    return static_cast<T>(i == label ? hit : other);
  }
};
// y <- log-softmax; the row's loss - sum q y, in every lane.
template <class T, class Lanes>
BASIN_ROW double cross_entropy(const Lanes& lanes, int64_t n, const T* x, const Target& q, T* y) {
  log_softmax(lanes, n, x, y);
  return -lanes.sum(n, [&](int64_t i) {
    const T share = q.at<T>(i);
    return share == T(0) ? T(0) : share * y[i];  // 0 of -inf is 0
  });
}
template <class T, class Lanes>
BASIN_ROW void cross_entropy_vjp(const Lanes& lanes, int64_t n, const T* y, const Target& q, T c,
                                 T* dx) {
  lanes.each(n, [&](int64_t i) { dx[i] = c * (scalar::exp_(y[i]) - q.at<T>(i)); });
}
template <class T, class Lanes>
BASIN_ROW double cross_entropy_jvp(const Lanes& lanes, int64_t n, const T* y, const Target& q,
                                   const T* t) {
  return lanes.sum(n, [&](int64_t i) { return (scalar::exp_(y[i]) - q.at<T>(i)) * t[i]; });
}
template <class T, class Lanes>
BASIN_ROW void cross_entropy_vjp_jvp(const Lanes& lanes, int64_t n, const T* y, const Target& q,
                                     T c, const T* t, T c_t, T* dx_t) {
  const T mean = t ? mean_under(lanes, n, y, t) : T(0);
  lanes.each(n, [&](int64_t i) {
    const T p = scalar::exp_(y[i]), p_t = t ? p * (t[i] - mean) : T(0);
    dx_t[i] = c_t * (p - q.at<T>(i)) + c * p_t;
  });
}

// What the column sums of layer norm need of a row: xhat = (x - mean) s and its tangent
// s (t - t_mean) - s r xhat.
struct RowScale {
  double mean, s, t_mean, r;
};
template <class T, class Lanes>
BASIN_ROW RowScale row_scale(const Lanes& lanes, int64_t n, const T* x, double eps, const T* t) {
  const double width = static_cast<double>(n);
  RowScale k{};
  k.mean = lanes.sum(n, [&](int64_t i) { return x[i]; }) / width;
  const double square = lanes.sum(n, [&](int64_t i) {
    const double d = static_cast<double>(x[i]) - k.mean;
    return d * d;
  });
  k.s = 1 / ::sqrt(square / width + eps);
  if (!t) return k;
  k.t_mean = lanes.sum(n, [&](int64_t i) { return t[i]; }) / width;
  k.r = lanes.sum(n,
                  [&](int64_t i) {
                    return (static_cast<double>(x[i]) - k.mean) * static_cast<double>(t[i]);
                  }) *
        k.s / width;
  return k;
}
template <class T>
BASIN_HD double xhat_of(const RowScale& k, T x) {
  return (static_cast<double>(x) - k.mean) * k.s;
}
template <class T>
BASIN_HD double xhat_tangent(const RowScale& k, T x, const T* t, int64_t i) {
  return t ? k.s * (static_cast<double>(t[i]) - k.t_mean - k.r * xhat_of(k, x)) : 0.0;
}

template <class T, class Lanes>
BASIN_ROW void layer_norm(const Lanes& lanes, int64_t n, const T* x, const T* gamma, const T* beta,
                          double eps, T* y) {
  const RowScale k = row_scale<T>(lanes, n, x, eps, nullptr);
  lanes.each(n, [&](int64_t i) {
    y[i] = static_cast<T>(xhat_of(k, x[i]) * static_cast<double>(gamma[i]) +
                          static_cast<double>(beta[i]));
  });
}
// dx; the row's scale for the column sums
template <class T, class Lanes>
BASIN_ROW RowScale layer_norm_vjp(const Lanes& lanes, int64_t n, const T* x, const T* gamma,
                                  const T* c, double eps, T* dx) {
  const RowScale k = row_scale<T>(lanes, n, x, eps, nullptr);
  const double width = static_cast<double>(n);
  const auto g = [&](int64_t i) {
    return static_cast<double>(c[i]) * static_cast<double>(gamma[i]);
  };
  const double a = lanes.sum(n, g) / width;
  const double b = lanes.sum(n, [&](int64_t i) { return g(i) * xhat_of(k, x[i]); }) / width;
  lanes.each(n,
             [&](int64_t i) { dx[i] = static_cast<T>(k.s * (g(i) - a - xhat_of(k, x[i]) * b)); });
  return k;
}
// t, gamma_t, beta_t may be null: zero.
template <class T, class Lanes>
BASIN_ROW void layer_norm_jvp(const Lanes& lanes, int64_t n, const T* x, const T* gamma, const T* t,
                              const T* gamma_t, const T* beta_t, double eps, T* y_t) {
  const RowScale k = row_scale(lanes, n, x, eps, t);
  lanes.each(n, [&](int64_t i) {
    double out = static_cast<double>(gamma[i]) * xhat_tangent(k, x[i], t, i);
    if (gamma_t) out += static_cast<double>(gamma_t[i]) * xhat_of(k, x[i]);
    if (beta_t) out += static_cast<double>(beta_t[i]);
    y_t[i] = static_cast<T>(out);
  });
}
template <class T, class Lanes>
BASIN_ROW RowScale layer_norm_vjp_jvp(const Lanes& lanes, int64_t n, const T* x, const T* gamma,
                                      const T* c, const T* t, const T* gamma_t, const T* c_t,
                                      double eps, T* dx_t) {
  const RowScale k = row_scale(lanes, n, x, eps, t);
  const double width = static_cast<double>(n), s_t = -k.s * k.s * k.r;
  const auto g = [&](int64_t i) {
    return static_cast<double>(c[i]) * static_cast<double>(gamma[i]);
  };
  const auto g_t = [&](int64_t i) {
    return (c_t ? static_cast<double>(c_t[i]) * static_cast<double>(gamma[i]) : 0.0) +
           (gamma_t ? static_cast<double>(c[i]) * static_cast<double>(gamma_t[i]) : 0.0);
  };
  const double a = lanes.sum(n, g) / width, a_t = lanes.sum(n, g_t) / width;
  const double b = lanes.sum(n, [&](int64_t i) { return g(i) * xhat_of(k, x[i]); }) / width;
  const double b_t = lanes.sum(n, [&](int64_t i) {
    return g_t(i) * xhat_of(k, x[i]) + g(i) * xhat_tangent(k, x[i], t, i);
  }) / width;
  lanes.each(n, [&](int64_t i) {
    const double xhat = xhat_of(k, x[i]);
    dx_t[i] = static_cast<T>(s_t * (g(i) - a - xhat * b) +
                             k.s * (g_t(i) - a_t - xhat_tangent(k, x[i], t, i) * b - xhat * b_t));
  });
  return k;
}

}  // namespace basin::row_map
