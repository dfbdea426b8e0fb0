// What a training run does about a step that is not finite: skip it, or look for the op and end.
#include <cmath>

#include "basin/core/log.h"
#include "basin/train/microbatch.h"
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

std::vector<std::string> names_of(const std::vector<Slot>& slots) {
  std::vector<std::string> names;
  for (const Slot& slot : slots) names.push_back(slot.name);
  return names;
}

}  // namespace

StepFailure Trainer::failure_of(const StepOutput& result, const Batch& batch) const {
  StepFailure out;
  out.epoch = at_.step / steps_per_epoch_ + 1;
  out.step = at_.step + 1;
  out.batch = at_.step % steps_per_epoch_ + 1;
  const Batch part =
      microbatch_of(*task_, batch, source_->slots(), result.microbatch, options_.microbatches);
  out.rows = part.rows;
  out.loss = result.loss;
  out.grad_norm = result.norm;
  out.gradient = first_non_finite(state_.params, result.squares);
  out.inputs.task = task_;
  const DataFacts data = task_->data();
  out.facts.add("optimizer", options_.optimizer.name)
      .add("lr", learning_rate(at_.step))
      .add("clip", options_.clip)
      .add("device", name_of(step_.device()))
      .add("data", data.source)
      .add("data_hash", data.hash)
      .add("config_hash", options_.config_hash);
  if (!step_.keeps_state()) return out;
  out.inputs.state = state_.to(Device::cpu);
  out.inputs.batch = part;
  out.inputs.slots = names_of(source_->slots());
  out.inputs.seed = options_.seed;
  out.inputs.step = at_.step;
  out.inputs.microbatches = options_.microbatches;
  out.inputs.microbatch = result.microbatch;
  if (first_rank()) examine(out);
  return out;
}

StepResult Trainer::failed_step(const StepOutput& result, const Batch& batch) {
  auto failure = std::make_shared<const StepFailure>(failure_of(result, batch));
  if (options_.on_nonfinite == OnNonFinite::stop) throw NonFiniteStep(failure, kHint);
  if (at_.skipped_in_row >= options_.nonfinite_limit) {
    throw NonFiniteStep(failure, str("; ", at_.skipped_in_row,
                                     " steps before it were skipped (--nonfinite-limit)", kHint));
  }
  optimizer_->look_back(state_.params);
  const double lr = learning_rate(at_.step);
  ++at_.skipped;
  ++at_.skipped_in_row;
  ++at_.period_skipped;
  ++at_.step;
  ++at_.steps;
  return {result.loss, result.norm, lr, {}, std::move(failure)};
}

StepResult Trainer::step_within(const fs::path& folder, MetricsFile& metrics,
                                const TrainHooks& hooks) {
  try {
    StepResult result = step();
    if (result.skipped) report_skipped(folder, metrics, *result.skipped);
    return result;
  } catch (const NonFiniteStep& seen) {
    report_stopped(folder, metrics, seen, hooks);
  }
}

// Only the first of a run leaves a bundle: they are as large as a checkpoint.
void Trainer::report_skipped(const fs::path& folder, MetricsFile& metrics,
                             const StepFailure& failure) const {
  if (!first_rank()) return;
  std::string where;
  if (at_.skipped == 1) where = str("; bundle: ", write_bundle(folder, failure).string());
  Record line;
  line.add("event", "skipped_step");
  line.append(failure.record());
  metrics.append(line.add("skipped_in_row", at_.skipped_in_row).add("skipped_steps", at_.skipped));
  log_message(LogLevel::warning, str("skipped: ", failure.sentence(), "; ", at_.skipped_in_row,
                                     " in a row, ", at_.skipped, " in all", where));
}

// The weights are overwritten before their device tells the loss; the steps since the newest
// checkpoint lead to them once more, to the same bits.
std::shared_ptr<const StepFailure> Trainer::repeated_failure(const fs::path& folder,
                                                             const NonFiniteStep& seen) {
  Trainer again(*task_, options_, true);
  const auto newest = read_newest_checkpoint(folder / "ckpt");
  if (newest && newest->step <= at_.step) again.restore(*newest);
  log_message(LogLevel::info,
              str("step ", at_.step + 1, " is not finite; looking for the op from step ",
                  again.steps_done(), " on"));
  try {
    while (again.steps_done() < at_.step || again.evaluation_due()) {
      if (again.evaluation_due()) {
        again.evaluate_here(nullptr, {});
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

void Trainer::report_stopped(const fs::path& folder, MetricsFile& metrics,
                             const NonFiniteStep& seen, const TrainHooks& hooks) {
  if (!first_rank()) {
    wait_for_all(*options_.processes);  // until the bundle is written
    fail(ErrorKind::numerical, seen.what());
  }
  std::shared_ptr<const StepFailure> failure = seen.failure();
  std::string sentence = seen.what();
  if (!failure->examined) {
    failure = repeated_failure(folder, seen);
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
      const std::string bundle = write_bundle(folder, *failure).string();
      where = hooks.replay_command.empty() ? "; bundle: " + bundle
                                           : str("; again: ", hooks.replay_command, " ", bundle);
    }
  } catch (const Error& e) {  // a full disk does not hide what happened
    where = str("; its bundle cannot be written: ", e.what());
  }
  wait_for_all(*options_.processes);
  fail(ErrorKind::numerical, sentence, where);
}

}  // namespace basin
