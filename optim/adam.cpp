// One fused pass per tensor over w, g, m, v (and vmax). The hot loop is compiled per instruction
// set and cut into fixed tiles. The form used is algebraically the one of the header:
//   mh / (sqrt(vh) + eps) = m / bc1 / (sqrt(v) / sqrt(bc2) + eps), with both corrections from f64.
#include "basin/optim/adam.h"

#include <cmath>

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/hot.h"
#include "basin/optim/builtin.h"

namespace basin {
namespace {

constexpr int64_t kTile = int64_t{1} << 15;

template <class T>
struct AdamNumbers {
  T beta1, one_minus_beta1, beta2, one_minus_beta2;
  T step_size;     // lr / (1 - b1^t)
  T inverse_root;  // 1 / sqrt(1 - b2^t)
  T eps;
  T l2;      // added to the gradient as l2 * w
  T shrink;  // multiplies w before the step
};

template <class T, bool kGradient, bool kMax>
BASIN_HOT void adam_pass(T* __restrict w, const T* __restrict g, T* __restrict m, T* __restrict v,
                         T* __restrict vmax, int64_t n, const AdamNumbers<T>& numbers) {
  const AdamNumbers<T> k = numbers;
  for (int64_t i = 0; i < n; ++i) {
    const T grad = (kGradient ? g[i] : T(0)) + k.l2 * w[i];
    m[i] = k.beta1 * m[i] + k.one_minus_beta1 * grad;
    v[i] = k.beta2 * v[i] + k.one_minus_beta2 * grad * grad;
    T second = v[i];
    if constexpr (kMax) {
      second = vmax[i] > second ? vmax[i] : second;
      vmax[i] = second;
    }
    w[i] = w[i] * k.shrink - k.step_size * m[i] / (std::sqrt(second) * k.inverse_root + k.eps);
  }
}

template <class T>
void adam_tensor(Tensor& w, const Tensor& g, Tensor& m, Tensor& v, Tensor& vmax,
                 const AdamNumbers<T>& numbers) {
  T* pw = w.mutable_data<T>();
  T* pm = m.mutable_data<T>();
  T* pv = v.mutable_data<T>();
  const T* pg = g.defined() ? g.data<T>() : nullptr;
  T* px = vmax.defined() ? vmax.mutable_data<T>() : nullptr;
  parallel_for(w.numel(), kTile, [&](int64_t begin, int64_t end) {
    const int64_t n = end - begin;
    if (pg && px) {
      adam_pass<T, true, true>(pw + begin, pg + begin, pm + begin, pv + begin, px + begin, n,
                               numbers);
    } else if (pg) {
      adam_pass<T, true, false>(pw + begin, pg + begin, pm + begin, pv + begin, nullptr, n,
                                numbers);
    } else if (px) {
      adam_pass<T, false, true>(pw + begin, nullptr, pm + begin, pv + begin, px + begin, n,
                                numbers);
    } else {
      adam_pass<T, false, false>(pw + begin, nullptr, pm + begin, pv + begin, nullptr, n, numbers);
    }
  });
}

template <class T>
AdamNumbers<T> numbers_for(const AdamConfig& c, double lr, double weight_decay, int64_t t) {
  const double bc1 = 1 - std::pow(c.beta1, static_cast<double>(t));
  const double bc2 = 1 - std::pow(c.beta2, static_cast<double>(t));
  return {static_cast<T>(c.beta1),
          static_cast<T>(1 - c.beta1),
          static_cast<T>(c.beta2),
          static_cast<T>(1 - c.beta2),
          static_cast<T>(lr / bc1),
          static_cast<T>(1 / std::sqrt(bc2)),
          static_cast<T>(c.eps),
          static_cast<T>(c.decoupled ? 0.0 : weight_decay),
          static_cast<T>(c.decoupled ? 1 - lr * weight_decay : 1.0)};
}

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
    const auto zeros = [&] { return Tensor::zeros(p.value.shape(), p.value.dtype()); };
    moments_.push_back({p.name, zeros(), zeros(), config_.amsgrad ? zeros() : Tensor()});
  }
}

void AdamRule::step(ParamList& params, const Tensors& grads, const StepInfo& info,
                    const UpdateObserver& observer) {
  ++steps_;
  for (size_t i = 0; i < subset_.size(); ++i) {
    const ParamSettings& s = subset_[i];
    Moments& state = moments_[i];
    Param& param = params[s.index];
    const Tensor before = observer ? param.value.clone() : Tensor();
    const double lr = s.lr * info.lr_scale;
    dispatch_float(param.value.dtype(), rule(), [&](auto t) {
      using T = decltype(t);
      adam_tensor<T>(param.value, grads[s.index], state.m, state.v, state.vmax,
                     numbers_for<T>(config_, lr, s.weight_decay, steps_));
    });
    if (!observer) continue;
    UpdateRecord record{.index = s.index,
                        .param = &param,
                        .rule = rule(),
                        .group = s.group,
                        .lr = lr,
                        .step = info.step,
                        .loss = info.loss,
                        .gradient = grads[s.index],
                        .momentum = state.m,
                        .orthogonalised = {},
                        .change = {}};
    report_applied(observer, std::move(record), before);
  }
}

void AdamRule::save(OptimizerState& state) const {
  for (const Moments& s : moments_) {
    state.tensors.emplace_back("adam.m." + s.name, s.m.clone());
    state.tensors.emplace_back("adam.v." + s.name, s.v.clone());
    if (config_.amsgrad) state.tensors.emplace_back("adam.vmax." + s.name, s.vmax.clone());
  }
  state.scalars["adam.steps"] = std::to_string(steps_);
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
