// One probe of one network: the parts that are asked for and not there yet, into one folder.
//   PROBE/{config.toml, run.json, <part>.json, slice-<name>.jsonl, eigenvectors.safetensors}
// and, made anew from those files each time: tables/, figures/, report.html (detail/compare.h).
#pragma once
#include <functional>
#include <string>

#include "basin/tools/landscape_probe/part.h"
#include "basin/tools/shell/run_dir.h"

namespace basin::tools {

// Runs the parts; returns the folder of the probe. `path`: as load_probed takes it. `out`: empty
// for RUN/probe, or runs/probe-NAME of weights that stand alone. output error when a part is there
// with other settings.
fs::path probe_run(const std::string& path, const Config& config, const fs::path& out,
                   const std::string& command);

// The folder of an earlier measurement, or a new one with these settings.
RunDir open_results(const fs::path& dir, const Config& config);
// The work between RunDir::begin and its end, which says how it ended.
void measure_into(RunDir& run, const Record& facts, const std::string& command,
                  const std::function<void()>& work);
// `facts` with the settings that decide a part's numbers.
Record identity_of(const Record& facts, const std::string& example, const Config& config,
                   const std::vector<std::string>& settings);

}  // namespace basin::tools
