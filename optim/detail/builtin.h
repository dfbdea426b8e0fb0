// The optimizers that Basin brings along: each describes its options and how to make itself.
#pragma once
#include "basin/optim/registry.h"

namespace basin {

OptimizerInfo adam_info();
OptimizerInfo adamw_info();
OptimizerInfo sgd_info();
OptimizerInfo muon_info();

}  // namespace basin
