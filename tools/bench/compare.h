// bench compare A.json B.json: two results of the bench side by side.
#pragma once
#include <string>

#include "basin/core/record.h"

namespace basin::tools {

// A Markdown table of the measurements that both have, a row each: median milliseconds, how many
// times as long A took as B, and whether the ranges from least to largest call are apart, without
// which a ratio is no difference; above it what differs between the machines and builds, below it
// the geometric mean of the ratios and what only one of them has.
// data error: no common measurement.
std::string bench_comparison(const RecordFields& a, const RecordFields& b,
                             const std::string& name_a, const std::string& name_b);

}  // namespace basin::tools
