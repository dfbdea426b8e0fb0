// The settings of landscape_probe: those that all parts share, those that each part declares, and
// for weights that stand alone the task's and the network's, which say what they belong to.
//   Where a name of the task is one of the probe's (batch, seed, dtype, ...), the plain name means
//   the probe's; the task's is task.NAME.
#pragma once
#include <string>
#include <vector>

#include "basin/tools/landscape_probe/part.h"

namespace basin::tools {

Config probe_settings(const std::string& task);
// Every value of every part that is asked for: usage errors name the origin.
void check_probe_settings(const Config& config);
std::string probe_help(const std::string& task);

// The parts of --parts, each behind those that it reads.
std::vector<const PartInfo*> parts_asked_for(const Config& config);

// The settings that say what weights alone belong to, as a training program would have them.
Config training_settings_of(const Config& probe);
// The first of them that was given; empty: none.
std::string given_training_setting(const Config& probe);

// What the shared settings say.
ProbeContext probe_context(const Trained& trained, const Config& config, const fs::path& dir);

// Of the action `path` (detail/path.h).
std::vector<Setting> path_settings();
void check_path_settings(const Config& config);
// Of the action `barriers` (barriers.h), which reads path_examples and
// interpolate_statistics too.
std::vector<Setting> barriers_settings();
void check_barriers_settings(const Config& config);
// Of the action `gauge` (detail/gauge.h).
std::vector<Setting> gauge_settings();
void check_gauge_settings(const Config& config);

// For parts that read their settings; usage errors name the origin.
std::vector<std::string> setting_words(const Config& config, const char* key,
                                       const std::vector<std::string>& known);  // empty: any
std::string setting_word(const Config& config, const char* key,
                         const std::vector<std::string>& known);  // exactly one
int64_t at_least(const Config& config, const char* key, int64_t low);
double positive(const Config& config, const char* key);

}  // namespace basin::tools
