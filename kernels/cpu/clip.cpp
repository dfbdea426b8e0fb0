// Clipping on the CPU: fixed tiles, partial sums combined in tile order.
#include "basin/kernels/clip.h"

#include <cmath>
#include <vector>

#include "basin/core/parallel.h"

namespace basin {
namespace {

constexpr int64_t kTile = int64_t{1} << 15;

template <class T>
double square_sum(const Tensor& g) {
  const T* x = g.data<T>();
  std::vector<double> partial(static_cast<size_t>(tile_count(g.numel(), kTile)), 0.0);
  parallel_for(g.numel(), kTile, [&](int64_t begin, int64_t end) {
    double part[8] = {};
    for (int64_t i = begin; i < end; ++i) {
      const double v = static_cast<double>(x[i]);
      part[i & 7] += v * v;
    }
    double sum = 0;
    for (double p : part) sum += p;
    partial[begin / kTile] = sum;
  });
  double total = 0;
  for (double p : partial) total += p;
  return total;
}

}  // namespace

void SquareSums::cpu(const Tensors& x, Tensor& sums) {
  double* out = sums.mutable_data<double>();
  for (size_t i = 0; i < x.size(); ++i) {
    out[i] = x[i].defined() ? dispatch_float(x[i].dtype(), name,
                                             [&](auto t) { return square_sum<decltype(t)>(x[i]); })
                            : 0;
  }
}

void ClipFactor::cpu(const Tensor& sums, double max_norm, Tensor& factor) {
  double total = 0;
  for (int64_t i = 0; i < sums.numel(); ++i) total += sums.data<double>()[i];
  const double norm = std::sqrt(total);
  *factor.mutable_data<double>() = std::isfinite(norm) && norm > max_norm ? max_norm / norm : 1;
}

void ScaleBy::cpu(const Tensor& x, const Tensor& factor, Tensor& out) {
  const double f = *factor.data<double>();
  dispatch_float(x.dtype(), name, [&](auto t) {
    using T = decltype(t);
    const T* from = x.data<T>();
    T* to = out.mutable_data<T>();
    parallel_for(x.numel(), kTile, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] = static_cast<T>(from[i] * f);
    });
  });
}

}  // namespace basin
