// The inputs that networks of point clouds share, and their checks.
#pragma once
#include <string_view>
#include <vector>

#include "basin/core/options.h"
#include "basin/nn/activation.h"

namespace basin {

inline Slot points_slot() { return {"points", Rows::point, SlotKind::coordinates}; }
inline Slot normals_slot() { return {"normals", Rows::point, SlotKind::direction}; }

// What networks of points and, on request, normals take.
inline std::vector<Slot> cloud_inputs(bool normals) {
  return normals ? std::vector<Slot>{points_slot(), normals_slot()}
                 : std::vector<Slot>{points_slot()};
}

// The option that asks for them, and its value.
inline OptionInfo features_option() {
  return {"features", "none", "none, or normal: the normals of the points are channels 4 to 6"};
}
inline bool takes_normals(const OptionReader& options) {
  return options.choice("features", {"none", "normal"}) == 1;
}

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

// The second: normals [B, N, 3] beside those points; undefined without.
inline Tensor normals_of(std::string_view model, const Tensors& inputs) {
  if (inputs.size() < 2) return {};
  check(inputs[1].shape() == inputs[0].shape(), model, ": expects normals ", inputs[0].shape(),
        " as the points, got ", inputs[1].shape());
  return inputs[1];
}

}  // namespace basin
