// Checks shared by the optimizers.
#include "basin/optim/state.h"

#include <cmath>

#include "basin/core/io.h"
#include "basin/kernels/elementwise.h"
#include "basin/kernels/launch.h"
#include "basin/optim/routing.h"

namespace basin {

ParamSignature::ParamSignature(std::string_view owner, const ParamList& params) : owner_(owner) {
  if (params.size() > 0) device_ = params[0].value.device();
  for (const Param& p : params) {
    check(is_float(p.value.dtype()), owner, ": parameter '", p.name, "' must be f32 or f64, got ",
          name_of(p.value.dtype()));
    check(p.value.device() == device_, owner, ": all parameters must be on one device, '", p.name,
          "' is on ", name_of(p.value.device()), ", the first on ", name_of(device_));
    entries_.push_back({p.name, p.value.shape(), p.value.dtype()});
  }
}

void ParamSignature::check_step(const ParamList& params, const Tensors& grads,
                                const StepInfo& info) const {
  check(params.size() == entries_.size(), owner_, ": was made for ", entries_.size(),
        " parameters, got ", params.size());
  check(grads.size() == entries_.size(), owner_, ": expects one gradient per parameter, got ",
        grads.size(), " for ", entries_.size());
  check(std::isfinite(info.lr_scale) && info.lr_scale >= 0, owner_,
        ": expects a finite lr_scale of at least 0, got ", info.lr_scale);
  for (size_t i = 0; i < entries_.size(); ++i) {
    const Entry& e = entries_[i];
    const Param& p = params[i];
    check(p.name == e.name && p.value.shape() == e.shape && p.value.dtype() == e.dtype, owner_,
          ": parameter ", i, " was '", e.name, "' ", e.shape, ' ', name_of(e.dtype),
          ", now it is '", p.name, "' ", p.value.shape(), ' ', name_of(p.value.dtype()));
    check(p.value.device() == device_, owner_, ": parameter '", e.name, "' was on ",
          name_of(device_), ", now it is on ", name_of(p.value.device()),
          "; make the optimizer after moving the parameters");
    const Tensor& g = grads[i];
    check(!g.defined() || (g.shape() == e.shape && g.dtype() == e.dtype), owner_,
          ": the gradient of '", e.name, "' must be ", e.shape, ' ', name_of(e.dtype), ", got ",
          g.shape(), ' ', name_of(g.dtype()));
    check(!g.defined() || g.device() == device_, owner_, ": the gradient of '", e.name,
          "' must be on ", name_of(device_), ", it is on ", name_of(g.device()));
  }
}

namespace {
constexpr const char* kOwnerKey = "optimizer";
}

OptimizerState begin_state(std::string_view optimizer) {
  OptimizerState state;
  state.scalars[kOwnerKey] = optimizer;
  return state;
}

StateReader::StateReader(const OptimizerState& state, std::string_view optimizer)
    : state_(state), optimizer_(optimizer) {
  const auto owner = state.scalars.find(kOwnerKey);
  if (owner == state.scalars.end() || owner->second != optimizer) {
    fail(ErrorKind::data, optimizer, ": the state to load belongs to '",
         owner == state.scalars.end() ? "nobody" : owner->second, "', not to '", optimizer, "'");
  }
  used_.insert(kOwnerKey);
  used_.insert(kSwitchedKey);
  for (size_t i = 0; i < state.tensors.size(); ++i) {
    if (!index_.emplace(state.tensors[i].first, i).second) {
      fail(ErrorKind::data, optimizer, ": the state holds '", state.tensors[i].first, "' twice");
    }
  }
}

Tensor StateReader::tensor(const std::string& name, const Tensor& like) {
  const auto it = index_.find(name);
  if (it == index_.end()) {
    fail(ErrorKind::data, optimizer_, ": the state to load has no tensor '", name,
         "'; was it saved with other options or another model?");
  }
  const Tensor& t = state_.tensors[it->second].second;
  if (!t.defined() || t.shape() != like.shape() || t.dtype() != like.dtype()) {
    fail(ErrorKind::data, optimizer_, ": state tensor '", name, "' must be ", like.shape(), ' ',
         name_of(like.dtype()), ", got ", t.defined() ? t.shape().to_string() : "nothing", ' ',
         t.defined() ? name_of(t.dtype()) : "");
  }
  used_.insert(name);
  return t.device() == like.device() ? t.clone() : t.to(like.device());
}

int64_t StateReader::count(const std::string& name) {
  const auto it = state_.scalars.find(name);
  int64_t value = -1;
  if (it == state_.scalars.end() || !parse_int64(it->second, value) || value < 0) {
    fail(ErrorKind::data, optimizer_, ": state scalar '", name, "' must be a count, got '",
         it == state_.scalars.end() ? "nothing" : it->second, "'");
  }
  used_.insert(name);
  return value;
}

void StateReader::finish() const {
  for (const auto& [name, tensor] : state_.tensors) {
    if (!used_.contains(name)) {
      fail(ErrorKind::data, optimizer_, ": the state holds the foreign tensor '", name,
           "'; was it saved with other options or another model?");
    }
  }
  for (const auto& [name, value] : state_.scalars) {
    if (!used_.contains(name)) {
      fail(ErrorKind::data, optimizer_, ": the state holds the foreign scalar '", name, "'");
    }
  }
}

Tensor zeros_like(const Tensor& t) { return Tensor::zeros(t.shape(), t.dtype(), t.device()); }

Tensor host_copy(const Tensor& t) {
  return t.device() == Device::cpu ? t.clone() : t.to(Device::cpu);
}

RoutingRow plain_row(const Param& param, const ParamSettings& settings, std::string_view rule) {
  return {param.name,       param.value.shape(), view_text(param.view), std::string(rule),
          "all parameters", settings.group,      settings.lr,           settings.weight_decay};
}

void report_applied(const UpdateObserver& observer, UpdateRecord record, const Tensor& before) {
  const Tensor& after = record.param->value;
  record.stage = UpdateStage::applied;
  record.change = Tensor::empty(after.shape(), after.dtype(), after.device());
  launch<BinaryMap>(after.device(), Binary::sub, after, before, record.change);
  observer(record);
}

}  // namespace basin
