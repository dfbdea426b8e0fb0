// For the tests of the folder layouts: files in folders, how far a cloud reaches, what is logged.
#pragma once
#include <algorithm>
#include <cmath>
#include <string>

#include "basin/core/io.h"
#include "basin/core/log.h"
#include "basin/datasets/point_cloud.h"

namespace basin::test {

inline void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  write_file_atomic(path, text);
}

// What is logged while it lives.
class Log {
 public:
  Log() {
    before_ = set_log_sink([this](LogLevel level, const std::string& text) {
      (level == LogLevel::warning ? warnings : infos) += text + "\n";
    });
  }
  ~Log() { set_log_sink(before_); }
  std::string warnings, infos;

 private:
  LogSink before_;
};

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
