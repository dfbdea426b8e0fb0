// The activations that ride on batch normalisation, per element, shared by its CPU kernels. The
// sign of the pre-activation is read off the output, which all of them preserve. A NaN passes.
#pragma once
#include <type_traits>

#include "basin/kernels/batch_norm.h"

namespace basin {

template <class T, Act kAct>
inline T activate(T z, T slope) {
  if constexpr (kAct == Act::relu) return z <= T(0) ? T(0) : z;
  if constexpr (kAct == Act::leaky_relu) return z <= T(0) ? slope * z : z;
  return z;
}

// ct act'(z), where y = act(z).
template <class T, Act kAct>
inline T pull_activation(T ct, T y, T slope) {
  if constexpr (kAct == Act::relu) return y <= T(0) ? T(0) : ct;
  if constexpr (kAct == Act::leaky_relu) return y <= T(0) ? slope * ct : ct;
  return ct;
}

// f(std::integral_constant<Act, act>)
template <class F>
void dispatch_act(Act act, F&& f) {
  switch (act) {
    case Act::none: return f(std::integral_constant<Act, Act::none>{});
    case Act::relu: return f(std::integral_constant<Act, Act::relu>{});
    case Act::leaky_relu: return f(std::integral_constant<Act, Act::leaky_relu>{});
  }
}

}  // namespace basin
