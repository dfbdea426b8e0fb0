// The two ways of a step: at once on the CPU, or started as one piece of work on a device.
#include "basin/train/step.h"

#include <cmath>
#include <cstring>

#include "basin/core/log.h"
#include "basin/kernels/clip.h"
#include "basin/kernels/launch.h"
#include "basin/optim/clip.h"

namespace basin {

GraphMode graph_mode_from_name(const std::string& name) {
  if (name == "off") return GraphMode::off;
  if (name == "on") return GraphMode::on;
  check(name == "auto", "expected on, off or auto, given '", name, "'");
  return GraphMode::automatic;
}

bool StepOutput::finite() const { return std::isfinite(loss) && std::isfinite(norm); }

TrainStep::TrainStep(const Task& task, ModelState& state, Optimizer& optimizer,
                     const StepOptions& options)
    : task_(task),
      state_(state),
      optimizer_(optimizer),
      options_(options),
      device_(state.params[0].value.device()),
      dtype_(state.params[0].value.dtype()) {
  check(options.clip == 0 || optimizer.loss_use() != LossUse::line_search, optimizer.name(),
        ": its line search needs the gradient as it is; take --clip away");
  // With BASIN_SYNC=1 values on the device are checked by the host, which a recording refuses.
  // On the CPU a recording saves little beside kernels of any size: it is asked for.
  const bool automatic =
      options.graph == GraphMode::automatic && device_ != Device::cpu && !device_checks();
  if (options.graph == GraphMode::on || automatic) {
    repeated_ = std::make_unique<RepeatedWork>(device_);
  }
  check(options.microbatches >= 1 && options.microbatches % options.processes->size() == 0,
        "training: expected microbatches that ", options.processes->size(),
        " processes can share evenly, given ", options.microbatches);
  if (in_parts()) {
    check(options.graph != GraphMode::on,
          "--graph on: a step of several microbatches is not recorded; use --graph off or auto");
    repeated_.reset();
  }
  if (at_once()) return;
  options_.guarded |= device_ == Device::cpu;
  step_ = Tensor::zeros({}, DType::i64, device_);
  loss_ = Tensor::zeros({}, dtype_, device_);
  squares_ = Tensor::zeros({static_cast<int64_t>(state.params.size())}, DType::f64, device_);
}

EvaluateAt TrainStep::evaluate_at(const Objective& asked) {
  evaluations_ = 1;
  if (optimizer_.loss_use() == LossUse::given) return {};
  return [this, asked](const Tensors& values, bool with_grads) -> LossAndGrads {
    ++evaluations_;
    if (!with_grads) return {training_loss(asked)(values).front().item(), {}};
    ValueGrad there = value_and_grad(training_loss(asked))(values);
    if (options_.clip > 0) {
      Tensor squares =
          Tensor::empty({static_cast<int64_t>(there.grads.size())}, DType::f64, device_);
      launch<SquareSums>(device_, there.grads, squares);
      there.grads = clip_by_sums(there.grads, squares, options_.clip);
    }
    return {there.value.item(), std::move(there.grads)};
  };
}

Objective TrainStep::objective(const ForwardOptions& options) const {
  return task_.objective(state_.buffers.values(), batch_, options);
}

namespace {

bool same_places(const Batch& a, const Batch& b) {
  if (a.tensors.size() != b.tensors.size()) return false;
  for (size_t i = 0; i < a.tensors.size(); ++i) {
    if (!(a.tensors[i].shape() == b.tensors[i].shape())) return false;
  }
  return true;
}

// Of a loss of several terms; a single one is the loss itself.
std::vector<std::string> names_of_terms(const Objective& objective) {
  if (objective.term_names.size() > 1) return objective.term_names;
  return {};
}

}  // namespace

void TrainStep::make_places(const Batch& like) {
  const bool same = same_places(batch_, like);
  if (!same && repeated_ && !batch_.tensors.empty()) {
    check(
        options_.graph != GraphMode::on,
        "--graph on: the shapes of the batches differ from step to step, a recorded step has one; "
        "use --graph off or auto");
    log_message(LogLevel::info,
                "the shapes of the batches differ from step to step: steps are not recorded");
    repeated_.reset();
  }
  batch_.examples = like.examples;
  batch_.rows = like.rows;
  if (same) return;
  batch_.tensors.clear();
  for (const Tensor& t : like.tensors) {
    const DType type = is_float(t.dtype()) ? dtype_ : t.dtype();
    batch_.tensors.push_back(Tensor::zeros(t.shape(), type, device_));
  }
  terms_.clear();
  outputs_.clear();
}

// A recording knows parameters and buffers by their addresses.
bool TrainStep::moved() {
  std::vector<const void*> now;
  for (const ParamList* list : {&state_.params, &state_.buffers}) {
    for (const Param& p : *list) now.push_back(p.value.raw());
  }
  const bool moved = now != addresses_;
  addresses_ = std::move(now);
  return moved;
}

void TrainStep::set_batch(const Batch& batch) {
  if (at_once()) {  // parts go to the device one by one
    batch_ = batch.to(dtype_);
    return;
  }
  make_places(batch);
  const Batch given = batch.to(dtype_);
  for (size_t i = 0; i < given.tensors.size(); ++i) {
    batch_.tensors[i].copy_from(given.tensors[i]);
  }
}

StepOutput TrainStep::output_of(const Tensor& loss, const Tensor& squares, const Tensors& terms,
                                const Tensors& outputs) const {
  StepOutput out;
  out.loss = loss.item();
  out.squares = squares.to_vector<double>();
  double total = 0;
  for (const double s : out.squares) total += s;
  out.norm = std::sqrt(total);
  if (std::isfinite(out.norm)) out.squares.clear();
  for (const Tensor& t : terms) out.terms.push_back(t.item());
  if (task_.train_meter) {
    for (const Tensor& t : outputs) {  // those of a recording are written again
      out.outputs.push_back(device_ == Device::cpu && repeated_ ? t.clone() : t.to(Device::cpu));
    }
  }
  return out;
}

// The results get their places in the first run, which is not recorded on a device, and outside of
// the pool: what is made inside of it is the recording's.
void TrainStep::make_results(const Objective& asked, const LossParts& parts) {
  if (!outputs_.empty()) return;
  const MemoryPool::Outside outside;
  for (const Tensor& t : parts.outputs) {
    outputs_.push_back(Tensor::empty(t.shape(), t.dtype(), device_));
  }
  term_names_ = names_of_terms(asked);
  for (size_t i = 0; i < term_names_.size(); ++i) {
    terms_.push_back(Tensor::empty({}, dtype_, device_));
  }
}

// Gradients and statistics are in the recording's memory.
void TrainStep::record_anew() {
  grads_.clear();
  stats_.clear();
  repeated_->forget();
}

void TrainStep::start(int64_t step, double lr_scale) {
  if (in_parts()) return start_in_parts(step, lr_scale);
  if (at_once()) return start_here(step, lr_scale);
  optimizer_.look_ahead(state_.params);
  const double momentum = task_.model.bn_momentum(step * options_.batch);
  const bool other_momentum = momentum != momentum_ && !options_.guarded;  // else not recorded
  if (repeated_ && (moved() || other_momentum)) {
    record_anew();
    checked_ = false;
  }
  momentum_ = momentum;
  step_.copy_from(Tensor::full({}, DType::i64, static_cast<double>(step)));
  StepInfo info{step, 0, lr_scale};
  if (whole()) optimizer_.prepare(state_.params, info);
  if (repeated_) {
    if (!repeated_->recorded()) record_anew();
    const bool replayed = repeated_->recorded();
    repeated_->run([&] { launch_all(step); });
    if (device_ == Device::cpu && replayed && !checked_) hold_against_plain(step);
    check(repeated_->refusal().empty(), "--graph on: a step of task '", task_.name,
          "' cannot be recorded on the CPU, ", repeated_->refusal(), "; use --graph off or auto");
  } else {
    launch_all(step);
  }
  evaluations_ = 1;
  if (whole()) return;
  info.loss = loss_.item();
  if (options_.guarded && !output_of(loss_, squares_, {}, {}).finite()) return;
  auto options = ForwardOptions::training(options_.seed, 0);
  options.step_there = step_;
  info.evaluate = evaluate_at(objective(options));
  optimizer_.step(state_.params, grads_, info);
  if (options_.guarded && state_.buffers.size() > 0) {
    update_running_stats(state_.buffers, stats_, momentum_);
  }
}

// A recording cannot see a count that a loss keeps of its own calls, or that it reads the number of
// the step on the host. One step that is replayed and recorded anew, in the same memory, shows it.
void TrainStep::hold_against_plain(int64_t step) {
  const Tensor loss = loss_.clone(), squares = squares_.clone();
  record_anew();
  repeated_->run([&] { launch_all(step); });
  const auto same = [](const Tensor& a, const Tensor& b) {
    return std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
  };
  check(same(loss, loss_) && same(squares, squares_), "--graph on: replayed, step ", step,
        " of task '", task_.name, "' differs from the same step made anew, so its loss depends on ",
        "more than weights, batch and ForwardOptions::step_there; use --graph off or auto");
  checked_ = true;
}

// Nothing here may depend on a value that changes from step to step, or wait. The step is there for
// hold_against_plain(), which finds those who read its number all the same.
void TrainStep::launch_all(int64_t step) {
  auto options = ForwardOptions::training(options_.seed, static_cast<uint64_t>(step));
  options.step_there = step_;
  const Objective asked = objective(options);
  ValueGrad result = value_and_grad(training_loss(asked))(state_.params.values());
  launch<SquareSums>(device_, result.grads, squares_);
  if (options_.clip > 0) result.grads = clip_by_sums(result.grads, squares_, options_.clip);
  if (whole()) {
    optimizer_.apply(state_.params, result.grads);
  } else {
    grads_ = std::move(result.grads);
  }
  const LossParts parts = parts_of(asked, result.aux);
  if (options_.guarded) {
    stats_ = parts.batch_statistics;
  } else if (!parts.batch_statistics.empty()) {
    update_running_stats(state_.buffers, parts.batch_statistics, momentum_);
  }
  make_results(asked, parts);
  loss_.copy_from(result.value);
  for (size_t i = 0; i < terms_.size(); ++i) terms_[i].copy_from(parts.terms[i]);
  for (size_t i = 0; i < outputs_.size(); ++i) outputs_[i].copy_from(parts.outputs[i]);
}

void TrainStep::start_here(int64_t step, double lr_scale) {
  optimizer_.look_ahead(state_.params);
  const Objective asked =
      objective(ForwardOptions::training(options_.seed, static_cast<uint64_t>(step)));
  ValueGrad result = value_and_grad(training_loss(asked))(state_.params.values());
  Tensor squares = Tensor::empty({static_cast<int64_t>(result.grads.size())}, DType::f64);
  launch<SquareSums>(device_, result.grads, squares);
  const LossParts parts = parts_of(asked, result.aux);
  done_ = output_of(result.value, squares, parts.terms, parts.outputs);
  done_.term_names = names_of_terms(asked);
  if (!done_.finite()) return;
  if (options_.clip > 0 && done_.norm > options_.clip) {
    result.grads = clip_by_sums(result.grads, squares, options_.clip);
  }
  optimizer_.step(state_.params, result.grads, {step, done_.loss, lr_scale, evaluate_at(asked)});
  done_.evaluations = evaluations_;
  if (parts.batch_statistics.empty()) return;
  update_running_stats(state_.buffers, parts.batch_statistics,
                       task_.model.bn_momentum(step * options_.batch));
}

StepOutput TrainStep::finish() {
  if (at_once()) return std::move(done_);
  StepOutput out = output_of(loss_, squares_, terms_, outputs_);
  out.term_names = term_names_;
  out.evaluations = evaluations_;
  return out;
}

std::string TrainStep::describe() const {
  return str(name_of(device_), !repeated_ ? ""
                               : whole()  ? ", steps are recorded"
                                          : ", gradients are recorded");
}

}  // namespace basin
