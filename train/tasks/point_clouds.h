// The settings of the task "modelnet" as a struct, for programs that make clouds of their own from
// the same data (corruptions, contact sheets).
#pragma once
#include <string>

#include "basin/core/options.h"
#include "basin/datasets/loader.h"

namespace basin {

struct CloudSettings {
  std::string data;    // folder, or "embedded"
  LoadOptions load;    // with the points, their selection and the normals
  int64_t points = 0;  // per cloud, as the network sees them
  Augment augment;
  PoseProtocol pose;
  Axis up = Axis::y;
  double val_fraction = 0, label_smoothing = 0;
  bool keep_repeats = true;  // test clouds that are training clouds
  uint64_t seed = 0;
};

std::vector<OptionInfo> cloud_options();
CloudSettings cloud_settings(const OptionReader& options, uint64_t seed);  // usage errors
CloudSettings cloud_settings(const OptionValues& values, uint64_t seed);

}  // namespace basin
