// Adam's kernel without first moment steps z; the momentum kernel mixes x, y and z.
#include "basin/optim/detail/schedule_free.h"

#include <algorithm>
#include <cmath>

#include "basin/kernels/launch.h"
#include "basin/optim/detail/builtin.h"

namespace basin {
namespace {

const ScheduleFreeConfig& valid(const ScheduleFreeConfig& c) {
  check(c.beta1 > 0 && c.beta1 < 1 && c.beta2 >= 0 && c.beta2 < 1,
        "schedule_free: expects beta1 between 0 and 1 and beta2 from 0 to below 1, got ", c.beta1,
        " and ", c.beta2);
  check(c.eps >= 0, "schedule_free: expects eps of at least 0, got ", c.eps);
  return c;
}

}  // namespace

ScheduleFree::ScheduleFree(const ScheduleFreeConfig& config, const ParamList& params,
                           const std::vector<GroupRule>& groups)
    : config_(valid(config)),
      signature_("schedule_free", params),
      weights_(Tensor::zeros({2}, DType::f64)) {
  check_rules_used(params, groups);
  for (size_t i = 0; i < params.size(); ++i) {
    settings_.push_back(
        resolve_settings(params, i, config.lr, config.weight_decay, config.decay_vectors, groups));
    rows_.push_back(plain_row(params[i], settings_.back(), name()));
    z_.push_back(params[i].value.clone());
    v_.push_back(zeros_like(params[i].value));
  }
}

void ScheduleFree::look_ahead(ParamList& params) {
  signature_.check_step(params, Tensors(params.size()), {});
  if (!x_.empty()) return;
  std::vector<MomentumItem> items;
  for (size_t i = 0; i < params.size(); ++i) {
    // Before the first step all three are one, whichever weights were loaded meanwhile.
    if (steps_ == 0) z_[i].copy_from(params[i].value);
    x_.push_back(params[i].value.clone());
    items.push_back({x_[i], z_[i], params[i].value});
  }
  launch<MomentumUpdate>(signature_.device(), std::span<MomentumItem>(items),
                         MomentumNumbers{1, 0, 1 - config_.beta1, config_.beta1});
}

void ScheduleFree::look_back(ParamList& params) {
  for (size_t i = 0; i < x_.size(); ++i) params[i].value.copy_from(x_[i]);
  x_.clear();
}

void ScheduleFree::step(ParamList& params, const Tensors& grads, const StepInfo& info) {
  signature_.check_step(params, grads, info);
  check(x_.size() == params.size(),
        "schedule_free: look_ahead() comes before the gradient, which belongs to y");
  ++steps_;
  const double t = static_cast<double>(steps_);
  double* weights = weights_.mutable_data<double>();
  weights[1] = std::max(weights[1], info.lr_scale);
  const double weight =
      std::pow(t, config_.weight_power) * std::pow(weights[1], config_.weight_lr_power);
  weights[0] += weight;
  const double c = weights[0] > 0 ? weight / weights[0] : 0;
  const Device device = signature_.device();
  const AdamNumbers numbers{0, config_.beta2, 1 / std::sqrt(1 - std::pow(config_.beta2, t)),
                            config_.eps};
  std::vector<AdamItem> adam;
  std::vector<StepItem> decay;
  std::vector<MomentumItem> average;
  Tensors before;
  for (size_t i = 0; i < params.size(); ++i) {
    Tensor& w = params[i].value;
    const double lr = settings_[i].lr * info.lr_scale;
    adam.push_back(
        {.w = z_[i], .g = grads[i], .m = zeros_like(w), .v = v_[i], .vmax = {}, .step_size = lr});
    decay.push_back({z_[i], w, 0, w.numel(), 1, lr * settings_[i].weight_decay});
    average.push_back({x_[i], z_[i], w});
    if (observer()) before.push_back(x_[i].clone());
  }
  launch<AdamUpdate>(device, std::span<AdamItem>(adam), numbers);
  launch<StepUpdate>(device, std::span<StepItem>(decay));
  launch<MomentumUpdate>(device, std::span<MomentumItem>(average), MomentumNumbers{1 - c, c, 0, 1});
  x_.clear();
  for (size_t i = 0; observer() && i < params.size(); ++i) {
    UpdateRecord record{.index = i,
                        .param = &params[i],
                        .rule = "schedule_free",
                        .group = settings_[i].group,
                        .lr = settings_[i].lr * info.lr_scale,
                        .step = info.step,
                        .loss = info.loss,
                        .gradient = grads[i],
                        .momentum = {},
                        .orthogonalised = {},
                        .change = {}};
    report_applied(observer(), std::move(record), before[i]);
  }
}

OptimizerState ScheduleFree::save() const {
  OptimizerState state = begin_state(name());
  for (size_t i = 0; i < z_.size(); ++i) {
    state.tensors.emplace_back("schedule_free.z." + rows_[i].name, host_copy(z_[i]));
    state.tensors.emplace_back("schedule_free.v." + rows_[i].name, host_copy(v_[i]));
  }
  state.tensors.emplace_back("schedule_free.weights", weights_.clone());
  state.scalars["schedule_free.steps"] = str(steps_);
  return state;
}

void ScheduleFree::load(const OptimizerState& state) {
  StateReader reader(state, name());
  Tensors z, v;
  for (size_t i = 0; i < z_.size(); ++i) {
    z.push_back(reader.tensor("schedule_free.z." + rows_[i].name, z_[i]));
    v.push_back(reader.tensor("schedule_free.v." + rows_[i].name, v_[i]));
  }
  Tensor weights = reader.tensor("schedule_free.weights", weights_);
  const int64_t steps = reader.count("schedule_free.steps");
  reader.finish();
  z_ = std::move(z);
  v_ = std::move(v);
  weights_ = std::move(weights);
  steps_ = steps;
  x_.clear();
}

OptimizerInfo schedule_free_info() {
  OptimizerInfo info;
  info.name = "schedule_free";
  info.summary = "AdamW whose weights are an average; use --schedule constant";
  info.default_lr = 2.5e-3;
  info.options = {{"beta1", "0.9", "share of the average where the gradient is taken"},
                  {"beta2", "0.999", "decay of the second moment"},
                  {"eps", "1e-8", "added to the root after bias correction"},
                  {"weight_power", "0", "r: weight t^r of step t in the average"},
                  {"weight_lr_power", "2", "p: times the largest rate so far to this power"},
                  {"decay_vectors", "true", "false: no decay on biases and gains"}};
  info.make = [](const OptimizerConfig& c, const OptionReader& o, const ParamList& params) {
    const ScheduleFreeConfig config{.lr = *c.lr,
                                    .beta1 = o.number("beta1"),
                                    .beta2 = o.number("beta2"),
                                    .eps = o.number("eps"),
                                    .weight_decay = *c.weight_decay,
                                    .weight_power = o.number("weight_power"),
                                    .weight_lr_power = o.number("weight_lr_power"),
                                    .decay_vectors = o.flag("decay_vectors")};
    return std::make_unique<ScheduleFree>(config, params, c.groups);
  };
  return info;
}

}  // namespace basin
