// One training step of a classifier on the device of its parameters: loss and gradient, clipping,
// optimizer, running statistics.
//   CPU      step by step; nothing is written when the loss or a gradient is not finite.
//   device   points, labels, loss, logits and norms have fixed places; everything from the forward
//            pass to the last weight is started without waiting, then the results are read. With a
//            graph that part is recorded once and replayed, to the same bits: what changes from
//            step to step (rates, dropout masks) is read from device memory. The step of an
//            optimizer that is not recordable follows the graph, launch by launch.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "basin/core/device_graph.h"
#include "basin/models/model.h"
#include "basin/optim/optimizer.h"

namespace basin::tools {

enum class GraphMode : uint8_t { off, on, automatic };
GraphMode graph_mode_from_name(const std::string& name);  // off, on, auto; else a usage error

struct StepOptions {
  double label_smoothing = 0;
  double clip = 0;  // 0: off
  uint64_t seed = 0;
  int64_t batch = 32;  // clouds per step, for the momentum of the running statistics
  GraphMode graph = GraphMode::off;
  // On a device too nothing is written when the loss or a gradient is not finite. The update waits
  // for the loss then, and is no part of a graph.
  bool guarded = false;
};

struct StepOutput {
  double loss = 0;
  double norm = 0;              // of all gradients, before clipping
  std::vector<double> squares;  // of each gradient; only where the norm is not finite
  Tensor logits;                // [B, classes], on the CPU
  bool finite() const;
};

class TrainStep {
 public:
  // The arguments must outlive it. usage error when a graph is asked for (on) on the CPU.
  TrainStep(const Model& model, ModelState& state, Optimizer& optimizer,
            const StepOptions& options);

  // The points (any float type and device) and labels of the step to come. On a device they are
  // copied to their fixed places.
  void set_batch(const Tensor& points, const Tensor& labels);  // [B, N, 3], [B] i64
  // The fixed places on a device, for who fills them there.
  Tensor& points() { return points_; }
  Tensor& labels() { return labels_; }
  void make_places(const Shape& points);

  void start(int64_t step, double lr_scale);  // 0-based step; a device works on while the host...
  StepOutput finish();                        // ...comes to wait here

  Device device() const { return device_; }
  // After a step that is not finite everything is as it was before.
  bool keeps_state() const { return device_ == Device::cpu || options_.guarded; }
  bool with_graph() const { return repeated_ != nullptr; }
  std::string describe() const;  // "cuda, steps are recorded", for the log

 private:
  Fn loss_of(const ForwardOptions& options) const;
  void start_here(int64_t step, double lr_scale);
  bool whole() const { return optimizer_.recordable() && !options_.guarded; }
  void launch_all();
  StepOutput output_of(const Tensor& loss, const Tensor& squares, const Tensor& logits) const;

  const Model& model_;
  ModelState& state_;
  Optimizer& optimizer_;
  StepOptions options_;
  Device device_;
  Tensor points_, labels_;
  // On a device:
  Tensor step_;                     // [] i64
  Tensor loss_, squares_, logits_;  // results
  double momentum_ = -1;            // of the running statistics; a change of it needs a new graph
  Tensors grads_;                   // for an optimizer whose step is not recorded
  Tensors stats_;                   // the batch statistics of a guarded step
  std::unique_ptr<RepeatedWork> repeated_;
  // On the CPU:
  StepOutput done_;
};

}  // namespace basin::tools
