// The activations of mlp_jet with their derivatives, and what they do to a jet and to its
// cotangent; V is a number, a vector of the compiler's, or a Dual of either.
#pragma once
#include "basin/kernels/detail/dual.h"
#include "basin/kernels/mlp_jet.h"

namespace basin::jets {

// Products and sums with a constant, which has no tangent.
template <class V>
BASIN_HD V times(const V& x, double c) {
  if constexpr (kDual<V>) {
    return V(times(x.v, c), times(x.t, c));
  } else if constexpr (std::is_arithmetic_v<V>) {
    return x * static_cast<V>(c);
  } else {
    return x * static_cast<std::remove_cvref_t<decltype(x[0])>>(c);
  }
}
template <class V>
BASIN_HD V plus(const V& x, double c) {
  if constexpr (kDual<V>) {
    return V(plus(x.v, c), x.t);
  } else if constexpr (std::is_arithmetic_v<V>) {
    return x + static_cast<V>(c);
  } else {
    return x + static_cast<std::remove_cvref_t<decltype(x[0])>>(c);
  }
}
template <class V>
BASIN_HD V one_minus(const V& x) {
  return plus(times(x, -1), 1);
}

// phi(z) and what else its derivatives are made of: nothing (tanh), cos z (sin), sigma(z) (silu).
template <class V>
struct Activated {
  V value, aux;
};

// Math: tanh, sigmoid, sin and cos of the numbers behind V.
template <JetActivation kPhi, class Math, class V>
BASIN_HD Activated<V> activate(const V& z) {
  if constexpr (kDual<V>) {
    const auto at = activate<kPhi, Math>(z.v);
    if constexpr (kPhi == JetActivation::tanh) {
      return {V(at.value, one_minus(at.value * at.value) * z.t), V()};
    } else if constexpr (kPhi == JetActivation::sin) {
      return {V(at.value, at.aux * z.t), V(at.aux, times(at.value, -1) * z.t)};
    } else {
      const V g(at.aux, at.aux * one_minus(at.aux) * z.t);
      return {z * g, g};
    }
  } else if constexpr (kPhi == JetActivation::tanh) {
    return {Math::tanh(z), V()};
  } else if constexpr (kPhi == JetActivation::sin) {
    return {Math::sin(z), Math::cos(z)};
  } else {
    const V g = Math::sigmoid(z);
    return {z * g, g};
  }
}

// phi', phi'' and phi''' at z.
template <class V>
struct Slopes {
  V d1, d2, d3;
};
template <JetActivation kPhi, class V>
BASIN_HD Slopes<V> slopes(const V& z, const V& value, const V& aux) {
  if constexpr (kPhi == JetActivation::tanh) {
    const V square = value * value, d1 = one_minus(square);
    return {d1, times(value, -2) * d1, d1 * plus(times(square, 6), -2)};
  } else if constexpr (kPhi == JetActivation::sin) {
    return {aux, times(value, -1), times(aux, -1)};
  } else {
    // With g = sigma(z), q = g (1 - g) and r = 1 - 2 g: g + z q, q (2 + z r),
    // q (r (3 + z r) - 2 z q)
    const V q = aux * one_minus(aux), r = plus(times(aux, -2), 1), zr = z * r;
    return {aux + z * q, q * plus(zr, 2), q * (r * plus(zr, 3) - times(z * q, 2))};
  }
}

// The jet of phi(z) but for its value, from that of z; neighbouring slots are `step` apart.
template <class V>
BASIN_HD void push_slots(const JetSlots::Along* along, int count, int step, const Slopes<V>& phi,
                         const V* z, V* a) {
  for (int k = 0; k < count; ++k) {
    const V z1 = z[along[k].first * step];
    a[along[k].first * step] = phi.d1 * z1;
    if (along[k].second == 0) continue;
    const int at = along[k].second * step;
    a[at] = phi.d2 * (z1 * z1) + phi.d1 * z[at];
  }
}

// The cotangent of z from that of phi(z), in place.
template <class V>
BASIN_HD void pull_slots(const JetSlots::Along* along, int count, int step, const Slopes<V>& phi,
                         const V* z, V* g) {
  V all = g[0] * phi.d1;
  for (int k = 0; k < count; ++k) {
    const int first = along[k].first * step, second = along[k].second * step;
    const V z1 = z[first], g1 = g[first];
    V of_first = g1 * phi.d1;
    all = all + g1 * (phi.d2 * z1);
    if (second != 0) {
      const V g2 = g[second], bend = phi.d2 * z1;
      all = all + g2 * (phi.d3 * (z1 * z1) + phi.d2 * z[second]);
      of_first = of_first + times(g2 * bend, 2);
      g[second] = g2 * phi.d1;
    }
    g[first] = of_first;
  }
  g[0] = all;
}

}  // namespace basin::jets
