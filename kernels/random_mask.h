// Dropout masks: element i of a mask is a pure function of (seed, stream, i).
#pragma once
#include <string_view>

#include "basin/core/tensor.h"

namespace basin {

struct DropoutMask {
  static constexpr const char* name = "dropout_mask";
  // out[i] = 1 / (1 - p) with probability 1 - p, else 0
  using Run = void(double p, uint64_t seed, uint64_t stream, Tensor& out);
  static Run cpu, cuda;
};

struct StepDropoutMask {
  static constexpr const char* name = "step_dropout_mask";
  // The same for stream = stream_id(layer, *step), where step [] i64 lies beside out: the number is
  // read when the mask is drawn.
  using Run = void(double p, uint64_t seed, std::string_view layer, const Tensor& step,
                   Tensor& out);
  static Run cpu, cuda;
};

}  // namespace basin
