// Reductions along one axis, the tensor seen as [outer, n, inner] -> [outer, inner]. Sums of f32
// are accumulated in double; partial sums belong to fixed tiles and are added in tile order.
#pragma once
#include "basin/core/tensor.h"

namespace basin {

// How a tensor of some shape looks around one axis.
struct AxisView {
  int64_t outer = 1, n = 1, inner = 1;
};
AxisView axis_view(const Shape& shape, int axis);

struct ReduceSum {
  static constexpr const char* name = "sum";
  // x [outer, n, inner] -> out [outer, inner]
  using Run = void(const Tensor& x, AxisView view, Tensor& out);
  static Run cpu, cuda;
};

enum class Extreme : uint8_t { max, min };

// Position of the first largest (smallest) element; a NaN counts as the extreme. n >= 1.
struct ArgExtreme {
  static constexpr const char* name = "argmax";
  // x [outer, n, inner] -> index [outer, inner] i32
  using Run = void(Extreme which, const Tensor& x, AxisView view, Tensor& index);
  static Run cpu, cuda;
};

}  // namespace basin
