// The table of optimizers.
#include "basin/optim/registry.h"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "basin/optim/detail/builtin.h"
#include "basin/optim/detail/intervention.h"
#include "basin/optim/detail/sam.h"
#include "basin/optim/detail/switched.h"

namespace basin {
namespace {

// What every optimizer offers besides its own options.
std::vector<OptionInfo> shared_options() {
  return {{"sam", "0", "gradient at this distance uphill (sharpness-aware); 0: off"},
          {"sam_adaptive", "false", "distance relative to the size of each weight (ASAM)"},
          {"sam_eta", "0.01", "ASAM: added to that size"},
          {"spectrum", "",
           "after steps, on matrices: cap=B, stable_rank=T or turn=R (a number or a metrics.jsonl) "
           "or frozen [,every=E,matrices=PATTERN,sham=own|turn,seed=N]"},
          {"penalty", "",
           "weights of stable_rank=, effective_rank=, nuclear=, spectral=, orthogonality= "
           "[,matrices=PATTERN] in the gradient"},
          {"switch", "",
           "the optimizer from a step on: 'NAME at=10e [lr= wd= schedule= OPTION=...]', separated "
           "by blanks; at: steps, epochs (10e) or a share of the run (50%)"}};
}

OptimizerInfo with_shared_options(OptimizerInfo info) {
  for (OptionInfo& option : shared_options()) {
    const bool own = std::any_of(info.options.begin(), info.options.end(),
                                 [&](const OptionInfo& o) { return o.name == option.name; });
    check(!own, "registry: the option '", option.name, "' of '", info.name,
          "' is one that every optimizer has");
    info.options.push_back(std::move(option));
  }
  return info;
}

struct Registry {
  std::mutex mutex;
  // Nodes of a map stay where they are, so references to entries survive later registrations.
  std::map<std::string, OptimizerInfo, std::less<>> entries;

  Registry() {
    for (const OptimizerInfo& info :
         {adam_info(), adamw_info(), sgd_info(), muon_info(), normuon_info(), polar_adamw_info(),
          poet_info(), specmuon_info(), soap_info(), shampoo_info(), lion_info(),
          schedule_free_info(), lbfgs_info()}) {
      entries.emplace(info.name, with_shared_options(info));
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
  check(r.entries.emplace(name, with_shared_options(std::move(info))).second,
        "registry: the optimizer '", name, "' exists already");
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

namespace {

OptimizerConfig with_defaults(const OptimizerConfig& config, const OptimizerInfo& info) {
  OptimizerConfig full = config;
  if (!full.lr) full.lr = info.default_lr;
  if (!full.weight_decay) full.weight_decay = info.default_weight_decay;
  check(std::isfinite(*full.lr) && *full.lr >= 0, info.name, ": lr must be at least 0, got ",
        *full.lr);
  check(std::isfinite(*full.weight_decay) && *full.weight_decay >= 0, info.name,
        ": weight decay must be at least 0, got ", *full.weight_decay);
  return full;
}

std::unique_ptr<Optimizer> switched(const SwitchRule& rule, const OptimizerConfig& config,
                                    const ParamList& params, std::unique_ptr<Optimizer> first) {
  const OptimizerInfo& info = optimizer_info(rule.name);
  for (const OptionInfo& option : shared_options()) {
    check(!rule.options.contains(option.name), "switch: '", option.name,
          "' holds for the whole run; say it beside the first optimizer");
  }
  const OptimizerConfig second = with_defaults({.name = rule.name,
                                                .lr = rule.lr,
                                                .weight_decay = rule.weight_decay,
                                                .options = rule.options,
                                                .run = config.run},
                                               info);
  const OptionReader reader(info.name, info.options, second.options);
  return std::make_unique<Switched>(rule, config.run, Switched::Rates{*config.lr, *second.lr},
                                    std::move(first), info.make(second, reader, params));
}

}  // namespace

std::unique_ptr<Optimizer> make_optimizer(const OptimizerConfig& config, const ParamList& params) {
  const OptimizerInfo& info = optimizer_info(config.name);
  const OptimizerConfig full = with_defaults(config, info);
  const OptionReader reader(info.name, info.options, full.options);
  std::unique_ptr<Optimizer> optimizer = info.make(full, reader, params);
  const SwitchRule change = reader.parsed("switch", parse_switch_rule);
  if (!change.name.empty()) optimizer = switched(change, full, params, std::move(optimizer));
  const SpectrumRule spectrum = reader.parsed("spectrum", parse_spectrum_rule);
  const PenaltyRule penalty = reader.parsed("penalty", parse_penalty_rule);
  check(spectrum.kind == SpectrumRule::Kind::none || (info.name != "poet" && change.name != "poet"),
        "poet: it keeps the singular values of matrices, spectrum sets them; take one away");
  if (spectrum.kind != SpectrumRule::Kind::none || penalty.any()) {
    optimizer = std::make_unique<Intervention>(spectrum, penalty, params, std::move(optimizer));
  }
  const double radius = reader.number_in("sam", 0, 1e300);
  if (radius == 0) return optimizer;
  const SamConfig sam{radius, reader.flag("sam_adaptive"), reader.number("sam_eta")};
  return std::make_unique<Sam>(sam, std::move(optimizer));
}

std::string optimizer_help() {
  std::string help;
  for (const std::string& name : optimizer_names()) {
    const OptimizerInfo& info = optimizer_info(name);
    std::vector<OptionInfo> own = info.options;
    own.resize(own.size() - shared_options().size());
    help += str(name, ": ", info.summary, "\n  lr=", info.default_lr,
                " wd=", info.default_weight_decay, '\n', option_help(own));
  }
  return help + "every optimizer:\n" + option_help(shared_options());
}

}  // namespace basin
