// Edge convolution with batch norm, activation and maximum on the CPU (formulas in edge_conv.h).
// Forward: one pass over the edges per cloud and slice of channels gives the extreme value, its
// place, and the sums for the statistics; then the affine map and the activation on [B, N, C].
// Backward: a pass over [B, N, C] for the sums over the batch, then per cloud and slice one pass
// over the edges that scatters, in the order of the points.
#include "basin/kernels/edge_conv.h"

#include <algorithm>
#include <cmath>

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/activation.h"
#include "basin/kernels/cpu/edge_conv_rows.h"
#include "basin/kernels/cpu/hot.h"

namespace basin {
namespace {

constexpr int64_t kSampleRows = 512;

// Edges into each point; the one place where the values of the index are checked.
void count_degrees(const Tensor& index, Tensor& degree) {
  const int64_t points = index.size(1), edges = points * index.size(2);
  const int32_t* from = index.data<int32_t>();
  int32_t* to = degree.mutable_data<int32_t>();
  parallel_tiles(index.size(0), [&](int64_t b) {
    int32_t* count = to + b * points;
    std::fill_n(count, points, 0);
    for (int64_t e = b * edges; e < (b + 1) * edges; ++e) {
      if (from[e] < 0 || from[e] >= points) [[unlikely]] {
        fail(ErrorKind::usage, "edge_bn_act_max: index ", from[e], " at position ", e,
             " is outside 0..", points - 1);
      }
      ++count[from[e]];
    }
  });
}

// About the mean of every channel, from evenly spaced rows: x[0] + mean of (x - x[0]), exact for a
// constant channel. Any centre within a few deviations of the mean will do.
template <class T>
void sample_means(const T* x, int64_t rows, int64_t channels, double* mean) {
  const int64_t step = std::max<int64_t>(1, rows / kSampleRows);
  std::fill_n(mean, channels, 0.0);
  for (int64_t r = 0; r < rows; r += step) {
    for (int64_t c = 0; c < channels; ++c) {
      mean[c] += static_cast<double>(x[r * channels + c]) - static_cast<double>(x[c]);
    }
  }
  const int64_t taken = (rows + step - 1) / step;
  const auto count = static_cast<double>(taken);
  for (int64_t c = 0; c < channels; ++c) mean[c] = static_cast<T>(x[c] + mean[c] / count);
}

// Statistics from the partial sums [B, 2, C] of the centred values and their squares.
template <class T>
void statistics(const Tensor& partial, const EdgeSizes& s, double* centre, Tensor& mean,
                Tensor& var) {
  const double* p = partial.data<double>();
  const double edges = s.edges();
  for (int64_t c = 0; c < s.channels; ++c) {
    double total = 0, square = 0;
    for (int64_t b = 0; b < s.batch; ++b) {
      total += p[2 * b * s.channels + c];
      square += p[(2 * b + 1) * s.channels + c];
    }
    const double mean_offset = total / edges, v = square / edges - mean_offset * mean_offset;
    centre[2 * s.channels + c] = mean_offset;
    mean.mutable_data<T>()[c] = static_cast<T>(centre[c] + centre[s.channels + c] + mean_offset);
    var.mutable_data<T>()[c] = static_cast<T>(v < 0 ? 0 : v);
  }
}

template <class T, Act kAct>
BASIN_HOT void normalise(const T* __restrict winner, const T* __restrict mean_offset,
                         const T* __restrict scale, const T* __restrict beta, T slope, int64_t rows,
                         int64_t n, T* __restrict y) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < n; ++c) {
      const T z = (winner[r * n + c] - mean_offset[c]) * scale[c] + beta[c];
      y[r * n + c] = activate<T, kAct>(z, slope);
    }
  }
}

template <class T>
void reduce_edges(const Tensor& u, const Tensor& v, const Tensor& index, const Tensor& gamma,
                  const EdgeSizes& s, EdgeConvSaved& saved, Tensor& partial) {
  const EdgeChannels<T> channels(s, saved.centre, gamma);
  const T *pu = u.data<T>(), *pv = v.data<T>();
  T *winner = saved.winner.mutable_data<T>(),
    *sums = saved.sums.defined() ? saved.sums.mutable_data<T>() : nullptr;
  uint8_t* argmax = static_cast<uint8_t*>(saved.argmax.mutable_raw());
  double* p = partial.mutable_data<double>();
  for_edge_tiles<T>(s, index, [&](const EdgeLoops<T>& loops, const EdgeTile& t, int64_t b) {
    Tensor scratch = Tensor::empty({s.points, loops.width}, kDTypeOf<T>);
    T* packed = scratch.template mutable_data<T>();
    const int64_t base = b * s.points * s.channels, c = t.first;
    double total[kEdgeWidth] = {}, square[kEdgeWidth] = {};
    loops.pack(t, pv + base, channels.centre_v() + c, channels.sign() + c, packed);
    loops.reduce(t, pu + base, packed, channels.centre_u() + c, channels.sign() + c,
                 channels.tied() + c, winner + base, argmax + base, sums ? sums + base : nullptr,
                 total, square);
    std::copy_n(total, t.count, p + 2 * b * s.channels + c);
    std::copy_n(square, t.count, p + (2 * b + 1) * s.channels + c);
  });
}

template <class T>
void forward(const Tensor& u, const Tensor& v, const Tensor& index, const Tensor& gamma,
             const Tensor& beta, const BnAct& how, Tensor& y, Tensor& mean, Tensor& var,
             EdgeConvSaved& saved) {
  const EdgeSizes s = EdgeSizes::of(u, index);
  count_degrees(index, saved.degree);
  double* centre = saved.centre.mutable_data<double>();
  std::fill_n(centre, 3 * s.channels, 0.0);
  if (how.given_stats) {
    for (int64_t c = 0; c < s.channels; ++c) centre[c] = mean.at(c);
  } else {
    sample_means<T>(u.data<T>(), s.rows(), s.channels, centre);
    sample_means<T>(v.data<T>(), s.rows(), s.channels, centre + s.channels);
  }
  Tensor partial = Tensor::empty({s.batch, 2, s.channels}, DType::f64);
  reduce_edges<T>(u, v, index, gamma, s, saved, partial);
  if (!how.given_stats) statistics<T>(partial, s, centre, mean, var);

  Tensor scratch = Tensor::empty({2, s.channels}, kDTypeOf<T>);
  T *mean_offset = scratch.mutable_data<T>(), *scale = mean_offset + s.channels;
  for (int64_t c = 0; c < s.channels; ++c) {
    const double deviation = std::sqrt(static_cast<double>(var.data<T>()[c]) + how.eps);
    mean_offset[c] = static_cast<T>(centre[2 * s.channels + c]);
    scale[c] = static_cast<T>(gamma.data<T>()[c] / deviation);
  }
  const T *winner = saved.winner.data<T>(), *pbeta = beta.data<T>();
  T* out = y.mutable_data<T>();
  parallel_for(s.rows(), s.rows_per_tile(), [&](int64_t begin, int64_t end) {
    const int64_t i = begin * s.channels;
    dispatch_act(how.act, [&](auto a) {
      hot([&] {
        normalise<T, a()>(winner + i, mean_offset, scale, pbeta, static_cast<T>(how.slope),
                          end - begin, s.channels, out + i);
      });
    });
  });
}

// g = ct act'(y), and its sums: s[c] += g, q[c] += g (winner - mean_offset).
template <class T, Act kAct>
BASIN_HOT void pull_activations(const T* __restrict y, const T* __restrict ct,
                                const T* __restrict winner, const T* __restrict mean_offset,
                                T slope, int64_t rows, int64_t n, T* __restrict g,
                                double* __restrict s, double* __restrict q) {
  const auto pulled = [=](int64_t i) {
    return pull_activation<T, kAct>(ct[i], kAct == Act::none ? T(0) : y[i], slope);
  };
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {  // four rows are added in T before they join the doubles
    const int64_t i0 = r * n, i1 = i0 + n, i2 = i1 + n, i3 = i2 + n;
    BASIN_INDEPENDENT
    for (int64_t c = 0; c < n; ++c) {
      const T m = mean_offset[c], g0 = pulled(i0 + c), g1 = pulled(i1 + c), g2 = pulled(i2 + c),
              g3 = pulled(i3 + c);
      g[i0 + c] = g0;
      g[i1 + c] = g1;
      g[i2 + c] = g2;
      g[i3 + c] = g3;
      s[c] += static_cast<double>((g0 + g1) + (g2 + g3));
      q[c] += static_cast<double>((g0 * (winner[i0 + c] - m) + g1 * (winner[i1 + c] - m)) +
                                  (g2 * (winner[i2 + c] - m) + g3 * (winner[i3 + c] - m)));
    }
  }
  for (; r < rows; ++r) {
    BASIN_INDEPENDENT
    for (int64_t c = 0; c < n; ++c) {
      const T g0 = pulled(r * n + c);
      g[r * n + c] = g0;
      s[c] += static_cast<double>(g0);
      q[c] += static_cast<double>(g0 * (winner[r * n + c] - mean_offset[c]));
    }
  }
}

// du = a du + constant + k2 sums
template <class T>
BASIN_HOT void finish_points(const EdgeTile& t, const T* __restrict a, const T* __restrict constant,
                             const T* __restrict k2, const T* __restrict sums, T* __restrict du) {
  for (int64_t i = 0; i < t.points; ++i) {
    const int64_t at = i * t.channels + t.first;
    for (int64_t c = 0; c < t.count; ++c) {
      const T spread = sums ? k2[c] * sums[at + c] : T(0);
      du[at + c] = a[c] * du[at + c] + (constant[c] + spread);
    }
  }
}

// dv = packed + degree (constant + k2 (v - centre))
template <class T>
BASIN_HOT void finish_neighbours(const EdgeTile& t, int64_t width, const T* __restrict packed,
                                 const int32_t* __restrict degree, const T* __restrict constant,
                                 const T* __restrict k2, const T* __restrict centre,
                                 const T* __restrict v, T* __restrict dv) {
  for (int64_t j = 0; j < t.points; ++j) {
    const int64_t at = j * t.channels + t.first;
    const T edges = static_cast<T>(degree[j]);
    for (int64_t c = 0; c < t.count; ++c) {
      const T each = constant[c] + k2[c] * (v[at + c] - centre[c]);
      dv[at + c] = packed[j * width + c] + edges * each;
    }
  }
}

template <class T>
void backward(const EdgeConvPoint& at, const Tensor& ct, const BnAct& how, EdgeConvTensors& grads) {
  const Tensor &gamma = at.gamma, &var = at.var;
  const EdgeConvSaved& saved = at.saved;
  const EdgeSizes s = EdgeSizes::of(at.u, at.index);
  const EdgeChannels<T> channels(s, saved.centre, gamma);
  const T *winner = saved.winner.data<T>(), *pct = ct.data<T>();
  const T* py = how.act == Act::none ? pct : at.y.data<T>();
  T *g = grads.u.mutable_data<T>(), *out = grads.v.mutable_data<T>();  // g becomes du in place
  const Tensor sums = edge_column_sums(s, 2, [&](int64_t begin, int64_t rows, double* p) {
    const int64_t i = begin * s.channels;
    dispatch_act(how.act, [&](auto a) {
      hot([&] {
        pull_activations<T, a()>(py + i, pct + i, winner + i, channels.mean_offset(),
                                 static_cast<T>(how.slope), rows, s.channels, g + i, p,
                                 p + s.channels);
      });
    });
  });

  // Per channel, padded: a; k2; the constants of du and of dv.
  const int64_t stride = channels.stride();
  Tensor scratch = Tensor::zeros({4, stride}, kDTypeOf<T>);
  T *a = scratch.mutable_data<T>(), *k2 = a + stride, *per_point = k2 + stride,
    *per_edge = per_point + stride;
  for (int64_t c = 0; c < s.channels; ++c) {
    const double inv_std = 1 / std::sqrt(static_cast<double>(var.data<T>()[c]) + how.eps);
    const double scale = gamma.data<T>()[c] * inv_std;
    const double sum_g = sums.data<double>()[c];
    const double sum_ghat = sums.data<double>()[s.channels + c] * inv_std;
    a[c] = static_cast<T>(scale);
    grads.beta.mutable_data<T>()[c] = static_cast<T>(sum_g);
    grads.gamma.mutable_data<T>()[c] = static_cast<T>(sum_ghat);
    if (how.given_stats) continue;
    const double k = -scale * inv_std * sum_ghat / s.edges();
    const double each =
        -scale * sum_g / s.edges() - k * saved.centre.data<double>()[2 * s.channels + c];
    k2[c] = static_cast<T>(k);
    per_edge[c] = static_cast<T>(each);
    per_point[c] = static_cast<T>(each * static_cast<double>(s.neighbours));
  }

  const T *pu = at.u.data<T>(), *pv = at.v.data<T>();
  const T* pointsums = how.given_stats ? nullptr : saved.sums.data<T>();
  const uint8_t* argmax = static_cast<const uint8_t*>(saved.argmax.raw());
  const int32_t* degree = saved.degree.data<int32_t>();
  for_edge_tiles<T>(s, at.index, [&](const EdgeLoops<T>& loops, const EdgeTile& t, int64_t b) {
    Tensor slice = Tensor::empty({s.points, loops.width}, kDTypeOf<T>);
    T* packed = slice.template mutable_data<T>();
    const int64_t base = b * s.points * s.channels, c = t.first;
    const typename EdgeLoops<T>::Sources from{g + base,
                                              how.given_stats ? nullptr : pu + base,
                                              nullptr,
                                              a + c,
                                              channels.centre_u() + c,
                                              k2 + c,
                                              nullptr};
    loops.scatter(t, from, argmax + base, packed);
    hot([&] {
      finish_points<T>(t, a + c, per_point + c, k2 + c, pointsums ? pointsums + base : nullptr,
                       g + base);
    });
    hot([&] {
      finish_neighbours<T>(t, loops.width, packed, degree + b * s.points, per_edge + c, k2 + c,
                           channels.centre_v() + c, pv + base, out + base);
    });
  });
}

}  // namespace

EdgeConvSaved EdgeConvSaved::empty(const Shape& shape, DType dtype, Device device,
                                   bool given_stats) {
  EdgeConvSaved saved;
  saved.argmax = Tensor::empty({(shape.numel() + 3) / 4}, DType::i32, device);
  saved.winner = Tensor::empty(shape, dtype, device);
  if (!given_stats) saved.sums = Tensor::empty(shape, dtype, device);
  saved.degree = Tensor::empty({shape[0], shape[1]}, DType::i32, device);
  saved.centre = Tensor::empty({3, shape[2]}, DType::f64, device);
  return saved;
}

void EdgeBnActMaxForward::cpu(const Tensor& u, const Tensor& v, const Tensor& index,
                              const Tensor& gamma, const Tensor& beta, const BnAct& how, Tensor& y,
                              Tensor& mean, Tensor& var, EdgeConvSaved& saved) {
  dispatch_float(u.dtype(), name, [&](auto zero) {
    forward<decltype(zero)>(u, v, index, gamma, beta, how, y, mean, var, saved);
  });
}

void EdgeBnActMaxBackward::cpu(const EdgeConvPoint& at, const Tensor& ct, const BnAct& how,
                               EdgeConvTensors& grads) {
  dispatch_float(at.u.dtype(), name,
                 [&](auto zero) { backward<decltype(zero)>(at, ct, how, grads); });
}

}  // namespace basin
