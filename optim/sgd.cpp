// The arithmetic is in kernels/update.h, for all tensors at once; the momentum buffer is b.
#include "basin/optim/detail/sgd.h"

#include "basin/kernels/launch.h"
#include "basin/optim/detail/builtin.h"

namespace basin {
Sgd::Sgd(const SgdConfig& config, const ParamList& params, const std::vector<GroupRule>& groups)
    : config_(config), signature_("sgd", params) {
  check(config.momentum >= 0 && config.momentum < 1,
        "sgd: expects momentum from 0 to below 1, got ", config.momentum);
  check(config.dampening >= 0 && config.dampening <= 1, "sgd: expects dampening from 0 to 1, got ",
        config.dampening);
  check(!config.nesterov || (config.momentum > 0 && config.dampening == 0),
        "sgd: nesterov needs momentum above 0 and dampening 0, got ", config.momentum, " and ",
        config.dampening);
  check_rules_used(params, groups);
  for (size_t i = 0; i < params.size(); ++i) {
    settings_.push_back(
        resolve_settings(params, i, config.lr, config.weight_decay, config.decay_vectors, groups));
    const Tensor& w = params[i].value;
    buffers_.push_back(config.momentum > 0 ? zeros_like(w) : Tensor());
    rows_.push_back(plain_row(params[i], settings_.back(), "sgd"));
  }
}

void Sgd::step(ParamList& params, const Tensors& grads, const StepInfo& info) {
  signature_.check_step(params, grads, info);
  const double intake = steps_ == 0 ? 1 : 1 - config_.dampening;
  ++steps_;
  if (params.size() == 0) return;
  const SgdNumbers numbers{config_.momentum, intake, config_.nesterov};
  const Device device = params[0].value.device();
  const auto update = [&] {
    launch<SgdUpdate>(device, std::span<SgdItem>(items_), numbers);
    items_.clear();  // holds no weights between steps
  };
  for (size_t i = 0; i < params.size(); ++i) {
    Param& param = params[i];
    const ParamSettings& s = settings_[i];
    const double lr = s.lr * info.lr_scale;
    items_.push_back({param.value, grads[i], buffers_[i], lr, s.weight_decay});
    if (!observer()) continue;
    const Tensor before = param.value.clone();
    update();
    UpdateRecord record{.index = i,
                        .param = &param,
                        .rule = "sgd",
                        .group = s.group,
                        .lr = lr,
                        .step = info.step,
                        .loss = info.loss,
                        .gradient = grads[i],
                        .momentum = buffers_[i],
                        .orthogonalised = {},
                        .change = {}};
    report_applied(observer(), std::move(record), before);
  }
  update();
}

OptimizerState Sgd::save() const {
  OptimizerState state = begin_state(name());
  for (size_t i = 0; i < buffers_.size(); ++i) {
    if (buffers_[i].defined()) {
      state.tensors.emplace_back("sgd.b." + rows_[i].name, host_copy(buffers_[i]));
    }
  }
  state.scalars["sgd.steps"] = str(steps_);
  return state;
}

void Sgd::load(const OptimizerState& state) {
  StateReader reader(state, name());
  std::vector<Tensor> fresh;
  for (size_t i = 0; i < buffers_.size(); ++i) {
    fresh.push_back(buffers_[i].defined() ? reader.tensor("sgd.b." + rows_[i].name, buffers_[i])
                                          : Tensor());
  }
  const int64_t steps = reader.count("sgd.steps");
  reader.finish();
  buffers_ = std::move(fresh);
  steps_ = steps;
}

OptimizerInfo sgd_info() {
  OptimizerInfo info;
  info.name = "sgd";
  info.summary = "stochastic gradient descent; weight decay in L2 form";
  info.default_lr = 1e-2;
  info.options = {{"momentum", "0", "heavy-ball coefficient"},
                  {"dampening", "0", "the buffer takes in (1 - dampening) g after the first step"},
                  {"nesterov", "false", "step along g + momentum * b"},
                  {"decay_vectors", "true", "false: no decay on biases and gains"}};
  info.make = [](const OptimizerConfig& c, const OptionReader& o, const ParamList& params) {
    const SgdConfig config{.lr = *c.lr,
                           .momentum = o.number("momentum"),
                           .dampening = o.number("dampening"),
                           .nesterov = o.flag("nesterov"),
                           .weight_decay = *c.weight_decay,
                           .decay_vectors = o.flag("decay_vectors")};
    return std::make_unique<Sgd>(config, params, c.groups);
  };
  return info;
}

}  // namespace basin
