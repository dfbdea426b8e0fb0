// The table of optimizers and the option parser.
#include "basin/optim/registry.h"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "basin/core/io.h"
#include "basin/optim/builtin.h"

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

std::string suggestion(std::string_view word, const std::vector<std::string>& known) {
  const std::string near = nearest_name(word, known);
  if (!near.empty()) return "; did you mean '" + near + "'?";
  std::string list = "; known:";
  for (const std::string& name : known) list += " " + name;
  return known.empty() ? "" : list;
}

}  // namespace

OptionReader::OptionReader(std::string_view owner, const std::vector<OptionInfo>& declared,
                           const std::map<std::string, std::string>& given)
    : owner_(owner) {
  std::vector<std::string> names;
  for (const OptionInfo& o : declared) {
    values_[o.name] = o.default_value;
    names.push_back(o.name);
  }
  for (const auto& [name, value] : given) {
    const auto it = values_.find(name);
    check(it != values_.end(), owner_, ": no option '", name, "'", suggestion(name, names));
    it->second = value;
  }
}

const std::string& OptionReader::text(const std::string& name) const {
  const auto it = values_.find(name);
  if (it == values_.end()) {
    fail(ErrorKind::internal, owner_, ": reads the option '", name, "' that it does not declare");
  }
  return it->second;
}

double OptionReader::number(const std::string& name) const {
  double value = 0;
  check(parse_double(text(name), value) && std::isfinite(value), owner_, ": option ", name,
        " must be a number, got '", text(name), "'");
  return value;
}

double OptionReader::number_in(const std::string& name, double low, double high) const {
  const double value = number(name);
  check(value >= low && value <= high, owner_, ": option ", name, " must be from ", low, " to ",
        high, ", got ", text(name));
  return value;
}

int64_t OptionReader::integer_in(const std::string& name, int64_t low, int64_t high) const {
  int64_t value = 0;
  check(parse_int64(text(name), value) && value >= low && value <= high, owner_, ": option ", name,
        " must be an integer from ", low, " to ", high, ", got '", text(name), "'");
  return value;
}

bool OptionReader::flag(const std::string& name) const {
  const std::string& value = text(name);
  if (value == "true" || value == "on" || value == "1") return true;
  check(value == "false" || value == "off" || value == "0", owner_, ": option ", name,
        " must be true or false, got '", value, "'");
  return false;
}

size_t OptionReader::choice(const std::string& name,
                            const std::vector<std::string>& choices) const {
  const auto it = std::find(choices.begin(), choices.end(), text(name));
  check(it != choices.end(), owner_, ": option ", name, " has no choice '", text(name), "'",
        suggestion(text(name), choices));
  return static_cast<size_t>(it - choices.begin());
}

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
       suggestion(name, optimizer_names()));
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
  TextWriter out;
  for (const std::string& name : optimizer_names()) {
    const OptimizerInfo& info = optimizer_info(name);
    out << name << ": " << info.summary << "\n  lr=" << info.default_lr
        << " wd=" << info.default_weight_decay << '\n';
    size_t width = 0;
    for (const OptionInfo& o : info.options) {
      width = std::max(width, o.name.size() + o.default_value.size() + 1);
    }
    for (const OptionInfo& o : info.options) {
      const std::string head = o.name + "=" + o.default_value;
      out << "  " << head << std::string(width - head.size() + 2, ' ') << o.help << '\n';
    }
  }
  return out.str();
}

}  // namespace basin
