// Running statistics on the device: one thread per element.
#include "basin/kernels/running_stats.h"

#include "basin/kernels/cuda/grid.cuh"

namespace basin {
namespace {

template <class T>
void blend(const T* x, double momentum, T* y, int64_t n) {
  cuda::for_items(Blend::name, n, [=] __device__(int64_t i) {
    y[i] = static_cast<T>((1 - momentum) * y[i] + momentum * x[i]);
  });
}

}  // namespace

void Blend::cuda(const Tensor& from, double momentum, Tensor& to) {
  dispatch_float(to.dtype(), name, [&](auto z) {
    using T = decltype(z);
    blend(cuda::in_ptr<T>(from), momentum, cuda::out_ptr<T>(to), to.numel());
  });
}

void CountUp::cuda(Tensor& counter) {
  int64_t* n = cuda::out_ptr<int64_t>(counter);
  cuda::for_items(name, 1, [=] __device__(int64_t) { *n += 1; });
}

}  // namespace basin
