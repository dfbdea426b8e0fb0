// Clipping by the kernels of kernels/clip.h; by value on the CPU.
#include "basin/optim/clip.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "basin/core/parallel.h"
#include "basin/kernels/clip.h"
#include "basin/kernels/launch.h"

namespace basin {
namespace {

constexpr int64_t kTile = int64_t{1} << 15;

Device device_of(const Tensors& grads) {
  for (const Tensor& g : grads) {
    if (g.defined()) return g.device();
  }
  return Device::cpu;
}

Tensors scaled(const Tensors& grads, const Tensor& factor) {
  Tensors out;
  out.reserve(grads.size());
  for (const Tensor& g : grads) {
    out.push_back(g.defined() ? Tensor::empty(g.shape(), g.dtype(), g.device()) : Tensor());
    if (g.defined()) launch<ScaleBy>(g.device(), g, factor, out.back());
  }
  return out;
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
  if (grads.empty()) return 0;
  const Device device = device_of(grads);
  Tensor sums = Tensor::empty({static_cast<int64_t>(grads.size())}, DType::f64, device);
  launch<SquareSums>(device, grads, sums);
  double total = 0;
  for (const double sum : sums.to_vector<double>()) total += sum;
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
  out.grads = scaled(grads, Tensor::full({1}, DType::f64, max_norm / out.norm, device_of(grads)));
  out.clipped = true;
  return out;
}

Tensors clip_by_sums(const Tensors& grads, const Tensor& square_sums, double max_norm) {
  check(std::isfinite(max_norm) && max_norm > 0, "clip: expects a maximal norm above 0, got ",
        max_norm);
  Tensor factor = Tensor::empty({1}, DType::f64, square_sums.device());
  launch<ClipFactor>(factor.device(), square_sums, max_norm, factor);
  return scaled(grads, factor);
}

ClipResult clip_value(const Tensors& grads, double limit) {
  check(std::isfinite(limit) && limit > 0, "clip: expects a limit above 0, got ", limit);
  if (device_of(grads) != Device::cpu) {  // the largest value is wanted at once: clip on the CPU
    Tensors here;
    for (const Tensor& g : grads) here.push_back(g.defined() ? g.to(Device::cpu) : g);
    ClipResult out = clip_value(here, limit);
    for (Tensor& g : out.grads) {
      if (g.defined()) g = g.to(Device::cuda);
    }
    return out;
  }
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
