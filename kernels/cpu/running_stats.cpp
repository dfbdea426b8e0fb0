// Running statistics on the CPU: some thousand elements, so one thread.
#include "basin/kernels/running_stats.h"

namespace basin {

void Blend::cpu(const Tensor& from, double momentum, Tensor& to) {
  dispatch_float(to.dtype(), name, [&](auto z) {
    using T = decltype(z);
    const T* x = from.data<T>();
    T* y = to.mutable_data<T>();
    for (int64_t i = 0, n = to.numel(); i < n; ++i) {
      y[i] = static_cast<T>((1 - momentum) * y[i] + momentum * x[i]);
    }
  });
}

void CountUp::cpu(Tensor& counter) { ++*counter.mutable_data<int64_t>(); }

}  // namespace basin
