// Registry of optimizers by name. A program configures an optimizer with strings only: name, lr,
// weight decay, groups and a map of options. Each optimizer declares its options with defaults
// once; the declaration gives the parser, the error sentences and the --help text.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "basin/core/options.h"
#include "basin/optim/groups.h"
#include "basin/optim/optimizer.h"

namespace basin {

// Of the run that an optimizer is for: lengths may be said in epochs or in shares of it.
struct RunLength {
  int64_t steps = 0;  // 0: not known
  int64_t steps_per_epoch = 1;
  int64_t first_step = 0;  // number of the first one (StepInfo::step)
};

struct OptimizerConfig {
  std::string name = "adamw";
  std::optional<double> lr{};            // unset: the optimizer's own default
  std::optional<double> weight_decay{};  // unset: the optimizer's own default
  std::vector<GroupRule> groups{};       // first match wins; the rest forms the group "default"
  OptionValues options{};
  RunLength run{};
};

struct OptimizerInfo {
  using Make = std::function<std::unique_ptr<Optimizer>(const OptimizerConfig&, const OptionReader&,
                                                        const ParamList&)>;
  std::string name;
  std::string summary;
  double default_lr = 1e-3;
  double default_weight_decay = 0;
  std::vector<OptionInfo> options;  // registered with those that every optimizer has (sam...)
  Make make;  // lr and weight_decay of the configuration are set when it is called
};

// usage error when the name is taken. Returns true, so that a namespace-scope constant can call it.
bool register_optimizer(OptimizerInfo info);
std::vector<std::string> optimizer_names();
const OptimizerInfo& optimizer_info(std::string_view name);  // usage error with the nearest name
std::unique_ptr<Optimizer> make_optimizer(const OptimizerConfig& config, const ParamList& params);
std::string optimizer_help();  // every name with its options and defaults, for --help

}  // namespace basin
