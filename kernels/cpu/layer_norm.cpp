// Layer normalisation on the CPU: rows in fixed tiles; a tile adds its share of the sums over rows,
// and the tiles are added in their order.
#include "basin/kernels/layer_norm.h"

#include <algorithm>

#include "basin/core/parallel.h"
#include "basin/kernels/row_maps.h"

namespace basin {
namespace {

constexpr int64_t kTileElements = 16384;
constexpr row_map::OneThread kLanes{};

struct Tiles {
  explicit Tiles(const Tensor& x)
      : n(x.size(-1)), rows(x.numel() / n), grain(std::max<int64_t>(1, kTileElements / n)) {}
  int64_t n, rows, grain;
};

template <class T>
const T* row(const Tensor& t, int64_t at) {  // null where undefined
  return t.defined() ? t.data<T>() + at : nullptr;
}

// run(first element of a row, the tile's sums [2, n]) for all rows; the sums into dgamma, dbeta.
template <class T, class Run>
void with_column_sums(const Tensor& x, const Run& run, Tensor& dgamma, Tensor& dbeta) {
  const Tiles tiles(x);
  const int64_t n = tiles.n, count = tile_count(tiles.rows, tiles.grain);
  Tensor partial = Tensor::zeros({count, 2 * n}, DType::f64);
  double* sums = partial.mutable_data<double>();
  parallel_for(tiles.rows, tiles.grain, [&](int64_t begin, int64_t end) {
    double* own = sums + begin / tiles.grain * 2 * n;
    for (int64_t r = begin; r < end; ++r) run(r * n, own);
  });
  T *to_gamma = dgamma.mutable_data<T>(), *to_beta = dbeta.mutable_data<T>();
  for (int64_t i = 0; i < n; ++i) {
    double gamma = 0, beta = 0;
    for (int64_t t = 0; t < count; ++t) {
      gamma += sums[t * 2 * n + i];
      beta += sums[t * 2 * n + n + i];
    }
    to_gamma[i] = static_cast<T>(gamma);
    to_beta[i] = static_cast<T>(beta);
  }
}

}  // namespace

void LayerNormForward::cpu(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps,
                           Tensor& y) {
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    const Tiles tiles(x);
    T* to = y.mutable_data<T>();
    parallel_for(tiles.rows, tiles.grain, [&](int64_t begin, int64_t end) {
      for (int64_t at = begin * tiles.n; at < end * tiles.n; at += tiles.n) {
        row_map::layer_norm(kLanes, tiles.n, row<T>(x, at), row<T>(gamma, 0), row<T>(beta, 0), eps,
                            to + at);
      }
    });
  });
}

void LayerNormVjp::cpu(const Tensor& x, const Tensor& gamma, const Tensor& ct, double eps,
                       Tensor& dx, Tensor& dgamma, Tensor& dbeta) {
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    const int64_t n = x.size(-1);
    T* to = dx.mutable_data<T>();
    const auto run = [&](int64_t at, double* sums) {
      const T *xs = row<T>(x, at), *c = row<T>(ct, at);
      const row_map::RowScale k =
          row_map::layer_norm_vjp(kLanes, n, xs, row<T>(gamma, 0), c, eps, to + at);
      for (int64_t i = 0; i < n; ++i) {
        sums[i] += static_cast<double>(c[i]) * row_map::xhat_of(k, xs[i]);
        sums[n + i] += static_cast<double>(c[i]);
      }
    };
    with_column_sums<T>(x, run, dgamma, dbeta);
  });
}

void LayerNormJvp::cpu(const Tensor& x, const Tensor& gamma, const Tensor& t, const Tensor& gamma_t,
                       const Tensor& beta_t, double eps, Tensor& y_t) {
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    const Tiles tiles(x);
    T* to = y_t.mutable_data<T>();
    parallel_for(tiles.rows, tiles.grain, [&](int64_t begin, int64_t end) {
      for (int64_t at = begin * tiles.n; at < end * tiles.n; at += tiles.n) {
        row_map::layer_norm_jvp(kLanes, tiles.n, row<T>(x, at), row<T>(gamma, 0), row<T>(t, at),
                                row<T>(gamma_t, 0), row<T>(beta_t, 0), eps, to + at);
      }
    });
  });
}

void LayerNormVjpJvp::cpu(const Tensor& x, const Tensor& gamma, const Tensor& ct, const Tensor& t,
                          const Tensor& gamma_t, const Tensor& ct_t, double eps, Tensor& dx_t,
                          Tensor& dgamma_t, Tensor& dbeta_t) {
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    const int64_t n = x.size(-1);
    T* to = dx_t.mutable_data<T>();
    const auto run = [&](int64_t at, double* sums) {
      const T *xs = row<T>(x, at), *c = row<T>(ct, at), *ts = row<T>(t, at), *cs = row<T>(ct_t, at);
      const row_map::RowScale k = row_map::layer_norm_vjp_jvp(
          kLanes, n, xs, row<T>(gamma, 0), c, ts, row<T>(gamma_t, 0), cs, eps, to + at);
      for (int64_t i = 0; i < n; ++i) {
        sums[i] += static_cast<double>(c[i]) * row_map::xhat_tangent(k, xs[i], ts, i);
        if (!cs) continue;
        sums[i] += static_cast<double>(cs[i]) * row_map::xhat_of(k, xs[i]);
        sums[n + i] += static_cast<double>(cs[i]);
      }
    };
    with_column_sums<T>(x, run, dgamma_t, dbeta_t);
  });
}

}  // namespace basin
