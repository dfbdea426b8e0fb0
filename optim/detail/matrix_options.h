// Options that several optimizers of matrices share: their declarations and how they are read.
#pragma once
#include <string>
#include <vector>

#include "basin/optim/detail/matrix_optimizer.h"
#include "basin/optim/newton_schulz.h"
#include "basin/optim/registry.h"

namespace basin {

// "WHAT: a|b|c"
std::string alternatives(const std::string& what, const std::vector<std::string>& choices);

// Which parameters count as matrices. `all` is the default of first, head and embedding.
std::vector<OptionInfo> routing_options(bool all);
RoutingConfig read_routing(const OptionReader& o);

// The auxiliary AdamW: its rate; further defaults as the reference Muon has them.
std::vector<OptionInfo> auxiliary_options(const std::string& lr);
AdamConfig read_auxiliary(const OptionReader& o, double weight_decay);

std::vector<OptionInfo> orthogonalise_options();
OrthogonaliseConfig read_orthogonalise(const OptionReader& o);

MatrixRules read_rules(const OptimizerConfig& given, const OptionReader& o);

std::vector<OptionInfo> joined(std::vector<std::vector<OptionInfo>> parts);

}  // namespace basin
