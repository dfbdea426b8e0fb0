// For the tests of the folder layouts: files in folders, and how far a cloud reaches.
#pragma once
#include <algorithm>
#include <cmath>
#include <string>

#include "basin/core/io.h"
#include "basin/datasets/point_cloud.h"

namespace basin::test {

inline void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  write_file_atomic(path, text);
}

inline double largest_norm(const PointCloudSet& set, int64_t row) {
  double largest = 0;
  const int64_t p = set.points_per_cloud();
  for (int64_t i = row * p; i < (row + 1) * p; ++i) {
    largest = std::max(largest, std::hypot(set.points.at(3 * i), set.points.at(3 * i + 1),
                                           set.points.at(3 * i + 2)));
  }
  return largest;
}

}  // namespace basin::test
