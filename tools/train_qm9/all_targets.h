// `--target all`: one training per target of the data, each in OUT/TARGET, and a table of their
// errors with the means that published tables have. The same command again goes on where it
// stopped; it ends at the first training that does not complete, with its exit code.
#pragma once
#include <string>
#include <vector>

#include "basin/core/io.h"

namespace basin::tools {

int train_all_targets(int argc, const char* const* argv);

// The table of OUT/TARGET/result.json for these targets; written to OUT/targets.csv, too.
std::string all_targets_table(const fs::path& out, const std::vector<std::string>& targets);

}  // namespace basin::tools
