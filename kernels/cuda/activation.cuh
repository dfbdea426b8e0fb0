// The activations that ride on batch normalisation, per element, as in kernels/cpu/activation.h:
// the sign of the pre-activation is read off the output, which all of them preserve. A NaN passes.
#pragma once
#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>

#include "basin/kernels/batch_norm.h"

namespace basin::cuda {

template <class T>
__device__ T activate(Act act, T z, T slope) {
  if (act == Act::none || !(z <= T(0))) return z;
  return act == Act::relu ? T(0) : slope * z;
}

// ct act'(z), where y[i] = act(z); y is not read for Act::none.
template <class T, class Y>
__device__ T pull(Act act, T ct, const Y* y, int64_t i, T slope) {
  if (act == Act::none || !(y[i] <= Y(0))) return ct;
  return act == Act::relu ? T(0) : slope * ct;
}

template <class T>
__device__ double inverse_deviation(const T* var, int64_t c, double eps) {
  return 1 / sqrt(static_cast<double>(var[c]) + eps);
}

}  // namespace basin::cuda
