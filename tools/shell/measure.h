// What is measured of trained weights, without training: accuracy, accuracy under corruption,
// symmetry errors, and the contact sheet of the corruptions. Tables and figures go to the run
// directory of --resume, or to --out.
#pragma once
#include "basin/tools/shell/run_place.h"

namespace basin::tools {

bool is_measurement(const Config& config);

// Prints the results and returns the exit code. usage error when weights or a folder are missing.
int measure(const Config& config, const TrainConfig& train, const Place& place);

void write_json(const Config& config, const Record& result);  // --json

}  // namespace basin::tools
