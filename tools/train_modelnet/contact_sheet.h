// One shape under all corruptions, as a picture: the clean cloud at the left, then a row for each
// group with its five corruptions. A panel whose corruption cannot be made says why.
#pragma once
#include <optional>
#include <string>

#include "basin/datasets/corruptions.h"
#include "basin/figures/raster.h"
#include "basin/train/tasks/point_clouds.h"

namespace basin::tools {

struct SheetShape {
  std::string name;                       // "airplane, test shape 12", "chair_0001.off"
  Tensor points;                          // [N, 3], y up, every point there is
  std::optional<TriangleMesh> mesh = {};  // z up, for depth images
  uint64_t index = 0;                     // of the random draws
};

// `which`: the number of a test shape of the data (meshes: its mesh comes along), or a mesh file
// (.off with z up as in ModelNet, .obj with y up). usage error for a number outside the split.
SheetShape sheet_shape(const CloudSettings& config, const std::string& which);

Picture contact_sheet(const SheetShape& shape, int severity, uint64_t seed);

}  // namespace basin::tools
