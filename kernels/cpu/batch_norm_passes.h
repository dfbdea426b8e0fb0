// The passes of batch normalisation on the CPU (formulas in batch_norm.h), for every way in which
// the cotangents of a row come: read (batch_norm.cpp), or made from those of a pool over its cloud
// (norm_pool.cpp). Channels are the vector axis, so every loop runs along contiguous memory and no
// sum is reassociated. Sums are taken in double over fixed row tiles and added in tile order. Each
// derivative is a pass of column sums and a pass that is linear in the rows with one set of
// coefficients per channel, the tangents too: they cost what a first-order pass costs.
#pragma once
#include <algorithm>
#include <cmath>

#include "basin/kernels/batch_norm.h"
#include "basin/kernels/cpu/activation.h"
#include "basin/kernels/cpu/column_sums.h"
#include "basin/kernels/cpu/hot.h"

namespace basin::norm_passes {

// What every pass reads.
template <class T>
struct Layer {
  const T* x;                   // [rows, C]
  const T *gamma, *mean, *var;  // [C]
  int64_t rows, channels;
  double eps;
  Act act;
  T slope;
  bool given;  // the statistics

  double inverse_deviation(int64_t c) const {
    return 1 / std::sqrt(static_cast<double>(var[c]) + eps);
  }
  // Of the normalisation, [C].
  Tensor scales() const {
    Tensor scale = Tensor::empty({channels}, kDTypeOf<T>);
    T* to = scale.mutable_data<T>();
    for (int64_t c = 0; c < channels; ++c) {
      to[c] = static_cast<T>(gamma[c] / std::sqrt(static_cast<double>(var[c]) + eps));
    }
    return scale;
  }
};

template <class T>
Layer<T> layer_of(const Tensor& x, const Tensor& gamma, const Tensor& mean, const Tensor& var,
                  const BnAct& how) {
  const int64_t channels = gamma.numel();
  return {x.data<T>(),
          gamma.data<T>(),
          mean.data<T>(),
          var.data<T>(),
          x.numel() / std::max<int64_t>(1, channels),
          channels,
          how.eps,
          how.act,
          static_cast<T>(how.slope),
          how.given_stats};
}

// Cotangents that are there, [rows, C], beside y, which is null for Act::none. The other kind is
// PoolCotangents of norm_pool.cpp; tiles(begin, count, f) calls f(tile, begin, count) for parts of
// these rows. Of a tile, i counts elements and r rows from its first.
template <class T>
struct RowCotangents {
  const T *y, *ct, *t_ct;  // t_ct: of the second order only
  int64_t channels;

  struct Tile {
    const T *y, *ct, *t_ct;
    T sign(int64_t i, int64_t /*c*/) const { return y[i]; }  // that of the pre-activation
    T value(int64_t /*r*/, int64_t i, int64_t /*c*/) const { return ct[i]; }
    T tangent(int64_t /*r*/, int64_t i, int64_t /*c*/) const { return t_ct[i]; }
  };

  template <class F>
  void tiles(int64_t begin, int64_t count, const F& f) const {
    const int64_t i = begin * channels;
    f(Tile{y ? y + i : nullptr, ct + i, t_ct ? t_ct + i : nullptr}, begin, count);
  }
};

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

// From sums of (x - x[0]): shifting by the first row keeps a channel with a large mean and a small
// spread accurate, and makes a constant channel's variance exactly zero.
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

// The cotangent in front of the activation, of row r and element i = r n + c of a tile.
template <class T, Act kAct, class Tile>
BASIN_HOT T pulled(const Tile& in, int64_t r, int64_t i, int64_t c, T slope) {
  return pull_activation<T, kAct>(in.value(r, i, c), kAct == Act::none ? T(0) : in.sign(i, c),
                                  slope);
}
template <class T, Act kAct, class Tile>
BASIN_HOT T pulled_tangent(const Tile& in, int64_t r, int64_t i, int64_t c, T slope) {
  return pull_activation<T, kAct>(in.tangent(r, i, c), kAct == Act::none ? T(0) : in.sign(i, c),
                                  slope);
}

// s[c] += sum of g, q[c] += sum of g (x - mean). Nothing cancels here, so four rows are added in T
// before they join the double sums; that makes the loop wait for memory, not for conversions.
template <class T, Act kAct, class Tile>
BASIN_HOT void add_gradient_sums(const T* __restrict x, const Tile in, const T* __restrict mean,
                                 T slope, int64_t rows, int64_t n, double* __restrict s,
                                 double* __restrict q) {
  const auto g = [&](int64_t r, int64_t c) { return pulled<T, kAct>(in, r, r * n + c, c, slope); };
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    const int64_t i0 = r * n, i1 = i0 + n, i2 = i1 + n, i3 = i2 + n;
    BASIN_INDEPENDENT
    for (int64_t c = 0; c < n; ++c) {
      const T m = mean[c];
      const T g0 = g(r, c), g1 = g(r + 1, c), g2 = g(r + 2, c), g3 = g(r + 3, c);
      s[c] += static_cast<double>((g0 + g1) + (g2 + g3));
      q[c] += static_cast<double>((g0 * (x[i0 + c] - m) + g1 * (x[i1 + c] - m)) +
                                  (g2 * (x[i2 + c] - m) + g3 * (x[i3 + c] - m)));
    }
  }
  for (; r < rows; ++r) {
    BASIN_INDEPENDENT
    for (int64_t c = 0; c < n; ++c) {
      const T g0 = g(r, c);
      s[c] += static_cast<double>(g0);
      q[c] += static_cast<double>(g0 * (x[r * n + c] - mean[c]));
    }
  }
}

// dx = k0 g + k1 + k2 (x - mean), k [3, C]
template <class T, Act kAct, class Tile>
BASIN_HOT void pull_rows(const T* __restrict x, const Tile in, const T* __restrict mean,
                         const T* __restrict k, T slope, int64_t rows, int64_t n,
                         T* __restrict dx) {
  const T *k0 = k, *k1 = k + n, *k2 = k + 2 * n;
  for (int64_t r = 0; r < rows; ++r) {
    BASIN_INDEPENDENT
    for (int64_t c = 0; c < n; ++c) {
      const int64_t i = r * n + c;
      dx[i] = k0[c] * pulled<T, kAct>(in, r, i, c, slope) + (k1[c] + k2[c] * (x[i] - mean[c]));
    }
  }
}

// dx = k0 g
template <class T, Act kAct, class Tile>
BASIN_HOT void pull_rows_frozen(const Tile in, const T* __restrict k, T slope, int64_t rows,
                                int64_t n, T* __restrict dx) {
  for (int64_t r = 0; r < rows; ++r) {
    BASIN_INDEPENDENT
    for (int64_t c = 0; c < n; ++c) {
      const int64_t i = r * n + c;
      dx[i] = k[c] * pulled<T, kAct>(in, r, i, c, slope);
    }
  }
}

// The gradients that grads asks for.
template <class T, class Cotangents>
void backward(const Layer<T>& in, const Cotangents& cotangents, BatchNormTensors& grads) {
  const int64_t n = in.channels;
  Tensor sums;
  if (grads.gamma.defined() || grads.beta.defined() || !in.given) {
    sums = column_sums(in.rows, n, 2, [&](int64_t begin, int64_t count, double* s) {
      cotangents.tiles(begin, count, [&](const auto& tile, int64_t first, int64_t rows) {
        dispatch_act(in.act, [&](auto a) {
          hot([&] {
            add_gradient_sums<T, a()>(in.x + first * n, tile, in.mean, in.slope, rows, n, s, s + n);
          });
        });
      });
    });
  }
  const double* p = sums.defined() ? sums.data<double>() : nullptr;
  Tensor scratch = Tensor::empty({3, n}, kDTypeOf<T>);
  T* k = scratch.mutable_data<T>();
  T* dgamma = grads.gamma.defined() ? grads.gamma.mutable_data<T>() : nullptr;
  T* dbeta = grads.beta.defined() ? grads.beta.mutable_data<T>() : nullptr;
  const auto count = static_cast<double>(in.rows);
  for (int64_t c = 0; c < n; ++c) {
    const double inv_std = in.inverse_deviation(c), scale = inv_std * in.gamma[c];
    k[c] = static_cast<T>(scale);
    if (!p) continue;
    const double sum_g = p[c], sum_gx = p[n + c] * inv_std;
    if (dbeta) dbeta[c] = static_cast<T>(sum_g);
    if (dgamma) dgamma[c] = static_cast<T>(sum_gx);
    k[n + c] = static_cast<T>(-scale * sum_g / count);
    k[2 * n + c] = static_cast<T>(-scale * inv_std * sum_gx / count);
  }
  if (!grads.x.defined()) return;
  T* dx = grads.x.mutable_data<T>();
  parallel_for(in.rows, rows_per_tile(n), [&](int64_t begin, int64_t end) {
    cotangents.tiles(begin, end - begin, [&](const auto& tile, int64_t first, int64_t rows) {
      const int64_t i = first * n;
      dispatch_act(in.act, [&](auto a) {
        if (in.given) {
          hot([&] { pull_rows_frozen<T, a()>(tile, k, in.slope, rows, n, dx + i); });
        } else {
          hot([&] { pull_rows<T, a()>(in.x + i, tile, in.mean, k, in.slope, rows, n, dx + i); });
        }
      });
    });
  });
}

// p [2, C]: sum of t, sum of t (x - mean).
template <class T>
BASIN_HOT void add_tangent_sums(const T* __restrict x, const T* __restrict t,
                                const T* __restrict mean, int64_t rows, int64_t n,
                                double* __restrict p) {
  double* __restrict q = p + n;
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    const int64_t i0 = r * n, i1 = i0 + n, i2 = i1 + n, i3 = i2 + n;
    for (int64_t c = 0; c < n; ++c) {
      const T m = mean[c], t0 = t[i0 + c], t1 = t[i1 + c], t2 = t[i2 + c], t3 = t[i3 + c];
      p[c] += static_cast<double>((t0 + t1) + (t2 + t3));
      q[c] += static_cast<double>((t0 * (x[i0 + c] - m) + t1 * (x[i1 + c] - m)) +
                                  (t2 * (x[i2 + c] - m) + t3 * (x[i3 + c] - m)));
    }
  }
  for (; r < rows; ++r) {
    for (int64_t c = 0; c < n; ++c) {
      p[c] += static_cast<double>(t[r * n + c]);
      q[c] += static_cast<double>(t[r * n + c] * (x[r * n + c] - mean[c]));
    }
  }
}

// k [3, C] of the tangent in front of the activation, t = k0 t_x + k1 (x - mean) + k2.
template <class T>
Tensor tangent_coefficients(const Layer<T>& in, const BatchNormTensors& t) {
  const int64_t n = in.channels;
  const T *t_x = t.x.data<T>(), *t_gamma = t.gamma.data<T>(), *t_beta = t.beta.data<T>();
  Tensor sums;
  if (!in.given) {
    sums = column_sums(in.rows, n, 2, [&](int64_t begin, int64_t count, double* p) {
      hot([&] { add_tangent_sums<T>(in.x + begin * n, t_x + begin * n, in.mean, count, n, p); });
    });
  }
  const double* p = in.given ? nullptr : sums.data<double>();
  const auto count = static_cast<double>(in.rows);
  Tensor coefficients = Tensor::empty({3, n}, kDTypeOf<T>);
  T* k = coefficients.mutable_data<T>();
  for (int64_t c = 0; c < n; ++c) {
    const double s = in.inverse_deviation(c), g = in.gamma[c];
    const double centre = p ? p[c] / count : 0, slant = p ? p[n + c] / count : 0;
    k[c] = static_cast<T>(g * s);
    k[n + c] = static_cast<T>(t_gamma[c] * s - g * s * s * s * slant);
    k[2 * n + c] = static_cast<T>(t_beta[c] - g * s * centre);
  }
  return coefficients;
}

// p [7, C]: sums of t_x, t_x d, g, g d, t_g, t_g d, g t_x, where d = x - mean.
template <class T, Act kAct, class Tile>
BASIN_HOT void add_second_sums(const T* __restrict x, const T* __restrict t_x, const Tile in,
                               const T* __restrict mean, T slope, int64_t rows, int64_t n,
                               double* __restrict p) {
  for (int64_t r = 0; r < rows; ++r) {
    BASIN_INDEPENDENT
    for (int64_t c = 0; c < n; ++c) {
      const int64_t i = r * n + c;
      const T d = x[i] - mean[c], t = t_x[i];
      const T g = pulled<T, kAct>(in, r, i, c, slope);
      const T t_g = pulled_tangent<T, kAct>(in, r, i, c, slope);
      p[c] += static_cast<double>(t);
      p[n + c] += static_cast<double>(t * d);
      p[2 * n + c] += static_cast<double>(g);
      p[3 * n + c] += static_cast<double>(g * d);
      p[4 * n + c] += static_cast<double>(t_g);
      p[5 * n + c] += static_cast<double>(t_g * d);
      p[6 * n + c] += static_cast<double>(g * t);
    }
  }
}

// t_dx = k0 g + k1 t_g + k2 d + k3 t_x + k4, k [5, C]
template <class T, Act kAct, class Tile>
BASIN_HOT void push_gradient_rows(const T* __restrict x, const T* __restrict t_x, const Tile in,
                                  const T* __restrict mean, const T* __restrict k, T slope,
                                  int64_t rows, int64_t n, T* __restrict t_dx) {
  for (int64_t r = 0; r < rows; ++r) {
    BASIN_INDEPENDENT
    for (int64_t c = 0; c < n; ++c) {
      const int64_t i = r * n + c;
      const T g = pulled<T, kAct>(in, r, i, c, slope);
      const T t_g = pulled_tangent<T, kAct>(in, r, i, c, slope);
      t_dx[i] = (k[c] * g + k[n + c] * t_g) +
                (k[2 * n + c] * (x[i] - mean[c]) + (k[3 * n + c] * t_x[i] + k[4 * n + c]));
    }
  }
}

// The coefficients of push_gradient_rows and the tangents of dgamma and dbeta, per channel, from
// the sums p [7, C] of add_second_sums.
template <class T>
void second_coefficients(const Layer<T>& in, const double* p, const T* t_gamma, T* k,
                         BatchNormTensors& t_grads) {
  const int64_t n = in.channels;
  const auto rows = static_cast<double>(in.rows);
  T *t_dgamma = t_grads.gamma.mutable_data<T>(), *t_dbeta = t_grads.beta.mutable_data<T>();
  for (int64_t c = 0; c < n; ++c) {
    const double s = in.inverse_deviation(c);
    const double scale = in.gamma[c] * s, t_scale_g = t_gamma[c] * s;
    const auto sum = [&](int kind) { return p[kind * n + c]; };
    const double sum_g = sum(2), sum_gx = sum(3) * s, sum_tg = sum(4);
    if (in.given) {
      const double sum_tgx = s * (sum(5) + sum(6));
      k[c] = static_cast<T>(t_scale_g);
      k[n + c] = static_cast<T>(scale);
      for (int q = 2; q < 5; ++q) k[q * n + c] = T(0);
      t_dgamma[c] = static_cast<T>(sum_tgx);
      t_dbeta[c] = static_cast<T>(sum_tg);
      continue;
    }
    const double centre = sum(0) / rows, r = sum(1) * s / rows;
    const double sum_tgx = s * sum(5) + s * (sum(6) - centre * sum_g) - s * r * sum_gx;
    const double t_scale = t_scale_g - scale * s * r;  // gamma's tangent and that of s
    k[c] = static_cast<T>(t_scale);
    k[n + c] = static_cast<T>(scale);
    k[2 * n + c] =
        static_cast<T>(s / rows * (-t_scale * sum_gx - scale * sum_tgx + scale * s * r * sum_gx));
    k[3 * n + c] = static_cast<T>(-scale * s * sum_gx / rows);
    k[4 * n + c] =
        static_cast<T>((-t_scale * sum_g - scale * sum_tg + scale * s * centre * sum_gx) / rows);
    t_dgamma[c] = static_cast<T>(sum_tgx);
    t_dbeta[c] = static_cast<T>(sum_tg);
  }
}

template <class T, class Cotangents>
void backward_tangent(const Layer<T>& in, const Cotangents& cotangents, const BatchNormTensors& t,
                      BatchNormTensors& t_grads) {
  const int64_t n = in.channels;
  const T* t_x = t.x.data<T>();
  const Tensor sums = column_sums(in.rows, n, 7, [&](int64_t begin, int64_t count, double* p) {
    cotangents.tiles(begin, count, [&](const auto& tile, int64_t first, int64_t rows) {
      const int64_t i = first * n;
      dispatch_act(in.act, [&](auto a) {
        hot([&] {
          add_second_sums<T, a()>(in.x + i, t_x + i, tile, in.mean, in.slope, rows, n, p);
        });
      });
    });
  });
  Tensor coefficients = Tensor::empty({5, n}, kDTypeOf<T>);
  T* k = coefficients.mutable_data<T>();
  second_coefficients<T>(in, sums.data<double>(), t.gamma.data<T>(), k, t_grads);
  T* out = t_grads.x.mutable_data<T>();
  parallel_for(in.rows, rows_per_tile(n), [&](int64_t begin, int64_t end) {
    cotangents.tiles(begin, end - begin, [&](const auto& tile, int64_t first, int64_t rows) {
      const int64_t i = first * n;
      dispatch_act(in.act, [&](auto a) {
        hot([&] {
          push_gradient_rows<T, a()>(in.x + i, t_x + i, tile, in.mean, k, in.slope, rows, n,
                                     out + i);
        });
      });
    });
  });
}

}  // namespace basin::norm_passes
