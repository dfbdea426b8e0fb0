// One training step on the device of its parameters: loss and gradient, clipping, optimizer,
// running statistics. What is trained is an Objective of the task.
//   CPU      step by step; nothing is written when the loss or a gradient is not finite. With a
//            graph that was asked for (on) loss and gradient are recorded in the first step, and
//            the update follows them.
//   device   the tensors of the batch, loss, outputs and norms have fixed places; everything from
//            the forward pass to the last weight is started without waiting, then the results are
//            read. With a graph that part is recorded once and replayed, to the same bits: what
//            changes from step to step (rates, dropout masks) is read from device memory. The step
//            of an optimizer that is not recordable follows the graph, launch by launch. A batch of
//            another shape needs other places: an automatic graph is given up then, one that was
//            asked for (on) is a usage error.
//   in parts   StepOptions::microbatches: loss and gradient are sums over the microbatches of the
//            batch (train/microbatch.h), of which every process takes its share; all processes then
//            make the same update. On the CPU and on a device, without a recording.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "basin/core/device_graph.h"
#include "basin/optim/optimizer.h"
#include "basin/train/communicator.h"
#include "basin/train/task.h"

namespace basin {

enum class GraphMode : uint8_t { off, on, automatic };
GraphMode graph_mode_from_name(const std::string& name);  // off, on, auto; else a usage error

struct StepOptions {
  double clip = 0;  // global gradient norm; 0: off
  uint64_t seed = 0;
  int64_t batch = 32;  // examples per step, for the momentum of the running statistics
  GraphMode graph = GraphMode::off;
  // On a device too nothing is written when the loss or a gradient is not finite. The update waits
  // for the loss then, and is no part of a graph.
  bool guarded = false;
  int64_t microbatches = 1;  // of a batch; a multiple of the number of processes
  std::shared_ptr<Communicator> processes = one_process();
  std::vector<Slot> slots = {};  // of the batches, where they are cut
};

struct StepOutput {
  double loss = 0;              // training loss
  double norm = 0;              // of all gradients, before clipping
  std::vector<double> squares;  // of each gradient; only where the norm is not finite
  std::vector<double> terms;    // of the data loss, where it has several
  std::vector<std::string> term_names;
  Tensors outputs;  // of the objective, on the CPU; empty unless the task meters them, and this is
                    // the process of rank 0
  int64_t evaluations = 1;  // of the loss, with its gradient or without; more by StepInfo::evaluate
  int64_t microbatch = 0;   // the first whose own loss or gradient is not finite
  bool finite() const;
};

class TrainStep {
 public:
  // The arguments must outlive it.
  TrainStep(const Task& task, ModelState& state, Optimizer& optimizer, const StepOptions& options);

  // The batch of the step to come (any device). With fixed places it is copied to them.
  void set_batch(const Batch& batch);
  // The fixed places on a device, for who fills them there: floats in the dtype of the step.
  Batch& places() { return batch_; }
  void make_places(const Batch& like);

  // 0-based step; a device works on while the host comes to wait in finish(). usage error where a
  // graph was asked for (on) and the CPU cannot record what the task does, or, in the first step
  // that is replayed, where made anew it has other bits.
  void start(int64_t step, double lr_scale);
  StepOutput finish();

  Device device() const { return device_; }
  DType dtype() const { return dtype_; }
  // After a step that is not finite everything is as it was before, but for the parameters of an
  // optimizer that looks ahead: they are where the gradient was taken (Optimizer::look_back).
  bool keeps_state() const { return device_ == Device::cpu || options_.guarded || in_parts(); }
  bool in_parts() const { return options_.microbatches > 1; }
  // Nothing has a fixed place.
  bool at_once() const { return in_parts() || (device_ == Device::cpu && !with_graph()); }
  bool with_graph() const { return repeated_ != nullptr; }
  const RepeatedWork* recording() const { return repeated_.get(); }  // null: without
  std::string describe() const;  // "cuda, steps are recorded", for the log

 private:
  Objective objective(const ForwardOptions& options) const;
  // StepInfo::evaluate where the optimizer wants it: the objective of the step at other parameters.
  EvaluateAt evaluate_at(const Objective& asked);
  void start_here(int64_t step, double lr_scale);
  // Sums over the microbatches of all processes, with their weights.
  struct InParts {
    double loss = 0;
    std::vector<double> terms;
    Tensors grads, batch_statistics, outputs;
    int64_t first_bad = 0;
  };
  InParts over_parts(const Tensors& values, int64_t step, bool with_grads);
  Tensors joined_outputs(const std::vector<Tensors>& own) const;
  void start_in_parts(int64_t step, double lr_scale);
  bool whole() const { return optimizer_.recordable() && !options_.guarded; }
  void make_results(const Objective& asked, const LossParts& parts);
  bool moved();
  void record_anew();
  void hold_against_plain(int64_t step);
  void launch_all(int64_t step);
  StepOutput output_of(const Tensor& loss, const Tensor& squares, const Tensors& terms,
                       const Tensors& outputs) const;

  const Task& task_;
  ModelState& state_;
  Optimizer& optimizer_;
  StepOptions options_;
  Device device_;
  DType dtype_;
  Batch batch_;
  // On a device, or recorded:
  Tensor step_;              // [] i64
  Tensor loss_, squares_;    // results
  Tensors terms_, outputs_;  // results; made for the shapes of the batch
  std::vector<std::string> term_names_;
  double momentum_ = -1;  // of the running statistics; a change of it needs a new graph
  Tensors grads_;         // for an optimizer whose step is not recorded
  Tensors stats_;         // the batch statistics of a guarded step
  std::unique_ptr<RepeatedWork> repeated_;
  std::vector<const void*> addresses_;  // of parameters and buffers in the last step
  bool checked_ = false;                // a replay was held against a plain step
  // On the CPU, or in parts:
  StepOutput done_;
  int64_t evaluations_ = 1;  // of the step under way
};

}  // namespace basin
