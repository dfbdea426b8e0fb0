// Clipping: fixed tiles, partial sums combined in tile order.
#include "basin/optim/clip.h"

#include <algorithm>
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

// f(value) on every element, into fresh tensors; undefined stays undefined.
template <class F>
Tensors mapped(const Tensors& grads, const F& f) {
  Tensors out;
  out.reserve(grads.size());
  for (const Tensor& g : grads) {
    out.push_back(g.defined() ? Tensor::empty(g.shape(), g.dtype()) : Tensor());
    if (!g.defined()) continue;
    dispatch_float(g.dtype(), "clip", [&](auto t) {
      using T = decltype(t);
      const T* x = g.data<T>();
      T* y = out.back().mutable_data<T>();
      parallel_for(g.numel(), kTile, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) y[i] = static_cast<T>(f(x[i]));
      });
    });
  }
  return out;
}

}  // namespace

double global_norm(const Tensors& grads) {
  double total = 0;
  for (const Tensor& g : grads) {
    if (!g.defined()) continue;
    total += dispatch_float(g.dtype(), "clip", [&](auto t) { return square_sum<decltype(t)>(g); });
  }
  return std::sqrt(total);
}

ClipResult clip_global_norm(const Tensors& grads, double max_norm) {
  check(std::isfinite(max_norm) && max_norm > 0, "clip: expects a maximal norm above 0, got ",
        max_norm);
  ClipResult out{grads, global_norm(grads), false};
  if (!std::isfinite(out.norm)) {
    fail(ErrorKind::numerical, "clip: the gradient norm is ", out.norm,
         "; lower the learning rate or look for a division by zero");
  }
  if (out.norm <= max_norm) return out;
  const double factor = max_norm / out.norm;
  out.grads = mapped(grads, [factor](auto x) { return x * factor; });
  out.clipped = true;
  return out;
}

ClipResult clip_value(const Tensors& grads, double limit) {
  check(std::isfinite(limit) && limit > 0, "clip: expects a limit above 0, got ", limit);
  ClipResult out{{}, global_norm(grads), false};
  // std::clamp returns NaN for NaN: both comparisons are false.
  out.grads = mapped(
      grads, [limit](auto x) { return std::clamp<double>(static_cast<double>(x), -limit, limit); });
  for (size_t i = 0; i < grads.size() && !out.clipped; ++i) {
    if (!grads[i].defined()) continue;
    out.clipped = dispatch_float(grads[i].dtype(), "clip", [&](auto t) {
      using T = decltype(t);
      const T* x = grads[i].data<T>();
      return std::any_of(x, x + grads[i].numel(), [limit](T v) { return std::abs(v) > limit; });
    });
  }
  return out;
}

}  // namespace basin
