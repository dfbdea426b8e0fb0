// Batch normalisation under the maximum and the mean over the points of each cloud, on the CPU
// (formulas in norm_pool.h). The derivatives are the passes of batch normalisation
// (batch_norm_passes.h) over cotangents that are made where they are read.
#include "basin/kernels/norm_pool.h"

#include "basin/kernels/cpu/batch_norm_passes.h"
#include "basin/kernels/cpu/pool_rows.h"

namespace basin {
namespace {

constexpr int64_t kSlab = 256;  // channels of a piece of work of the passes over clouds

// The cotangent of each row, from the cotangents of its cloud's pool and the arg-max; the sign of
// the pre-activation, from x by the expression of the forward pass.
template <class T>
struct PoolCotangents {
  const T *x, *mean, *scale, *beta;
  const T *largest, *share;      // [B, 2 C] from its first element, [B, C]: of the mean, over N
  const T *t_largest, *t_share;  // of the second order only
  const int32_t* argmax;         // [B, C]
  int64_t points, channels;

  struct Tile {
    const T *x, *mean, *scale, *beta, *largest, *share, *t_largest, *t_share;
    const int32_t* argmax;
    int32_t first;  // point of the tile's first row
    T sign(int64_t i, int64_t c) const { return (x[i] - mean[c]) * scale[c] + beta[c]; }
    T value(int64_t r, int64_t /*i*/, int64_t c) const {
      return share[c] + (argmax[c] == first + static_cast<int32_t>(r) ? largest[c] : T(0));
    }
    T tangent(int64_t r, int64_t /*i*/, int64_t c) const {
      return t_share[c] + (argmax[c] == first + static_cast<int32_t>(r) ? t_largest[c] : T(0));
    }
  };

  template <class F>
  void tiles(int64_t begin, int64_t count, const F& f) const {
    for (const int64_t end = begin + count; begin < end;) {
      const int64_t b = begin / points, rows = std::min(end, (b + 1) * points) - begin;
      const int64_t c = b * channels;
      f(Tile{x + begin * channels, mean, scale, beta, largest + 2 * c, share + c,
             t_largest ? t_largest + 2 * c : nullptr, t_share ? t_share + c : nullptr, argmax + c,
             static_cast<int32_t>(begin - b * points)},
        begin, rows);
      begin += rows;
    }
  }
};

// The cotangent of the mean over the number of points: [B, C] from ct [B, 2 C].
template <class T>
Tensor shares(const Tensor& ct, int64_t points) {
  const int64_t batch = ct.size(0), channels = ct.size(1) / 2;
  const T each = T(1) / static_cast<T>(points), *from = ct.data<T>();
  Tensor share = Tensor::empty({batch, channels}, kDTypeOf<T>);
  T* to = share.mutable_data<T>();
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t c = 0; c < channels; ++c) {
      to[b * channels + c] = from[(2 * b + 1) * channels + c] * each;
    }
  }
  return share;
}

// body(b, first channel, channels) for every cloud and slab of channels.
template <class Body>
void for_slabs(int64_t batch, int64_t channels, const Body& body) {
  const int64_t slabs = tile_count(channels, kSlab);
  parallel_tiles(batch * slabs, [&](int64_t tile) {
    const int64_t first = tile % slabs * kSlab;
    body(tile / slabs, first, std::min(kSlab, channels - first));
  });
}

template <class T>
void forward(const norm_passes::Layer<T>& in, const T* beta, int64_t batch, T* out,
             int32_t* argmax) {
  const Tensor scales = in.scales();
  const T* scale = scales.data<T>();
  const int64_t n = in.channels, points = in.rows / batch;
  for_slabs(batch, n, [&](int64_t b, int64_t c, int64_t count) {
    double sum[kSlab] = {};
    T *largest = out + 2 * b * n + c, *mean = largest + n;
    pool_rows<T>({in.x + b * points * n + c, in.mean + c, scale + c, beta + c, points, n, count},
                 in.act, in.slope, largest, argmax + b * n + c, sum);
    for (int64_t i = 0; i < count; ++i) {
      mean[i] = static_cast<T>(sum[i] / static_cast<double>(points));
    }
  });
}

// The tangents of y, t = act'(z) (k0 t_x + k1 (x - mean) + k2): that of the arg-max, and the sum.
template <class T, Act kAct>
BASIN_HOT void pool_tangents(const T* __restrict x, const T* __restrict t_x,
                             const T* __restrict mean, const T* __restrict scale,
                             const T* __restrict beta, const T* __restrict k0,
                             const T* __restrict k1, const T* __restrict k2,
                             const int32_t* __restrict at, T slope, int64_t rows, int64_t stride,
                             int64_t n, T* __restrict largest, double* __restrict sum) {
  for (int64_t r = 0; r < rows; ++r) {
    const auto point = static_cast<int32_t>(r);
    BASIN_INDEPENDENT
    for (int64_t c = 0; c < n; ++c) {
      const T d = x[r * stride + c] - mean[c];
      const T t = k0[c] * t_x[r * stride + c] + (k1[c] * d + k2[c]);
      const T pulled = pull_activation<T, kAct>(t, d * scale[c] + beta[c], slope);
      largest[c] = at[c] == point ? pulled : largest[c];
      sum[c] += static_cast<double>(pulled);
    }
  }
}

template <class T>
norm_passes::Layer<T> layer_at(const NormPoolPoint& at, const BnAct& how) {
  return norm_passes::layer_of<T>(at.x, at.gamma, at.mean, at.var, how);
}

template <class T>
void tangent(const NormPoolPoint& at, const BatchNormTensors& t, const BnAct& how, Tensor& t_out) {
  const auto in = layer_at<T>(at, how);
  const int64_t batch = at.x.size(0), points = at.x.size(1), n = in.channels;
  const Tensor coefficients = norm_passes::tangent_coefficients(in, t), scales = in.scales();
  const T *k = coefficients.data<T>(), *scale = scales.data<T>(), *beta = at.beta.data<T>();
  const T* t_x = t.x.data<T>();
  const int32_t* argmax = at.argmax.data<int32_t>();
  T* out = t_out.mutable_data<T>();
  for_slabs(batch, n, [&](int64_t b, int64_t c, int64_t count) {
    double sum[kSlab] = {};
    T *largest = out + 2 * b * n + c, *mean = largest + n;
    const int64_t i = b * points * n + c;
    std::fill_n(largest, count, T(0));
    dispatch_act(in.act, [&](auto a) {
      hot([&] {
        pool_tangents<T, a()>(in.x + i, t_x + i, in.mean + c, scale + c, beta + c, k + c, k + n + c,
                              k + 2 * n + c, argmax + b * n + c, in.slope, points, n, count,
                              largest, sum);
      });
    });
    for (int64_t j = 0; j < count; ++j) {
      mean[j] = static_cast<T>(sum[j] / static_cast<double>(points));
    }
  });
}

// What PoolCotangents points to, and f of them; t_ct is undefined in the first order.
template <class T, class F>
void with_cotangents(const NormPoolPoint& at, const Tensor& ct, const Tensor& t_ct,
                     const norm_passes::Layer<T>& in, const F& f) {
  const int64_t points = at.x.size(1);
  const bool second = t_ct.defined();
  const Tensor scales = in.scales(), share = shares<T>(ct, points);
  const Tensor t_share = second ? shares<T>(t_ct, points) : Tensor();
  f(PoolCotangents<T>{in.x, in.mean, scales.data<T>(), at.beta.data<T>(), ct.data<T>(),
                      share.data<T>(), second ? t_ct.data<T>() : nullptr,
                      second ? t_share.data<T>() : nullptr, at.argmax.data<int32_t>(), points,
                      in.channels});
}

}  // namespace

void NormPoolForward::cpu(const Tensor& x, const Tensor& gamma, const Tensor& beta,
                          const BnAct& how, Tensor& mean, Tensor& var, Tensor& out,
                          Tensor& argmax) {
  dispatch_float(x.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    const int64_t channels = gamma.numel();
    if (!how.given_stats) {
      norm_passes::statistics<T>(x.data<T>(), x.numel() / channels, channels,
                                 mean.mutable_data<T>(), var.mutable_data<T>());
    }
    forward(norm_passes::layer_of<T>(x, gamma, mean, var, how), beta.data<T>(), x.size(0),
            out.mutable_data<T>(), argmax.mutable_data<int32_t>());
  });
}

void NormPoolBackward::cpu(const NormPoolPoint& at, const Tensor& ct, const BnAct& how,
                           BatchNormTensors& grads) {
  dispatch_float(at.x.dtype(), name, [&](auto zero) {
    const auto in = layer_at<decltype(zero)>(at, how);
    with_cotangents(at, ct, {}, in,
                    [&](const auto& cotangents) { norm_passes::backward(in, cotangents, grads); });
  });
}

void NormPoolTangent::cpu(const NormPoolPoint& at, const BatchNormTensors& t, const BnAct& how,
                          Tensor& t_out) {
  dispatch_float(at.x.dtype(), name,
                 [&](auto zero) { tangent<decltype(zero)>(at, t, how, t_out); });
}

void NormPoolBackwardTangent::cpu(const NormPoolPoint& at, const Tensor& ct,
                                  const BatchNormTensors& t, const Tensor& t_ct, const BnAct& how,
                                  BatchNormTensors& t_grads) {
  dispatch_float(at.x.dtype(), name, [&](auto zero) {
    const auto in = layer_at<decltype(zero)>(at, how);
    with_cotangents(at, ct, t_ct, in, [&](const auto& cotangents) {
      norm_passes::backward_tangent(in, cotangents, t, t_grads);
    });
  });
}

}  // namespace basin
