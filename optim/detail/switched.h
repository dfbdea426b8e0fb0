// Another optimizer from a step on: what of a solution is due to who begins, and what to who ends.
// The first one makes the steps before `at`, the second those from it on, with fresh state, its own
// rate, decay and options. The rate follows the schedule of the run, or one of its own, whose step
// 0 is `at` and which ends with the run. A run that skips step at - 1 switches one step later.
//   In: --set "optimizer.switch=muon at=50% lr=0.02 wd=0 schedule=cosine:warmup=10 momentum=0.9"
// NAME, then at= (steps, 10e or 50% of the run) and what else is wanted; any other key is an option
// of the second optimizer. Without lr, wd and options it has its own defaults (registry.h).
// Parameter groups belong to the first one, what every optimizer has (sam, spectrum...) to both.
// The state is that of the one in charge; behind the switch it says so.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "basin/optim/registry.h"
#include "basin/optim/schedule.h"

namespace basin {

struct SwitchRule {
  std::string name{};  // empty: no switch
  std::string at{};
  std::optional<double> lr{}, weight_decay{};
  std::string schedule{};  // empty: that of the run
  OptionValues options{};
};
SwitchRule parse_switch_rule(std::string_view text);  // usage errors

class Switched : public Optimizer {
 public:
  struct Rates {
    double first = 0, second = 0;  // base rates
  };
  // usage errors: of at and schedule, where the run is as long as `run` says.
  Switched(const SwitchRule& rule, const RunLength& run, const Rates& rates,
           std::unique_ptr<Optimizer> first, std::unique_ptr<Optimizer> second);
  std::string_view name() const override { return name_; }
  LossUse loss_use() const override;  // of the one that wants more
  void look_ahead(ParamList& params) override { active().look_ahead(params); }
  void look_back(ParamList& params) override { active().look_back(params); }
  void step(ParamList& params, const Tensors& grads, const StepInfo& info) override;
  std::optional<InCharge> in_charge(const StepInfo& info) const override;
  OptimizerState save() const override;
  // data error also where the state was left by a switch at another step.
  void load(const OptimizerState& state) override;
  std::vector<RoutingRow> routing() const override;

 private:
  Optimizer& active() const { return switched_ ? *second_ : *first_; }
  double scale_of_second(const StepInfo& info) const;

  std::string name_, given_at_;
  std::optional<int64_t> at_;  // none: the length of the run is needed and not known
  std::optional<Schedule> schedule_;
  Rates rates_;
  std::unique_ptr<Optimizer> first_, second_;
  bool switched_ = false;
};

}  // namespace basin
