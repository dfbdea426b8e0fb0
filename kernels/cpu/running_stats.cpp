// Running statistics on the CPU: some thousand elements, so one thread.
#include "basin/kernels/running_stats.h"

namespace basin {

void Blend::cpu(std::span<BlendItem> items, double momentum) {
  for (BlendItem& item : items) {
    dispatch_float(item.to.dtype(), name, [&](auto z) {
      using T = decltype(z);
      const T* x = item.from.data<T>();
      T* y = item.to.mutable_data<T>();
      for (int64_t i = 0, n = item.to.numel(); i < n; ++i) {
        y[i] = static_cast<T>((1 - momentum) * y[i] + momentum * x[i]);
      }
    });
  }
}

void ScaleEach::cpu(std::span<ScaleItem> items) {
  for (ScaleItem& item : items) {
    dispatch_float(item.to.dtype(), name, [&](auto z) {
      using T = decltype(z);
      const T* x = item.from.data<T>();
      T* y = item.to.mutable_data<T>();
      const T factor = static_cast<T>(item.factor);
      for (int64_t i = 0, n = item.to.numel(); i < n; ++i) y[i] = x[i] * factor;
    });
  }
}

void CountUp::cpu(std::span<Tensor> counters) {
  for (Tensor& counter : counters) ++*counter.mutable_data<int64_t>();
}

}  // namespace basin
