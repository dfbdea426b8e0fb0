// Batch normalisation on the CPU (formulas in batch_norm.h). Channels are the vector axis, so every
// loop runs along contiguous memory and no sum is reassociated. Sums are taken in double over fixed
// row tiles and added in tile order. The statistics are sums of (x - x[0]): shifting by the first
// row keeps a channel with a large mean and a small spread accurate, and makes a constant channel's
// variance exactly zero.
#include "basin/kernels/batch_norm.h"

#include <algorithm>
#include <cmath>

#include "basin/kernels/cpu/activation.h"
#include "basin/kernels/cpu/column_sums.h"
#include "basin/kernels/cpu/hot.h"

namespace basin {
namespace {

// s[c] += sum of x[r, c] - shift[c], q[c] += sum of its squares.
template <class T>
BASIN_HOT void add_moments(const T* __restrict x, const T* __restrict shift, int64_t rows,
                           int64_t n, double* __restrict s, double* __restrict q) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {  // four rows at a time: fewer passes over s and q
    const T *x0 = x + r * n, *x1 = x0 + n, *x2 = x1 + n, *x3 = x2 + n;
    for (int64_t c = 0; c < n; ++c) {
      const double base = shift[c];
      const double d0 = x0[c] - base, d1 = x1[c] - base, d2 = x2[c] - base, d3 = x3[c] - base;
      s[c] += (d0 + d1) + (d2 + d3);
      q[c] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3);
    }
  }
  for (; r < rows; ++r) {
    for (int64_t c = 0; c < n; ++c) {
      const double d = static_cast<double>(x[r * n + c]) - shift[c];
      s[c] += d;
      q[c] += d * d;
    }
  }
}

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

// s[c] += sum of g, q[c] += sum of g (x - mean). Nothing cancels here, so four rows are added in T
// before they join the double sums; that makes the loop wait for memory, not for conversions.
template <class T, Act kAct>
BASIN_HOT void add_gradient_sums(const T* __restrict x, const T* __restrict y,
                                 const T* __restrict ct, const T* __restrict mean, T slope,
                                 int64_t rows, int64_t n, double* __restrict s,
                                 double* __restrict q) {
  const auto g = [&](int64_t i) {
    return pull_activation<T, kAct>(ct[i], kAct == Act::none ? T(0) : y[i], slope);
  };
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    const int64_t i0 = r * n, i1 = i0 + n, i2 = i1 + n, i3 = i2 + n;
    for (int64_t c = 0; c < n; ++c) {
      const T m = mean[c];
      const T g0 = g(i0 + c), g1 = g(i1 + c), g2 = g(i2 + c), g3 = g(i3 + c);
      s[c] += static_cast<double>((g0 + g1) + (g2 + g3));
      q[c] += static_cast<double>((g0 * (x[i0 + c] - m) + g1 * (x[i1 + c] - m)) +
                                  (g2 * (x[i2 + c] - m) + g3 * (x[i3 + c] - m)));
    }
  }
  for (; r < rows; ++r) {
    for (int64_t c = 0; c < n; ++c) {
      const T g0 = g(r * n + c);
      s[c] += static_cast<double>(g0);
      q[c] += static_cast<double>(g0 * (x[r * n + c] - mean[c]));
    }
  }
}

// dx = k0 g + k1 + k2 (x - mean)
template <class T, Act kAct>
BASIN_HOT void pull_rows(const T* __restrict x, const T* __restrict y, const T* __restrict ct,
                         const T* __restrict mean, const T* __restrict k0, const T* __restrict k1,
                         const T* __restrict k2, T slope, int64_t rows, int64_t n,
                         T* __restrict dx) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < n; ++c) {
      const int64_t i = r * n + c;
      const T g = pull_activation<T, kAct>(ct[i], kAct == Act::none ? T(0) : y[i], slope);
      dx[i] = k0[c] * g + (k1[c] + k2[c] * (x[i] - mean[c]));
    }
  }
}

template <class T, Act kAct>
BASIN_HOT void pull_rows_frozen(const T* __restrict y, const T* __restrict ct,
                                const T* __restrict k0, T slope, int64_t rows, int64_t n,
                                T* __restrict dx) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < n; ++c) {
      const int64_t i = r * n + c;
      dx[i] = k0[c] * pull_activation<T, kAct>(ct[i], kAct == Act::none ? T(0) : y[i], slope);
    }
  }
}

template <class T>
void statistics(const T* x, int64_t rows, int64_t channels, T* mean, T* var) {
  const Tensor sums = column_sums(rows, channels, 2, [&](int64_t begin, int64_t count, double* s) {
    hot([&] { add_moments<T>(x + begin * channels, x, count, channels, s, s + channels); });
  });
  const double* p = sums.data<double>();
  for (int64_t c = 0; c < channels; ++c) {
    const double shifted = p[c] / static_cast<double>(rows);
    const double square = p[channels + c] / static_cast<double>(rows) - shifted * shifted;
    mean[c] = static_cast<T>(x[c] + shifted);
    var[c] = static_cast<T>(square < 0 ? 0 : square);
  }
}

template <class T>
void backward(const BatchNormPoint& at, const Tensor& ct, const BnAct& how,
              BatchNormTensors& grads) {
  const Tensor &x = at.x, &gamma = at.gamma, &mean = at.mean, &var = at.var;
  Tensor &dx = grads.x, &dgamma = grads.gamma, &dbeta = grads.beta;
  const int64_t channels = gamma.numel(), rows = x.numel() / std::max<int64_t>(1, channels);
  const T *px = x.data<T>(), *pct = ct.data<T>(), *pm = mean.data<T>();
  const T* py = how.act == Act::none ? nullptr : at.y.data<T>();
  const T leak = static_cast<T>(how.slope);
  const auto from = [](const T* p, int64_t offset) { return p ? p + offset : nullptr; };
  Tensor sums;
  if (dgamma.defined() || dbeta.defined() || !how.given_stats) {
    sums = column_sums(rows, channels, 2, [&](int64_t begin, int64_t count, double* s) {
      const int64_t i = begin * channels;
      dispatch_act(how.act, [&](auto a) {
        hot([&] {
          add_gradient_sums<T, a()>(px + i, from(py, i), pct + i, pm, leak, count, channels, s,
                                    s + channels);
        });
      });
    });
  }
  const double* p = sums.defined() ? sums.data<double>() : nullptr;
  Tensor scratch = Tensor::empty({3, channels}, kDTypeOf<T>);
  T *k0 = scratch.mutable_data<T>(), *k1 = k0 + channels, *k2 = k1 + channels;
  T* pdg = dgamma.defined() ? dgamma.mutable_data<T>() : nullptr;
  T* pdb = dbeta.defined() ? dbeta.mutable_data<T>() : nullptr;
  for (int64_t c = 0; c < channels; ++c) {
    const double inv_std = 1 / std::sqrt(static_cast<double>(var.data<T>()[c]) + how.eps);
    const double scale = inv_std * gamma.data<T>()[c];
    k0[c] = static_cast<T>(scale);
    if (!p) continue;
    const double sum_g = p[c], sum_gx = p[channels + c] * inv_std;
    if (pdb) pdb[c] = static_cast<T>(sum_g);
    if (pdg) pdg[c] = static_cast<T>(sum_gx);
    k1[c] = static_cast<T>(-scale * sum_g / static_cast<double>(rows));
    k2[c] = static_cast<T>(-scale * inv_std * sum_gx / static_cast<double>(rows));
  }
  if (!dx.defined()) return;
  T* pdx = dx.mutable_data<T>();
  parallel_for(rows, rows_per_tile(channels), [&](int64_t begin, int64_t end) {
    const int64_t i = begin * channels;
    dispatch_act(how.act, [&](auto a) {
      if (how.given_stats) {
        hot([&] {
          pull_rows_frozen<T, a()>(from(py, i), pct + i, k0, leak, end - begin, channels, pdx + i);
        });
      } else {
        hot([&] {
          pull_rows<T, a()>(px + i, from(py, i), pct + i, pm, k0, k1, k2, leak, end - begin,
                            channels, pdx + i);
        });
      }
    });
  });
}

}  // namespace

void BatchNormForward::cpu(const Tensor& x, const Tensor& gamma, const Tensor& beta,
                           const BnAct& how, Tensor& mean, Tensor& var, Tensor& y) {
  dispatch_float(x.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    const int64_t channels = gamma.numel();
    if (x.numel() == 0) return;
    const int64_t rows = x.numel() / channels;
    const T *px = x.data<T>(), *pbeta = beta.data<T>();
    if (!how.given_stats) {
      statistics<T>(px, rows, channels, mean.mutable_data<T>(), var.mutable_data<T>());
    }
    const T* pm = mean.data<T>();
    Tensor scratch = Tensor::empty({channels}, kDTypeOf<T>);
    T* scale = scratch.mutable_data<T>();
    for (int64_t c = 0; c < channels; ++c) {
      const double deviation = std::sqrt(static_cast<double>(var.data<T>()[c]) + how.eps);
      scale[c] = static_cast<T>(gamma.data<T>()[c] / deviation);
    }
    T* py = y.mutable_data<T>();
    parallel_for(rows, rows_per_tile(channels), [&](int64_t begin, int64_t end) {
      const int64_t i = begin * channels;
      dispatch_act(how.act, [&](auto a) {
        hot([&] {
          normalise_rows<T, a()>(px + i, pm, scale, pbeta, static_cast<T>(how.slope), end - begin,
                                 channels, py + i);
        });
      });
    });
  });
}

void BatchNormBackward::cpu(const BatchNormPoint& at, const Tensor& ct, const BnAct& how,
                            BatchNormTensors& grads) {
  dispatch_float(at.x.dtype(), name,
                 [&](auto zero) { backward<decltype(zero)>(at, ct, how, grads); });
}

}  // namespace basin
