// Reports: of one probe, and of runs side by side. Everything is made anew from the files of the
// probes, so a report can be made again without measuring anything.
//   OUT/tables/{hessian,trace_by_block,weight_ranks,representation_ranks,sharpness,verdict,cka}.csv
//   OUT/figures/*.svg, each with its CSV    OUT/report.html
#pragma once
#include <string>
#include <vector>

#include "basin/tools/shell/config.h"

namespace basin::tools {

// The report of one probe, in its own folder. Returns what is printed.
std::string report_probe(const fs::path& probe, const std::string& command);

// Measures what is missing (with the settings of `config`), then compares two by two: the first
// with the second, the third with the fourth... `out`: empty for runs/compare-A-B. usage error for
// an odd number of runs.
std::string compare_runs(const std::vector<std::string>& runs, const Config& config,
                         const fs::path& out, const std::string& command);

}  // namespace basin::tools
