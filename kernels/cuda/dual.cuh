// Dual numbers (kernels/detail/dual.h) on the device. Values and tangents lie in memory of their
// own, so that cuBLAS multiplies either; Input and Field load and store a V from both.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

#include "basin/kernels/detail/dual.h"

namespace basin::cuda {

template <class T>
BASIN_HD T sigmoid(T x) {
  return scalar::sigmoid_(x);
}
template <class T>
BASIN_HD Dual<T> sigmoid(const Dual<T>& x) {
  const T g = scalar::sigmoid_(x.v);
  return {g, scalar::Sigmoid::d(x.v, g, T(0)) * x.t};
}

// Arguments: an absent tangent is zero.
template <class V>
struct Input {
  using T = BaseOf<V>;
  const T *v = nullptr, *t = nullptr;
  BASIN_HD V load(int64_t i) const {
    if constexpr (kDual<V>) {
      return V(v[i], t ? t[i] : T(0));
    } else {
      return v[i];
    }
  }
};

// Memory of the kernels' own.
template <class V>
struct Field {
  using T = BaseOf<V>;
  T *v = nullptr, *t = nullptr;
  BASIN_HD V load(int64_t i) const {
    if constexpr (kDual<V>) {
      return V(v[i], t[i]);
    } else {
      return v[i];
    }
  }
  BASIN_HD void store(int64_t i, const V& x) const {
    if constexpr (kDual<V>) {
      v[i] = x.v;
      t[i] = x.t;
    } else {
      v[i] = x;
    }
  }
};

// The sum over the 32 lanes of a warp, in every lane; the order is fixed.
template <class T>
__device__ T warp_sum(T x) {
  for (int half = 16; half > 0; half /= 2) x += __shfl_xor_sync(0xffffffffu, x, half);
  return x;
}
template <class T>
__device__ Dual<T> warp_sum(const Dual<T>& x) {
  return {warp_sum(x.v), warp_sum(x.t)};
}

}  // namespace basin::cuda
