// Optimizer: takes parameters and gradients, knows no tape. The contract of every implementation:
//   - step() reads grads and never writes them; an undefined gradient counts as zero (moments and
//     weight decay still act);
//   - the effective rate of a parameter is (lr of its group) * info.lr_scale, so one schedule
//     drives every group from its own base rate;
//   - save()/load() carry everything a bitwise equal continuation needs; saved tensors are on the
//     CPU, loaded ones go to the device of the parameters;
//   - an observer sees gradient, momentum, orthogonalised update and weight change, rule by rule in
//     parameter order, from the calling thread;
//   - who drives an optimizer calls look_ahead(), computes the loss and its gradient, then step().
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "basin/core/params.h"

namespace basin {

struct LossAndGrads {
  double loss = 0;
  Tensors grads;  // empty where only the loss was asked for
};
// Loss and gradient at other parameters, of the same batch under the same dropout masks. The values
// are given in the order of the parameters; the gradient is clipped as that of the step is.
using EvaluateAt = std::function<LossAndGrads(const Tensors& values, bool with_grads)>;

struct StepInfo {
  int64_t step = 0;     // 0-based number of this step in the run
  double loss = 0;      // scalar loss at the current parameters; optimizers such as SpecMuon use it
  double lr_scale = 1;  // schedule value relative to each group's base rate
  EvaluateAt evaluate = {};  // null where the program cannot look again
};

// What a step wants to know of the loss: its value and gradient as given; both (or the value) at
// other parameters too (StepInfo::evaluate); or, as a line search does, values that differ by the
// parameters alone, which minibatches and clipping spoil.
enum class LossUse : uint8_t { given, again, line_search };

// What a checkpoint stores. Tensor names are unique and independent of the parameter order.
struct OptimizerState {
  std::vector<std::pair<std::string, Tensor>> tensors;
  std::map<std::string, std::string> scalars;
};

// Which rule makes a step and the learning rate of its default group there.
struct InCharge {
  std::string_view rule;
  double lr = 0;
};

// before: the update direction is known, weights untouched (matrix optimizers only);
// applied: the weights have moved.
enum class UpdateStage : uint8_t { before, applied };

struct UpdateRecord {
  UpdateStage stage = UpdateStage::applied;
  size_t index = 0;              // position in the ParamList
  const Param* param = nullptr;  // its view lists the logical matrices
  std::string_view rule;         // "muon", "adam", "adamw", "sgd"...
  std::string_view group;        // name of the parameter's group
  double lr = 0;                 // effective rate of this step
  int64_t step = 0;
  double loss = 0;
  Tensor gradient;        // as given; undefined when the gradient was missing
  Tensor momentum;        // the first moment, for Muon the matrix M that is orthogonalised
  Tensor orthogonalised;  // Muon, stage applied: O before scaling; else undefined
  Tensor change;          // stage applied: new weights - old weights, decay included
  // Stage applied: numbers of the rule's own, one row per matrix of the view, [blocks, ...] f64.
  std::vector<std::pair<std::string_view, Tensor>> numbers = {};
  // Stage applied, where spectra are set (optim/interventions.h): of the last time, [blocks, 4] f64
  // with the value asked for, that before, that reached and the change |dW|_F / |W|_F; NaN where
  // nothing was set yet. Of `frozen` the value is the distance from the kept spectrum.
  Tensor spectrum = {};
};
using UpdateObserver = std::function<void(const UpdateRecord&)>;

// One row of the printed table that says which rule updates which parameter, and why.
struct RoutingRow {
  std::string name;
  Shape shape;
  std::string view;       // "64x3", "3 blocks of 64x64", "-"
  std::string optimizer;  // "muon", "adamw"
  std::string why;
  std::string group;
  double lr = 0;
  double weight_decay = 0;
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  virtual std::string_view name() const = 0;
  virtual void step(ParamList& params, const Tensors& grads, const StepInfo& info) = 0;
  // Moves the parameters to where the gradient of the coming step is wanted; step() starts there.
  // Without an effect for most. look_back() undoes it when the step is not made after all.
  virtual void look_ahead(ParamList&) {}
  virtual void look_back(ParamList&) {}
  virtual LossUse loss_use() const { return LossUse::given; }
  // For records, where not all steps are made by the same one; of `info` step and lr_scale.
  virtual std::optional<InCharge> in_charge(const StepInfo& /*info*/) const { return {}; }
  // The two halves of step() for a program that records the second one (core/device_graph.h):
  // prepare() takes what changes from step to step (counts, rates) and writes it where the kernels
  // of apply() read it; apply() starts the same kernels every time and waits for nothing.
  virtual bool recordable() const { return false; }
  virtual void prepare(const ParamList&, const StepInfo&) { refuse_halves(); }
  virtual void apply(ParamList&, const Tensors&) { refuse_halves(); }
  virtual OptimizerState save() const = 0;
  // data error when state is missing, foreign or of another shape; the optimizer is then unchanged
  virtual void load(const OptimizerState& state) = 0;
  // One row per parameter, in order; empty when an optimizer has nothing to tell.
  virtual std::vector<RoutingRow> routing() const { return {}; }

  // Costs one copy of each weight per step while set; pass {} to remove.
  void set_observer(UpdateObserver observer) { observer_ = std::move(observer); }

 protected:
  const UpdateObserver& observer() const { return observer_; }

 private:
  [[noreturn]] void refuse_halves() const {
    fail(ErrorKind::internal, name(), ": its step has no two halves (recordable)");
  }
  UpdateObserver observer_;
};

}  // namespace basin
