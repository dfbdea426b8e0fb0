// Test data for the kernel tests: values in [-1, 1) from a linear congruence, independent of the
// library's own random numbers, and the comparison of whole tensors.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "basin/core/tensor.h"

namespace basin::testing {

template <class T>
std::vector<T> numbers(int64_t n, uint64_t seed) {
  std::vector<T> v(n);
  uint64_t state = seed * 2862933555777941757ull + 3037000493ull;
  for (T& value : v) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    value = static_cast<T>(static_cast<double>(state >> 11) / 4503599627370496.0 - 1.0);
  }
  return v;
}

inline Tensor random_tensor(const Shape& shape, DType dtype, uint64_t seed) {
  return Tensor::from<double>(numbers<double>(shape.numel(), seed), shape).to(dtype);
}

// max |a - b| / max(|b|, floor); infinite where either is not finite.
inline double relative_error(const Tensor& a, const Tensor& b, double floor = 1e-30) {
  if (a.numel() != b.numel()) return INFINITY;
  double difference = 0, scale = floor;
  for (int64_t i = 0; i < a.numel(); ++i) {
    if (!std::isfinite(a.at(i)) || !std::isfinite(b.at(i))) return INFINITY;
    difference = std::fmax(difference, std::fabs(a.at(i) - b.at(i)));
    scale = std::fmax(scale, std::fabs(b.at(i)));
  }
  return difference / scale;
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  return a.bytes() == b.bytes() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

}  // namespace basin::testing
