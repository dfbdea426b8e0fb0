// The activation that the normalisation ops carry, as public ops: act(x).
#pragma once
#include "basin/autograd/ops.h"

namespace basin {

inline Tensor activate(const Tensor& x, Act act, double slope) {
  switch (act) {
    case Act::none: return x;
    case Act::relu: return relu(x);
    case Act::leaky_relu: return leaky_relu(x, slope);
  }
  return x;
}

}  // namespace basin
