// What every optimizer checks: that step() gets the parameters it was built for, and that a state
// to load is its own, complete, of the right shapes and free of leftovers.
#pragma once
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "basin/core/params.h"
#include "basin/optim/groups.h"
#include "basin/optim/optimizer.h"

namespace basin {

// Names, shapes, dtypes and device of the parameters an optimizer was made for.
class ParamSignature {
 public:
  // usage error on a parameter that is not f32 or f64, or on another device than the first
  ParamSignature(std::string_view owner, const ParamList& params);
  // usage error when the parameters or the gradients do not fit
  Device device() const { return device_; }
  void check_step(const ParamList& params, const Tensors& grads, const StepInfo& info) const;

 private:
  struct Entry {
    std::string name;
    Shape shape;
    DType dtype;
  };
  std::string owner_;
  std::vector<Entry> entries_;
  Device device_ = Device::cpu;
};

// Reads a state piece by piece. Every fault is a data error of one sentence.
class StateReader {
 public:
  StateReader(const OptimizerState& state, std::string_view optimizer);
  Tensor tensor(const std::string& name, const Tensor& like);  // a deep copy on like's device
  int64_t count(const std::string& name);                      // a non-negative integer scalar
  void finish() const;                                         // refuses what nobody asked for

 private:
  const OptimizerState& state_;
  std::string optimizer_;
  std::map<std::string, size_t> index_;
  std::set<std::string> used_;
};

// A scalar that a state may have whoever loads it: the step before which its optimizer took over
// from another one (detail/switched.h).
inline constexpr const char* kSwitchedKey = "switched_at";

OptimizerState begin_state(std::string_view optimizer);  // with the scalar that names its owner

Tensor zeros_like(const Tensor& t);
// A deep copy in the memory of the host: what save() gives, whatever the device of the parameters.
Tensor host_copy(const Tensor& t);

// The row of a parameter that is updated without regard to its matrix view.
RoutingRow plain_row(const Param& param, const ParamSettings& settings, std::string_view rule);

// Calls the observer with the change new - old; `before` is the weight's copy from before the step.
void report_applied(const UpdateObserver& observer, UpdateRecord record, const Tensor& before);

}  // namespace basin
