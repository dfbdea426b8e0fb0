// The training step: see train_step.h.
#include "basin/tools/common/train_step.h"

#include <cmath>

#include "basin/kernels/clip.h"
#include "basin/kernels/launch.h"
#include "basin/optim/clip.h"

namespace basin::tools {

GraphMode graph_mode_from_name(const std::string& name) {
  if (name == "off") return GraphMode::off;
  if (name == "on") return GraphMode::on;
  check(name == "auto", "expected on, off or auto, given '", name, "'");
  return GraphMode::automatic;
}

bool StepOutput::finite() const { return std::isfinite(loss) && std::isfinite(norm); }

TrainStep::TrainStep(const Model& model, ModelState& state, Optimizer& optimizer,
                     const StepOptions& options)
    : model_(model),
      state_(state),
      optimizer_(optimizer),
      options_(options),
      device_(state.params[0].value.device()) {
  check(options.graph != GraphMode::on || device_ != Device::cpu,
        "--graph on: the CPU records nothing; add --device cuda or use --graph auto");
  // With BASIN_SYNC=1 values on the device are checked by the host, which a recording refuses.
  const bool automatic = options.graph == GraphMode::automatic && !device_checks();
  if (device_ != Device::cpu && (options.graph == GraphMode::on || automatic)) {
    repeated_ = std::make_unique<RepeatedWork>(device_);
  }
  if (device_ == Device::cpu) return;
  const DType dtype = state.params[0].value.dtype();
  step_ = Tensor::zeros({}, DType::i64, device_);
  loss_ = Tensor::zeros({}, dtype, device_);
  squares_ = Tensor::zeros({static_cast<int64_t>(state.params.size())}, DType::f64, device_);
}

void TrainStep::make_places(const Shape& points) {
  if (points_.defined() && points_.shape() == points) return;
  check(!points_.defined() || !repeated_ || !repeated_->recorded(), "training step: the batch was ",
        points_.shape(), " when the step was recorded, now it is ", points, "; use --graph off");
  const DType dtype = loss_.dtype();
  points_ = Tensor::empty(points, dtype, device_);
  labels_ = Tensor::empty({points[0]}, DType::i64, device_);
  logits_ = Tensor::empty({points[0], model_.classes}, dtype, device_);
}

void TrainStep::set_batch(const Tensor& points, const Tensor& labels) {
  const DType dtype = state_.params[0].value.dtype();
  if (device_ == Device::cpu) {
    points_ = points.to(dtype);
    labels_ = labels;
    return;
  }
  make_places(points.shape());
  points_.copy_from(points.to(dtype));
  labels_.copy_from(labels);
}

Fn TrainStep::loss_of(const ForwardOptions& options) const {
  return classification_loss(model_, state_.buffers.values(), points_, labels_, options,
                             options_.label_smoothing);
}

StepOutput TrainStep::output_of(const Tensor& loss, const Tensor& squares,
                                const Tensor& logits) const {
  StepOutput out;
  out.loss = loss.item();
  out.squares = squares.to_vector<double>();
  double total = 0;
  for (const double s : out.squares) total += s;
  out.norm = std::sqrt(total);
  if (std::isfinite(out.norm)) out.squares.clear();
  out.logits = logits.to(Device::cpu);
  return out;
}

void TrainStep::start(int64_t step, double lr_scale) {
  if (device_ == Device::cpu) return start_here(step, lr_scale);
  const double momentum = model_.bn_momentum(step * options_.batch);
  if (repeated_ && momentum != momentum_) repeated_->forget();
  momentum_ = momentum;
  step_.copy_from(Tensor::full({}, DType::i64, static_cast<double>(step)));
  StepInfo info{step, 0, lr_scale};
  if (whole()) optimizer_.prepare(state_.params, info);
  if (repeated_) {
    if (!repeated_->recorded()) {  // their memory is the recording's
      grads_.clear();
      stats_.clear();
    }
    repeated_->run([this] { launch_all(); });
  } else {
    launch_all();
  }
  if (whole()) return;
  info.loss = loss_.item();
  if (options_.guarded && !output_of(loss_, squares_, logits_).finite()) return;
  optimizer_.step(state_.params, grads_, info);
  if (options_.guarded) update_running_stats(state_.buffers, stats_, momentum_);
}

// Nothing here may depend on a value that changes from step to step, or wait.
void TrainStep::launch_all() {
  auto options = ForwardOptions::training(options_.seed, 0);
  options.step_there = step_;
  ValueGrad result = value_and_grad(loss_of(options))(state_.params.values());
  launch<SquareSums>(device_, result.grads, squares_);
  if (options_.clip > 0) result.grads = clip_by_sums(result.grads, squares_, options_.clip);
  if (whole()) {
    optimizer_.apply(state_.params, result.grads);
  } else {
    grads_ = std::move(result.grads);
  }
  if (options_.guarded) {
    stats_ = batch_stats_of(result.aux);
  } else {
    update_running_stats(state_.buffers, batch_stats_of(result.aux), momentum_);
  }
  loss_.copy_from(result.value);
  logits_.copy_from(result.aux.front());
}

void TrainStep::start_here(int64_t step, double lr_scale) {
  const auto options = ForwardOptions::training(options_.seed, static_cast<uint64_t>(step));
  ValueGrad result = value_and_grad(loss_of(options))(state_.params.values());
  Tensor squares = Tensor::empty({static_cast<int64_t>(result.grads.size())}, DType::f64);
  launch<SquareSums>(device_, result.grads, squares);
  done_ = output_of(result.value, squares, result.aux.front());
  if (!done_.finite()) return;
  if (options_.clip > 0 && done_.norm > options_.clip) {
    result.grads = clip_by_sums(result.grads, squares, options_.clip);
  }
  optimizer_.step(state_.params, result.grads, {step, done_.loss, lr_scale});
  update_running_stats(state_.buffers, batch_stats_of(result.aux),
                       model_.bn_momentum(step * options_.batch));
}

StepOutput TrainStep::finish() {
  return device_ == Device::cpu ? std::move(done_) : output_of(loss_, squares_, logits_);
}

std::string TrainStep::describe() const {
  return str(name_of(device_), !repeated_ ? ""
                               : whole()  ? ", steps are recorded"
                                          : ", gradients are recorded");
}

}  // namespace basin::tools
