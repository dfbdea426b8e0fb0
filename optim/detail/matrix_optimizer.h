// What the optimizers of matrices share (Muon, SpecMuon, SOAP...): which parameters they take
// (routing.h), an auxiliary AdamW with its own rate and decay for all others, driven by the same
// schedule, and around the update O of every matrix
//   W *= 1 - lr wd (unadjusted lr);  W -= lr scale O
// with observers, the halves of a recorded step, and the state. An optimizer adds directions() and
// updates(), and says with keep() what of it belongs to the state.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "basin/optim/detail/adam.h"
#include "basin/optim/routing.h"

namespace basin {

struct MatrixRules {
  double lr = 0.02;
  double weight_decay = 0;
  RoutingConfig routing;
  AdamConfig auxiliary{3e-4, 0.9, 0.95, 1e-10, 0, true, false, true};
};

class MatrixOptimizer : public Optimizer {
 public:
  MatrixOptimizer(std::string_view name, const MatrixRules& rules, const ParamList& params,
                  const std::vector<GroupRule>& groups);
  MatrixOptimizer(const MatrixOptimizer&) = delete;  // the state is known by its place
  MatrixOptimizer& operator=(const MatrixOptimizer&) = delete;

  std::string_view name() const override { return name_; }
  void step(ParamList& params, const Tensors& grads, const StepInfo& info) override;
  void prepare(const ParamList& params, const StepInfo& info) override;
  void apply(ParamList& params, const Tensors& grads) override;
  OptimizerState save() const override;
  void load(const OptimizerState& state) override;
  std::vector<RoutingRow> routing() const override { return rows_; }

 protected:
  struct Matrix {
    ParamSettings settings;
    std::vector<MatrixBlock> blocks;
    std::vector<double> scales;  // one per block; 1 unless the optimizer sets it
    std::string name;
    Shape shape;
    DType dtype;
  };
  using BlockMap = std::function<Tensor(size_t matrix, size_t block, const Tensor& x)>;

  // The matrix M of every matrix parameter, which the observer sees as momentum, and its update O,
  // both in the shape and on the device of the parameter. A recordable optimizer only starts
  // kernels in them.
  virtual Tensors directions(const ParamList& params, const Tensors& grads) = 0;
  virtual Tensors updates(const Tensors& directions) = 0;
  // Adds numbers of its own to what the observer sees of matrix i after the step.
  virtual void describe(size_t /*i*/, UpdateRecord& /*record*/) const {}

  void keep(std::string name, Tensor& state);  // `state` stays where it is
  // "NAME" for the only block of a parameter, "NAME.2" for one of several.
  std::string block_name(size_t matrix, size_t block) const;
  Tensor zeros_like_matrix(size_t matrix) const;
  // keep b + intake g of every matrix parameter, and direct g + heavy b as a tensor of its own.
  Tensors momentum_step(const Tensors& values, std::vector<Tensor>& buffers,
                        const MomentumNumbers& numbers) const;
  Tensors matrix_gradients(const Tensors& grads) const;  // undefined where missing
  // map(x) of every block [rows, cols] as an f64 matrix on the CPU, wherever the parameters are:
  // for decompositions, which run there. Undefined values count as zero. Blocks share the threads.
  Tensors map_blocks(const Tensors& values, const BlockMap& map) const;

  std::vector<Matrix>& matrices() { return matrices_; }
  const std::vector<Matrix>& matrices() const { return matrices_; }
  Device device() const { return device_; }
  bool on_device_unwatched() const { return device_ != Device::cpu && !observer(); }
  int64_t steps() const { return auxiliary_->steps(); }  // made before this one
  const StepInfo& info() const { return *info_; }        // within step()
  double rate(size_t matrix) const { return matrices_[matrix].settings.lr * info_->lr_scale; }

 private:
  // One item per logical matrix; without updates for their numbers alone.
  void add_items(size_t i, const ParamList& params, const Tensor& update, double lr_scale,
                 std::vector<StepItem>& items) const;
  UpdateRecord record_of(size_t i, const ParamList& params, const Tensors& grads,
                         const Tensor& direction) const;

  std::string name_;
  ParamSignature signature_;
  Device device_ = Device::cpu;
  std::vector<Matrix> matrices_;
  std::vector<RoutingRow> rows_;
  std::vector<std::pair<std::string, Tensor*>> kept_;
  Tensor live_;                        // what prepare() left for apply(): kernels/update.h
  const StepInfo* info_ = nullptr;     // of the step under way
  std::optional<AdamRule> auxiliary_;  // set in the constructor
};

}  // namespace basin
