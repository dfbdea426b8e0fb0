// The arithmetic is in kernels/update.h, for all tensors at once. The form used is algebraically
// the one of the header:
//   mh / (sqrt(vh) + eps) = m / bc1 / (sqrt(v) / sqrt(bc2) + eps), with both corrections from f64.
#include "basin/optim/detail/adam.h"

#include <cmath>

#include "basin/kernels/launch.h"
#include "basin/optim/detail/builtin.h"

namespace basin {
namespace {

std::vector<ParamSettings> all_settings(const AdamConfig& config, const ParamList& params,
                                        const std::vector<GroupRule>& groups) {
  check_rules_used(params, groups);
  std::vector<ParamSettings> out;
  for (size_t i = 0; i < params.size(); ++i) {
    out.push_back(
        resolve_settings(params, i, config.lr, config.weight_decay, config.decay_vectors, groups));
  }
  return out;
}

}  // namespace

AdamRule::AdamRule(AdamConfig config, const ParamList& params, std::vector<ParamSettings> subset)
    : config_(config), subset_(std::move(subset)) {
  check(config_.beta1 >= 0 && config_.beta1 < 1 && config_.beta2 >= 0 && config_.beta2 < 1, rule(),
        ": expects beta1 and beta2 from 0 to below 1, got ", config_.beta1, " and ", config_.beta2);
  check(config_.eps >= 0, rule(), ": expects eps of at least 0, got ", config_.eps);
  for (const ParamSettings& s : subset_) {
    const Param& p = params[s.index];
    const auto zeros = [&] { return zeros_like(p.value); };
    moments_.push_back({p.name, zeros(), zeros(), config_.amsgrad ? zeros() : Tensor()});
  }
}

AdamItem AdamRule::item(size_t i, const ParamList& params, const Tensors& grads,
                        double lr_scale) const {
  const ParamSettings& s = subset_[i];
  const Moments& state = moments_[i];
  const double lr = s.lr * lr_scale;
  const double bc1 = 1 - std::pow(config_.beta1, static_cast<double>(steps_));
  return {.w = params[s.index].value,
          .g = grads[s.index],
          .m = state.m,
          .v = state.v,
          .vmax = state.vmax,
          .step_size = lr / bc1,
          .l2 = config_.decoupled ? 0.0 : s.weight_decay,
          .shrink = config_.decoupled ? 1 - lr * s.weight_decay : 1.0};
}

AdamNumbers AdamRule::numbers() const {
  const double bc2 = 1 - std::pow(config_.beta2, static_cast<double>(steps_));
  return {config_.beta1, config_.beta2, 1 / std::sqrt(bc2), config_.eps};
}

void AdamRule::prepare(const ParamList& params, const StepInfo& info) {
  ++steps_;
  if (subset_.empty()) return;
  const Tensors none(params.size());
  for (size_t i = 0; i < subset_.size(); ++i) {
    items_.push_back(item(i, params, none, info.lr_scale));
  }
  const Tensor live = AdamUpdate::live_numbers(items_, numbers());
  items_.clear();
  const Device device = params[subset_[0].index].value.device();
  if (!live_.defined()) live_ = Tensor::empty(live.shape(), live.dtype(), device);
  live_.copy_from(live);
}

void AdamRule::apply(ParamList& params, const Tensors& grads) {
  if (subset_.empty()) return;
  for (size_t i = 0; i < subset_.size(); ++i) items_.push_back(item(i, params, grads, 1));
  launch<AdamUpdate>(live_.device(), std::span<AdamItem>(items_), numbers(), live_);
  items_.clear();
}

void AdamRule::step(ParamList& params, const Tensors& grads, const StepInfo& info,
                    const UpdateObserver& observer) {
  ++steps_;
  if (subset_.empty()) return;
  const Device device = params[subset_[0].index].value.device();
  const auto update = [&] {
    launch<AdamUpdate>(device, std::span<AdamItem>(items_), numbers());
    items_.clear();  // holds no weights between steps
  };
  for (size_t i = 0; i < subset_.size(); ++i) {
    const ParamSettings& s = subset_[i];
    items_.push_back(item(i, params, grads, info.lr_scale));
    if (!observer) continue;
    Param& param = params[s.index];
    const Tensor before = param.value.clone();
    update();
    UpdateRecord record{.index = s.index,
                        .param = &param,
                        .rule = rule(),
                        .group = s.group,
                        .lr = s.lr * info.lr_scale,
                        .step = info.step,
                        .loss = info.loss,
                        .gradient = grads[s.index],
                        .momentum = moments_[i].m,
                        .orthogonalised = {},
                        .change = {}};
    report_applied(observer, std::move(record), before);
  }
  update();
}

void AdamRule::save(OptimizerState& state) const {
  for (const Moments& s : moments_) {
    state.tensors.emplace_back("adam.m." + s.name, host_copy(s.m));
    state.tensors.emplace_back("adam.v." + s.name, host_copy(s.v));
    if (config_.amsgrad) state.tensors.emplace_back("adam.vmax." + s.name, host_copy(s.vmax));
  }
  state.scalars["adam.steps"] = str(steps_);
}

void AdamRule::load(StateReader& reader) {
  loaded_.clear();
  for (const Moments& s : moments_) {
    Moments fresh{s.name, reader.tensor("adam.m." + s.name, s.m),
                  reader.tensor("adam.v." + s.name, s.v), Tensor()};
    if (config_.amsgrad) fresh.vmax = reader.tensor("adam.vmax." + s.name, s.vmax);
    loaded_.push_back(std::move(fresh));
  }
  loaded_steps_ = reader.count("adam.steps");
}

void AdamRule::commit() {
  moments_ = std::move(loaded_);
  loaded_.clear();
  steps_ = loaded_steps_;
}

Adam::Adam(const AdamConfig& config, const ParamList& params, const std::vector<GroupRule>& groups)
    : signature_(config.decoupled ? "adamw" : "adam", params),
      rule_(config, params, all_settings(config, params, groups)) {
  for (const ParamSettings& s : rule_.settings()) {
    rows_.push_back(plain_row(params[s.index], s, rule_.rule()));
  }
}

void Adam::step(ParamList& params, const Tensors& grads, const StepInfo& info) {
  signature_.check_step(params, grads, info);
  rule_.step(params, grads, info, observer());
}

bool Adam::recordable() const { return signature_.device() != Device::cpu && !observer(); }

void Adam::prepare(const ParamList& params, const StepInfo& info) {
  signature_.check_step(params, Tensors(params.size()), info);
  rule_.prepare(params, info);
}

void Adam::apply(ParamList& params, const Tensors& grads) { rule_.apply(params, grads); }

OptimizerState Adam::save() const {
  OptimizerState state = begin_state(name());
  rule_.save(state);
  return state;
}

void Adam::load(const OptimizerState& state) {
  StateReader reader(state, name());
  rule_.load(reader);
  reader.finish();
  rule_.commit();
}

namespace {

OptimizerInfo make_info(bool decoupled) {
  OptimizerInfo info;
  info.name = decoupled ? "adamw" : "adam";
  info.summary = decoupled ? "Adam with decoupled weight decay" : "Adam; weight decay in L2 form";
  info.default_lr = 1e-3;
  info.default_weight_decay = decoupled ? 0.01 : 0;
  info.options = {{"beta1", "0.9", "decay of the first moment"},
                  {"beta2", "0.999", "decay of the second moment"},
                  {"eps", "1e-8", "added to the root after bias correction"},
                  {"amsgrad", "false", "use the largest second moment so far"},
                  {"decay_vectors", "true", "false: no decay on biases and gains"}};
  info.make = [decoupled](const OptimizerConfig& c, const OptionReader& o,
                          const ParamList& params) {
    const AdamConfig config{.lr = *c.lr,
                            .beta1 = o.number("beta1"),
                            .beta2 = o.number("beta2"),
                            .eps = o.number("eps"),
                            .weight_decay = *c.weight_decay,
                            .decoupled = decoupled,
                            .amsgrad = o.flag("amsgrad"),
                            .decay_vectors = o.flag("decay_vectors")};
    return std::make_unique<Adam>(config, params, c.groups);
  };
  return info;
}

}  // namespace

OptimizerInfo adam_info() { return make_info(false); }
OptimizerInfo adamw_info() { return make_info(true); }

}  // namespace basin
