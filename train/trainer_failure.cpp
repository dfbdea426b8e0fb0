// What a training run does about a step that is not finite: see trainer.h and step_failure.h.
#include <cmath>

#include "basin/core/log.h"
#include "basin/tools/shell/progress.h"
#include "basin/train/trainer.h"

namespace basin {
namespace {

constexpr const char* kHint = "; try a lower --lr, --warmup or --clip";

std::string first_non_finite(const ParamList& params, const std::vector<double>& squares) {
  for (size_t i = 0; i < squares.size(); ++i) {
    if (!std::isfinite(squares[i])) return params[i].name;
  }
  return "";
}

}  // namespace

StepFailure Trainer::failure_of(const StepOutput& result, const PointBatch& batch) const {
  StepFailure out;
  out.epoch = at_.step / steps_per_epoch_ + 1;
  out.step = at_.step + 1;
  out.batch = at_.step % steps_per_epoch_ + 1;
  out.rows = batch.rows;
  out.loss = result.loss;
  out.grad_norm = result.norm;
  out.gradient = first_non_finite(state_.params, result.squares);
  out.facts.add("optimizer", config_.optimizer.name)
      .add("lr", learning_rate(schedule_.scale(at_.step)))
      .add("clip", config_.clip)
      .add("device", name_of(step_.device()))
      .add("data", data_.train.source)
      .add("data_hash", data_.hash)
      .add("config_hash", config_.config_hash);
  if (!step_.keeps_state()) return out;
  out.inputs = {model_,       state_.to(Device::cpu),  batch.points,
                batch.labels, config_.label_smoothing, config_.seed,
                at_.step};
  examine(out);
  return out;
}

StepResult Trainer::failed_step(const StepOutput& result, const PointBatch& batch) {
  auto failure = std::make_shared<const StepFailure>(failure_of(result, batch));
  if (config_.on_nonfinite == OnNonFinite::stop) throw NonFiniteStep(failure, kHint);
  if (at_.skipped_in_row >= config_.nonfinite_limit) {
    throw NonFiniteStep(failure, str("; ", at_.skipped_in_row,
                                     " steps before it were skipped (--nonfinite-limit)", kHint));
  }
  const double lr = learning_rate(schedule_.scale(at_.step));
  ++at_.skipped;
  ++at_.skipped_in_row;
  ++at_.epoch_skipped;
  ++at_.step;
  return {result.loss, result.norm, lr, std::move(failure)};
}

StepResult Trainer::step_within(const RunDir& dir, MetricsFile& metrics) {
  try {
    StepResult result = step();
    if (result.skipped) report_skipped(dir, metrics, *result.skipped);
    return result;
  } catch (const NonFiniteStep& seen) {
    report_stopped(dir, metrics, seen);
  }
}

// Only the first of a run leaves a bundle: they are as large as a checkpoint.
void Trainer::report_skipped(const RunDir& dir, MetricsFile& metrics,
                             const StepFailure& failure) const {
  std::string where;
  if (at_.skipped == 1) where = str("; bundle: ", write_bundle(dir.path(), failure).string());
  Record line;
  line.add("event", "skipped_step");
  line.append(failure.record());
  metrics.append(line.add("skipped_in_row", at_.skipped_in_row).add("skipped_steps", at_.skipped));
  log_message(LogLevel::warning, str("skipped: ", failure.sentence(), "; ", at_.skipped_in_row,
                                     " in a row, ", at_.skipped, " in all", where));
}

// The weights are overwritten before their device tells the loss; the steps since the newest
// checkpoint lead to them once more, to the same bits.
std::shared_ptr<const StepFailure> Trainer::repeated_failure(const RunDir& dir,
                                                             const NonFiniteStep& seen) {
  Trainer again(config_, data_, true);
  const auto newest = read_newest_checkpoint(dir.checkpoints());
  if (newest && newest->step <= at_.step) again.restore(*newest);
  log_line(str("step ", at_.step + 1, " is not finite; looking for the op from step ",
               again.steps_done(), " on"));
  try {
    while (again.steps_done() < at_.step || again.epoch_is_full()) {
      if (again.epoch_is_full()) {
        again.finish_epoch(nullptr, {});
      } else {
        again.step();
      }
    }
    again.step();
  } catch (const NonFiniteStep& repeated) {
    return repeated.failure();
  }
  return seen.failure();
}

void Trainer::report_stopped(const RunDir& dir, MetricsFile& metrics, const NonFiniteStep& seen) {
  std::shared_ptr<const StepFailure> failure = seen.failure();
  std::string sentence = seen.what();
  if (!failure->examined) {
    failure = repeated_failure(dir, seen);
    sentence = failure->examined
                   ? failure->sentence() + kHint
                   : sentence + "; from the last checkpoint on it did not happen again";
  }
  Record line;
  line.add("event", "failed_step");
  line.append(failure->record());
  std::string where;
  try {
    metrics.append(line);
    metrics.sync();
    if (failure->examined) {
      where = "; again: train_modelnet --replay " + write_bundle(dir.path(), *failure).string();
    }
  } catch (const Error& e) {  // a full disk does not hide what happened
    where = str("; its bundle cannot be written: ", e.what());
  }
  fail(ErrorKind::numerical, sentence, where);
}

}  // namespace basin
