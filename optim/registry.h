// Registry of optimizers by name. A program configures an optimizer with strings only: name, lr,
// weight decay, groups and a map of options. Each optimizer declares its options with defaults
// once; the declaration gives the parser, the error sentences and the --help text.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "basin/optim/groups.h"
#include "basin/optim/optimizer.h"

namespace basin {

struct OptimizerConfig {
  std::string name = "adamw";
  std::optional<double> lr{};            // unset: the optimizer's own default
  std::optional<double> weight_decay{};  // unset: the optimizer's own default
  std::vector<GroupRule> groups{};       // first match wins; the rest forms the group "default"
  std::map<std::string, std::string> options{};
};

struct OptionInfo {
  std::string name;
  std::string default_value;
  std::string help;
};

// Typed access to the options of one configuration; usage errors name option, value and
// expectation.
class OptionReader {
 public:
  OptionReader(std::string_view owner, const std::vector<OptionInfo>& declared,
               const std::map<std::string, std::string>& given);
  const std::string& text(const std::string& name) const;
  double number(const std::string& name) const;
  double number_in(const std::string& name, double low, double high) const;  // low <= x <= high
  int64_t integer_in(const std::string& name, int64_t low, int64_t high) const;
  bool flag(const std::string& name) const;  // true|false|on|off|1|0
  // Position of the value in `choices`.
  size_t choice(const std::string& name, const std::vector<std::string>& choices) const;

 private:
  std::string owner_;
  std::map<std::string, std::string> values_;
};

struct OptimizerInfo {
  using Make = std::function<std::unique_ptr<Optimizer>(const OptimizerConfig&, const OptionReader&,
                                                        const ParamList&)>;
  std::string name;
  std::string summary;
  double default_lr = 1e-3;
  double default_weight_decay = 0;
  std::vector<OptionInfo> options;
  Make make;  // lr and weight_decay of the configuration are set when it is called
};

// usage error when the name is taken. Returns true, so that a namespace-scope constant can call it.
bool register_optimizer(OptimizerInfo info);
std::vector<std::string> optimizer_names();
const OptimizerInfo& optimizer_info(std::string_view name);  // usage error with the nearest name
std::unique_ptr<Optimizer> make_optimizer(const OptimizerConfig& config, const ParamList& params);
std::string optimizer_help();  // every name with its options and defaults, for --help

}  // namespace basin
