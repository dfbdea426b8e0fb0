// The switch of optimizers, and its text form.
#include "basin/optim/detail/switched.h"

#include <algorithm>
#include <cmath>

#include "basin/core/io.h"
#include "basin/optim/state.h"

namespace basin {
namespace {

double rate_of(const std::string& key, const std::string& text) {
  double value = 0;
  check(parse_double(text, value) && std::isfinite(value) && value >= 0, "switch: ", key,
        " must be a number of at least 0, got '", text, "'");
  return value;
}

bool needs_length(const std::string& at) { return at.ends_with('e') || at.ends_with('%'); }

}  // namespace

SwitchRule parse_switch_rule(std::string_view text) {
  SwitchRule rule;
  TextReader words{std::string(text)};
  for (std::string word; words >> word;) {
    if (rule.name.empty()) {
      rule.name = word;
      continue;
    }
    const size_t equals = word.find('=');
    check(equals != word.npos, "switch: expected KEY=VALUE behind the name, got '", word, "'");
    const std::string key = word.substr(0, equals), value = word.substr(equals + 1);
    if (key == "at") {
      rule.at = value;
    } else if (key == "lr") {
      rule.lr = rate_of(key, value);
    } else if (key == "wd") {
      rule.weight_decay = rate_of(key, value);
    } else if (key == "schedule") {
      rule.schedule = value;
    } else {
      rule.options[key] = value;
    }
  }
  check(rule.name.empty() || !rule.at.empty(), "switch: expected at=STEP, at=10e (epochs) or ",
        "at=50% (of the run) behind '", rule.name, "'");
  return rule;
}

Switched::Switched(const SwitchRule& rule, const RunLength& run, const Rates& rates,
                   std::unique_ptr<Optimizer> first, std::unique_ptr<Optimizer> second)
    : name_(str(first->name(), " then ", second->name())),
      given_at_(rule.at),
      rates_(rates),
      first_(std::move(first)),
      second_(std::move(second)) {
  const int64_t at = parse_length("switch: at", rule.at, run.steps, run.steps_per_epoch);
  if (run.steps == 0 && needs_length(rule.at)) return;
  check(at >= 1 && (run.steps == 0 || at < run.steps), "switch: at=", rule.at, " is step ", at,
        ", expected 1 to ", run.steps - 1, " of the run");
  at_ = run.first_step + at;
  if (rule.schedule.empty()) return;
  const ScheduleConfig schedule =
      parse_schedule(rule.schedule, run.steps - at, run.steps_per_epoch);
  check(schedule.kind != ScheduleConfig::Kind::plateau,
        "switch: plateau looks at evaluations, which belong to the schedule of the run");
  schedule_.emplace(schedule);
}

LossUse Switched::loss_use() const { return std::max(first_->loss_use(), second_->loss_use()); }

double Switched::scale_of_second(const StepInfo& info) const {
  return schedule_ ? schedule_->scale(info.step - *at_) : info.lr_scale;
}

std::optional<InCharge> Switched::in_charge(const StepInfo& info) const {
  if (!at_ || info.step < *at_) return InCharge{first_->name(), rates_.first * info.lr_scale};
  return InCharge{second_->name(), rates_.second * scale_of_second(info)};
}

void Switched::step(ParamList& params, const Tensors& grads, const StepInfo& info) {
  check(at_.has_value(), "switch: at=", given_at_, " needs the length of the run, which was not ",
        "given (OptimizerConfig::run)");
  StepInfo own = info;
  if (switched_) own.lr_scale = scale_of_second(info);
  active().set_observer(observer());
  active().step(params, grads, own);
  active().set_observer({});
  if (info.step + 1 >= *at_) switched_ = true;
}

OptimizerState Switched::save() const {
  OptimizerState state = active().save();
  if (switched_) state.scalars[kSwitchedKey] = str(*at_);
  return state;
}

void Switched::load(const OptimizerState& state) {
  const auto mark = state.scalars.find(kSwitchedKey);
  const bool behind = mark != state.scalars.end();
  if (behind && (!at_ || mark->second != str(*at_))) {
    fail(ErrorKind::data, name_, ": the state to load was left by a switch at step ", mark->second,
         ", expected one at step ", at_ ? str(*at_) : given_at_);
  }
  (behind ? *second_ : *first_).load(state);
  switched_ = behind;
}

std::vector<RoutingRow> Switched::routing() const {
  std::vector<RoutingRow> rows = first_->routing();
  const std::vector<RoutingRow> later = second_->routing();
  for (size_t i = 0; i < std::min(rows.size(), later.size()); ++i) {
    rows[i].why += str("; from ", at_ ? str("step ", *at_ + 1) : given_at_, " on ",
                       later[i].optimizer, ", lr ", later[i].lr, ", wd ", later[i].weight_decay);
  }
  return rows;
}

}  // namespace basin
