// train_modelnet --replay BUNDLE: runs a failed step again, on the CPU, from what the training left
// of it (step_failure.h), with the outcomes
//   it fails at the same op and layer    numerical error, exit code 4: as the training
//   it is finite, or fails elsewhere     internal error, exit code 1
#pragma once
#include "basin/tools/shell/config.h"

namespace basin::tools {

int replay(const Config& config);  // throws in either case

}  // namespace basin::tools
