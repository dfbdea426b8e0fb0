// Blends of running statistics, in place and elementwise: to = (1 - momentum) to + momentum from,
// computed in double, and the counter of batches.
#pragma once
#include "basin/core/tensor.h"

namespace basin {

struct Blend {
  static constexpr const char* name = "blend";
  using Run = void(const Tensor& from, double momentum, Tensor& to);  // equal shapes and types
  static Run cpu, cuda;
};

struct CountUp {
  static constexpr const char* name = "count_up";
  using Run = void(Tensor& counter);  // [] i64, one more
  static Run cpu, cuda;
};

}  // namespace basin
