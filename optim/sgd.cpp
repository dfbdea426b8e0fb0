// One fused pass per tensor; the momentum buffer is b.
#include "basin/optim/sgd.h"

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/hot.h"
#include "basin/optim/builtin.h"

namespace basin {
namespace {

constexpr int64_t kTile = int64_t{1} << 15;

template <class T>
struct SgdNumbers {
  T lr, l2, momentum;
  T intake;  // 1 - dampening, and 1 at the first step
  bool nesterov;
};

template <class T, bool kGradient>
BASIN_HOT void sgd_pass(T* __restrict w, const T* __restrict g, T* __restrict b, int64_t n,
                        const SgdNumbers<T>& numbers) {
  const SgdNumbers<T> k = numbers;
  const T fresh = k.nesterov ? T(1) : T(0), heavy = k.nesterov ? k.momentum : T(1);
  for (int64_t i = 0; i < n; ++i) {
    const T grad = (kGradient ? g[i] : T(0)) + k.l2 * w[i];
    b[i] = k.momentum * b[i] + k.intake * grad;
    w[i] -= k.lr * (fresh * grad + heavy * b[i]);
  }
}

template <class T, bool kGradient>
BASIN_HOT void plain_pass(T* __restrict w, const T* __restrict g, int64_t n,
                          const SgdNumbers<T>& numbers) {
  const SgdNumbers<T> k = numbers;
  for (int64_t i = 0; i < n; ++i) w[i] -= k.lr * ((kGradient ? g[i] : T(0)) + k.l2 * w[i]);
}

template <class T>
void sgd_tensor(Tensor& w, const Tensor& g, Tensor& buffer, const SgdNumbers<T>& numbers) {
  T* pw = w.mutable_data<T>();
  T* pb = buffer.defined() ? buffer.mutable_data<T>() : nullptr;
  const T* pg = g.defined() ? g.data<T>() : nullptr;
  parallel_for(w.numel(), kTile, [&](int64_t begin, int64_t end) {
    const int64_t n = end - begin;
    if (pb && pg) {
      sgd_pass<T, true>(pw + begin, pg + begin, pb + begin, n, numbers);
    } else if (pb) {
      sgd_pass<T, false>(pw + begin, nullptr, pb + begin, n, numbers);
    } else if (pg) {
      plain_pass<T, true>(pw + begin, pg + begin, n, numbers);
    } else {
      plain_pass<T, false>(pw + begin, nullptr, n, numbers);
    }
  });
}

}  // namespace

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
    buffers_.push_back(config.momentum > 0 ? Tensor::zeros(w.shape(), w.dtype()) : Tensor());
    rows_.push_back(plain_row(params[i], settings_.back(), "sgd"));
  }
}

void Sgd::step(ParamList& params, const Tensors& grads, const StepInfo& info) {
  signature_.check_step(params, grads, info);
  const double intake = steps_ == 0 ? 1 : 1 - config_.dampening;
  ++steps_;
  for (size_t i = 0; i < params.size(); ++i) {
    Param& param = params[i];
    const ParamSettings& s = settings_[i];
    const Tensor before = observer() ? param.value.clone() : Tensor();
    const double lr = s.lr * info.lr_scale;
    dispatch_float(param.value.dtype(), "sgd", [&](auto t) {
      using T = decltype(t);
      sgd_tensor<T>(param.value, grads[i], buffers_[i],
                    {static_cast<T>(lr), static_cast<T>(s.weight_decay),
                     static_cast<T>(config_.momentum), static_cast<T>(intake), config_.nesterov});
    });
    if (!observer()) continue;
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
}

OptimizerState Sgd::save() const {
  OptimizerState state = begin_state(name());
  for (size_t i = 0; i < buffers_.size(); ++i) {
    if (buffers_[i].defined()) {
      state.tensors.emplace_back("sgd.b." + rows_[i].name, buffers_[i].clone());
    }
  }
  state.scalars["sgd.steps"] = std::to_string(steps_);
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
