// Blends of running statistics, in place and elementwise: to = (1 - momentum) to + momentum from,
// computed in double, and the counter of batches.
#pragma once
#include "basin/core/tensor.h"

namespace basin {

struct Blend {
  static constexpr const char* name = "blend";
  static void cpu(const Tensor& from, double momentum, Tensor& to);  // equal shapes and types
  static void cuda(const Tensor& from, double momentum, Tensor& to);
};

struct CountUp {
  static constexpr const char* name = "count_up";
  static void cpu(Tensor& counter);  // [] i64, one more
  static void cuda(Tensor& counter);
};

}  // namespace basin
