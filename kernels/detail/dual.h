// Dual numbers v + t eps with eps^2 = 0: a kernel written for a value type V gives the value for
// V = T and value and tangent for V = Dual<T>. Shared by CPU loops and CUDA kernels; T may be a
// vector of the compiler's.
#pragma once
#include <cstdint>
#include <type_traits>

#include "basin/kernels/scalar.h"

namespace basin {

template <class T>
struct Dual {
  T v, t;
  BASIN_HD Dual(T value = T{}, T tangent = T{}) : v(value), t(tangent) {}
  friend BASIN_HD Dual operator+(const Dual& a, const Dual& b) { return {a.v + b.v, a.t + b.t}; }
  friend BASIN_HD Dual operator-(const Dual& a, const Dual& b) { return {a.v - b.v, a.t - b.t}; }
  friend BASIN_HD Dual operator*(const Dual& a, const Dual& b) {
    return {a.v * b.v, a.v * b.t + a.t * b.v};
  }
};
// A vector times a number.
template <class P, class T>
requires(!std::is_same_v<P, T>) BASIN_HD Dual<P>
operator*(const Dual<P>& a, const Dual<T>& b) { return {a.v * b.v, a.v * b.t + a.t * b.v}; }

template <class V>
struct DualTraits {
  using Base = V;
  static constexpr bool kDual = false;
};
template <class T>
struct DualTraits<Dual<T>> {
  using Base = T;
  static constexpr bool kDual = true;
};
template <class V>
using BaseOf = typename DualTraits<V>::Base;
template <class V>
inline constexpr bool kDual = DualTraits<V>::kDual;

// What a kernel that was asked for V gives: the value, or the tangent alone.
template <class T>
BASIN_HD T outcome(T x) {
  return x;
}
template <class T>
BASIN_HD T outcome(const Dual<T>& x) {
  return x.t;
}

}  // namespace basin
