// The table of optimizers.
#include "basin/optim/registry.h"

#include <cmath>
#include <mutex>

#include "basin/optim/detail/builtin.h"

namespace basin {
namespace {

struct Registry {
  std::mutex mutex;
  // Nodes of a map stay where they are, so references to entries survive later registrations.
  std::map<std::string, OptimizerInfo, std::less<>> entries;

  Registry() {
    for (const OptimizerInfo& info : {adam_info(), adamw_info(), sgd_info(), muon_info()}) {
      entries.emplace(info.name, info);
    }
  }
};

Registry& registry() {
  static Registry instance;
  return instance;
}

}  // namespace

bool register_optimizer(OptimizerInfo info) {
  check(!info.name.empty() && info.make, "registry: an optimizer needs a name and a factory");
  Registry& r = registry();
  std::lock_guard lock(r.mutex);
  const std::string name = info.name;
  check(r.entries.emplace(name, std::move(info)).second, "registry: the optimizer '", name,
        "' exists already");
  return true;
}

std::vector<std::string> optimizer_names() {
  Registry& r = registry();
  std::lock_guard lock(r.mutex);
  std::vector<std::string> names;
  for (const auto& [name, info] : r.entries) names.push_back(name);
  return names;
}

const OptimizerInfo& optimizer_info(std::string_view name) {
  {
    Registry& r = registry();
    std::lock_guard lock(r.mutex);
    const auto it = r.entries.find(name);
    if (it != r.entries.end()) return it->second;
  }
  fail(ErrorKind::usage, "optimizer: no optimizer '", name, "'",
       name_suggestion(name, optimizer_names()));
}

std::unique_ptr<Optimizer> make_optimizer(const OptimizerConfig& config, const ParamList& params) {
  const OptimizerInfo& info = optimizer_info(config.name);
  OptimizerConfig full = config;
  if (!full.lr) full.lr = info.default_lr;
  if (!full.weight_decay) full.weight_decay = info.default_weight_decay;
  check(std::isfinite(*full.lr) && *full.lr >= 0, info.name, ": lr must be at least 0, got ",
        *full.lr);
  check(std::isfinite(*full.weight_decay) && *full.weight_decay >= 0, info.name,
        ": weight decay must be at least 0, got ", *full.weight_decay);
  return info.make(full, OptionReader(info.name, info.options, full.options), params);
}

std::string optimizer_help() {
  std::string help;
  for (const std::string& name : optimizer_names()) {
    const OptimizerInfo& info = optimizer_info(name);
    help += str(name, ": ", info.summary, "\n  lr=", info.default_lr,
                " wd=", info.default_weight_decay, '\n', option_help(info.options));
  }
  return help;
}

}  // namespace basin
