// What an estimator returns: never a bare number.
//   value, its standard error, and a confidence interval of a stated level; how many independent
//   samples stand behind it and by which method. A number without randomness (an exact rank) has
//   standard error 0 and an interval of zero width.
#pragma once
#include <cstdint>
#include <limits>
#include <string>

namespace basin {

struct Interval {
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();
  double level = 0.95;
  bool contains(double x) const { return low <= x && x <= high; }
};

struct Estimate {
  double value = std::numeric_limits<double>::quiet_NaN();
  double standard_error = std::numeric_limits<double>::quiet_NaN();
  Interval interval;
  int64_t samples = 0;  // probes, resamples: what the method counts
  std::string method;   // "hutchinson", "hutch++", "xtrace", "bootstrap"...
};

}  // namespace basin
