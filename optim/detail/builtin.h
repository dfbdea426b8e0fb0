// The optimizers that Basin brings along: each describes its options and how to make itself.
#pragma once
#include "basin/optim/registry.h"

namespace basin {

OptimizerInfo adam_info();
OptimizerInfo adamw_info();
OptimizerInfo sgd_info();
OptimizerInfo muon_info();
OptimizerInfo normuon_info();
OptimizerInfo polar_adamw_info();
OptimizerInfo poet_info();
OptimizerInfo specmuon_info();
OptimizerInfo soap_info();
OptimizerInfo shampoo_info();
OptimizerInfo lion_info();
OptimizerInfo schedule_free_info();
OptimizerInfo lbfgs_info();

}  // namespace basin
