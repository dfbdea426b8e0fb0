// Dropout masks: element i of a mask is a pure function of (seed, stream, i).
#pragma once
#include "basin/core/tensor.h"

namespace basin {

struct DropoutMask {
  static constexpr const char* name = "dropout_mask";
  // out[i] = 1 / (1 - p) with probability 1 - p, else 0
  static void cpu(double p, uint64_t seed, uint64_t stream, Tensor& out);
  static void cuda(double p, uint64_t seed, uint64_t stream, Tensor& out);
};

}  // namespace basin
