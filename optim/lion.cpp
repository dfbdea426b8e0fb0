// Lion from the kernels of the others: the momentum kernel once for c, which leaves m, and once for
// m; the sign; the step kernel.
#include "basin/optim/detail/lion.h"

#include "basin/kernels/elementwise.h"
#include "basin/kernels/launch.h"
#include "basin/optim/detail/builtin.h"

namespace basin {

Lion::Lion(const LionConfig& config, const ParamList& params, const std::vector<GroupRule>& groups)
    : config_(config), signature_("lion", params) {
  check(config.beta1 >= 0 && config.beta1 < 1 && config.beta2 >= 0 && config.beta2 < 1,
        "lion: expects beta1 and beta2 from 0 to below 1, got ", config.beta1, " and ",
        config.beta2);
  check_rules_used(params, groups);
  for (size_t i = 0; i < params.size(); ++i) {
    settings_.push_back(
        resolve_settings(params, i, config.lr, config.weight_decay, config.decay_vectors, groups));
    m_.push_back(zeros_like(params[i].value));
    rows_.push_back(plain_row(params[i], settings_.back(), "lion"));
  }
}

Tensors Lion::signs(const Tensors& grads) {
  const Device device = signature_.device();
  Tensors out, unused;
  std::vector<MomentumItem> mix, move;
  for (size_t i = 0; i < m_.size(); ++i) {
    out.push_back(Tensor::empty(m_[i].shape(), m_[i].dtype(), device));
    unused.push_back(Tensor::empty(m_[i].shape(), m_[i].dtype(), device));
    mix.push_back({m_[i], grads[i], out.back()});
    move.push_back({m_[i], grads[i], unused.back()});
  }
  launch<MomentumUpdate>(device, std::span<MomentumItem>(mix),
                         MomentumNumbers{1, 0, 1 - config_.beta1, config_.beta1});
  launch<MomentumUpdate>(device, std::span<MomentumItem>(move),
                         MomentumNumbers{config_.beta2, 1 - config_.beta2, 0, 1});
  for (Tensor& c : out) {
    const Tensor from = c;
    launch<UnaryMap>(device, Unary::sign, from, 0.0, c);
  }
  return out;
}

StepItem Lion::item(size_t i, const ParamList& params, const Tensor& sign, double lr_scale) const {
  const double lr = settings_[i].lr * lr_scale;
  return {
      params[i].value, sign, 0, params[i].value.numel(), 1 - lr * settings_[i].weight_decay, lr};
}

void Lion::step(ParamList& params, const Tensors& grads, const StepInfo& info) {
  signature_.check_step(params, grads, info);
  const Tensors moves = signs(grads);
  std::vector<StepItem> items;
  const auto update = [&] {
    launch<StepUpdate>(signature_.device(), std::span<StepItem>(items));
    items.clear();
  };
  for (size_t i = 0; i < params.size(); ++i) {
    items.push_back(item(i, params, moves[i], info.lr_scale));
    if (!observer()) continue;
    const Tensor before = params[i].value.clone();
    update();
    UpdateRecord record{.index = i,
                        .param = &params[i],
                        .rule = "lion",
                        .group = settings_[i].group,
                        .lr = settings_[i].lr * info.lr_scale,
                        .step = info.step,
                        .loss = info.loss,
                        .gradient = grads[i],
                        .momentum = m_[i],
                        .orthogonalised = {},
                        .change = {}};
    report_applied(observer(), std::move(record), before);
  }
  update();
}

void Lion::prepare(const ParamList& params, const StepInfo& info) {
  signature_.check_step(params, Tensors(params.size()), info);
  std::vector<StepItem> items;
  for (size_t i = 0; i < params.size(); ++i) {
    items.push_back(item(i, params, Tensor(), info.lr_scale));
  }
  const Tensor live = StepUpdate::live_numbers(items);
  if (!live_.defined()) live_ = Tensor::empty(live.shape(), live.dtype(), signature_.device());
  live_.copy_from(live);
}

void Lion::apply(ParamList& params, const Tensors& grads) {
  const Tensors moves = signs(grads);
  std::vector<StepItem> items;
  for (size_t i = 0; i < params.size(); ++i) items.push_back(item(i, params, moves[i], 1));
  launch<StepUpdate>(signature_.device(), std::span<StepItem>(items), live_);
}

OptimizerState Lion::save() const {
  OptimizerState state = begin_state(name());
  for (size_t i = 0; i < m_.size(); ++i) {
    state.tensors.emplace_back("lion.m." + rows_[i].name, host_copy(m_[i]));
  }
  return state;
}

void Lion::load(const OptimizerState& state) {
  StateReader reader(state, name());
  Tensors fresh;
  for (size_t i = 0; i < m_.size(); ++i) {
    fresh.push_back(reader.tensor("lion.m." + rows_[i].name, m_[i]));
  }
  reader.finish();
  m_ = std::move(fresh);
}

OptimizerInfo lion_info() {
  OptimizerInfo info;
  info.name = "lion";
  info.summary = "sign of interpolated momentum; decoupled decay";
  info.default_lr = 1e-4;
  info.options = {{"beta1", "0.9", "share of the momentum in the step"},
                  {"beta2", "0.99", "decay of the momentum"},
                  {"decay_vectors", "true", "false: no decay on biases and gains"}};
  info.make = [](const OptimizerConfig& c, const OptionReader& o, const ParamList& params) {
    const LionConfig config{.lr = *c.lr,
                            .beta1 = o.number("beta1"),
                            .beta2 = o.number("beta2"),
                            .weight_decay = *c.weight_decay,
                            .decay_vectors = o.flag("decay_vectors")};
    return std::make_unique<Lion>(config, params, c.groups);
  };
  return info;
}

}  // namespace basin
