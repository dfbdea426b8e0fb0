// Blends of running statistics, in place and elementwise: to = (1 - momentum) to + momentum from,
// computed in double; the factors that make variances unbiased; and the counters of batches. All
// take the layers of a network at once, which are few launches on a device.
#pragma once
#include <span>

#include "basin/core/tensor.h"

namespace basin {

struct BlendItem {
  Tensor from, to;  // equal shapes; all items of a call are on one device and of one float type
};
struct Blend {
  static constexpr const char* name = "blend";
  using Run = void(std::span<BlendItem> items, double momentum);
  static Run cpu, cuda;
};

struct ScaleItem {
  Tensor from, to;  // equal shapes; all items of a call are on one device and of one float type
  double factor;
};
struct ScaleEach {
  static constexpr const char* name = "scale_each";
  using Run = void(std::span<ScaleItem> items);  // to = factor from
  static Run cpu, cuda;
};

struct CountUp {
  static constexpr const char* name = "count_up";
  using Run = void(std::span<Tensor> counters);  // each [] i64, one more
  static Run cpu, cuda;
};

}  // namespace basin
