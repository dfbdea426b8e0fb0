// The input that all networks of point clouds share, and its check.
#pragma once
#include <string_view>

#include "basin/nn/activation.h"

namespace basin {

inline Slot points_slot() { return {"points", Rows::point, SlotKind::coordinates}; }

// The first of the inputs. usage error in the name of `model` unless there are `count` and the
// first is points [B, N, 3], not empty.
inline const Tensor& points_of(std::string_view model, const Tensors& inputs, size_t count = 1) {
  check(inputs.size() == count, model, ": expects ", count, count == 1 ? " input" : " inputs",
        ", got ", inputs.size());
  const Tensor& points = inputs.front();
  check(points.rank() == 3 && points.size(2) == 3 && points.numel() > 0, model,
        ": expects points [B, N, 3], got ", points.shape());
  return points;
}

}  // namespace basin
