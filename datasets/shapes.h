// The embedded data set: procedural surfaces with nuisance variation (per-axis scale, bend, taper,
// any heading, a small tilt, missing parts, noise, clutter), so that the first command needs no
// download. A pure function of the seed. Classes differ in topology and curvature, not in size or
// pose, so that a linear model on coordinates fails (tests/datasets/shapes_test.cpp holds that
// down).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "basin/datasets/point_cloud.h"

namespace basin {

const std::vector<std::string>& embedded_class_names();

PointCloudSplits embedded_shapes(int train_per_class, int test_per_class, int points, uint64_t seed,
                                 Normalisation normalise = Normalisation::unit_sphere);

}  // namespace basin
