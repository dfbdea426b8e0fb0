// The largest or smallest of elements that several threads have met in any order, on CUDA: the
// first of those that tie, as on the CPU; a NaN counts as the extreme.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

namespace basin::cuda {

template <class T>
struct Found {
  T value;
  int32_t at;  // -1: nothing
};

// Whether b replaces a: a total order.
template <class T>
__device__ bool replaces(bool largest, const Found<T>& b, const Found<T>& a) {
  if (b.at < 0 || a.at < 0) return b.at >= 0;
  const bool earlier = b.at < a.at;
  if (b.value != b.value) return a.value == a.value || earlier;
  if (a.value != a.value) return false;
  return (largest ? b.value > a.value : b.value < a.value) || (b.value == a.value && earlier);
}

}  // namespace basin::cuda
