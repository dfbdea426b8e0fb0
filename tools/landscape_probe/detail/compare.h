// Reports: of one probe, and of runs side by side. Everything is made anew from the files of the
// probes, so a report can be made again without measuring anything.
//   OUT/tables/*.csv    OUT/figures/*.svg, each with its CSV    OUT/report.html
#pragma once
#include <string>
#include <vector>

#include "basin/tools/landscape_probe/part.h"

namespace basin::tools {

// The report of one probe, in its own folder. Returns what is printed.
std::string report_probe(const fs::path& probe, const std::string& command);

// The numbers of one probe that comparisons speak of, flat: every quantity with "_low" and "_high",
// named as in the verdicts: lambda_max, trace, weights_stable_rank_share ..
Record probe_numbers(const fs::path& probe);

// Measures what is missing (with the settings of `config`), then compares two by two: the first
// with the second, the third with the fourth... `runs`: run directories, checkpoints, files of
// weights, or folders of probes. `out`: empty for runs/compare-A-B. usage error for an odd number.
std::string compare_runs(const std::vector<std::string>& runs, const Config& config,
                         const fs::path& out, const std::string& command);

// What made the numbers: from the record of a run's folder, and each probe's weights.
Provenance provenance_of(const RecordFields& facts, const std::string& command);

// report.html of one measurement; its first section's text answers, dir/run.json says what made the
// numbers.
void write_measured(const fs::path& dir, const std::string& title, const PartReport& parts,
                    const std::string& command);

}  // namespace basin::tools
