// What runs recorded about themselves, as parts of reports read it.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "basin/tools/landscape_probe/loaded.h"

namespace basin::tools {

// Lines of the run's metrics.jsonl of one kind, empty without a run; evaluations within an epoch
// count as those at its end. data errors naming the file.
std::vector<RecordFields> metrics_of(const LoadedProbe& p, const std::string& event);

// The settings of its config.toml, "lr" and "optimizer.preset", values as text without quotes;
// empty without a run. data errors naming the file.
std::map<std::string, std::string> recorded_settings(const LoadedProbe& p);

}  // namespace basin::tools
