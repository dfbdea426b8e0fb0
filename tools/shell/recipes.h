// Training recipes of a task (TaskInfo::recipes): named layers of defaults for --preset, and the
// defaults that depend on the optimizer. `--preset` takes a comma list of names; each is a variant
// of the network (port, original, wide, ...), a recipe (paper300, official), or both (official for
// DGCNN: the authors' network and their training). Everything a recipe says has the precedence
// `preset`, so any file, variable or flag wins; of two recipes the later one wins. The rate and the
// decay of a recipe belong to its optimizer: whoever chooses another one gets that one's own
// defaults.
#pragma once
#include <string>
#include <vector>

#include "basin/tools/shell/config.h"

namespace basin::tools {

// What follows from the names, once they have been applied.
struct ResolvedPreset {
  std::string model_preset;        // variant of the network; empty: its first
  std::vector<std::string> notes;  // one line each, for the log
};

// Fills the layer `preset` of the configuration: recipes, then the defaults of the optimizer, then
// the neighbours `k` for networks that have them. Applying it again changes nothing. usage errors
// name where the value came from.
ResolvedPreset apply_presets(Config& config);

// What a setting is before any recipe and with any optimizer: the task's own default, else that of
// the table.
std::string task_default(const std::string& task, const Setting& setting);

std::string recipe_help(const std::string& task);  // every recipe with its settings, for --help

}  // namespace basin::tools
