// The demonstration: PointNet with 64 points trained on a part of the embedded shapes by AdamW and
// by Muon, in a few seconds each; what landscape_probe then compares.
#pragma once
#include <string>
#include <vector>

#include "basin/core/io.h"

namespace basin::tools {

// Trains what is not there yet below `folder` and returns the run directories.
std::vector<fs::path> demo_runs(const fs::path& folder, const std::string& command);

}  // namespace basin::tools
