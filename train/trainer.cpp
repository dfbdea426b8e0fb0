// The training loop: see trainer.h.
#include "basin/train/trainer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "basin/core/version.h"
#include "basin/tools/shell/environment.h"
#include "basin/tools/shell/progress.h"

namespace basin {
namespace {

// An epoch whose mean loss is that much above the one before is worth a warning: networks that
// explode (EGNN's coordinates do, under large rates) often stay finite and never recover.
constexpr double kRise = 1.1;

LoaderOptions train_options(const TrainConfig& config) {
  LoaderOptions o;
  o.batch = config.batch;
  o.points = config.points;
  o.drop_last = true;
  o.augment = config.augment;
  o.pose = config.pose.train;
  o.up = config.up;
  o.seed = config.seed;
  o.selection = config.selection;
  o.prefetch = true;
  return o;
}

ModelConfig with_classes(ModelConfig model, int64_t classes) {
  model.classes = classes;
  return model;
}

StepOptions step_options(const TrainConfig& config, bool guarded) {
  return {
      config.label_smoothing, config.clip,  config.seed,
      config.batch,           config.graph, guarded || config.on_nonfinite == OnNonFinite::skip};
}

template <class... A>
std::string format(const char* pattern, A... values) {
  std::array<char, 256> buffer{};
  std::snprintf(buffer.data(), buffer.size(), pattern, values...);
  return buffer.data();
}

std::string hash_of(const std::string& text) {
  return sha256_hex(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

}  // namespace

TrainData load_train_data(const TrainConfig& config) {
  LoadOptions load;
  load.points = config.selection == PointSelection::first ? config.points : 0;
  load.limit = config.limit;
  load.seed = config.seed;
  load.normalise = config.normalise;
  PointCloudSplits splits = load_dataset(config.data, load);
  TrainData out;
  out.description = splits.description;
  out.hash = hash_of(splits.train.content_hash + splits.test.content_hash);
  out.test = std::move(splits.test);
  if (config.val_fraction > 0) {
    Holdout parts = split_holdout(splits.train, config.val_fraction, config.seed);
    out.train = std::move(parts.train);
    out.validation = std::move(parts.held_out);
  } else {
    out.train = std::move(splits.train);
  }
  return out;
}

Trainer::Trainer(const TrainConfig& config, const TrainData& data, bool guarded)
    : config_(config),
      data_(data),
      model_(make_model(with_classes(config.model, data.train.classes()))),
      state_(init_model(model_, config.seed, config.dtype).to(config.device)),
      optimizer_(make_optimizer(config.optimizer, state_.params)),
      loader_(data.train, train_options(config)),
      step_(model_, state_, *optimizer_, step_options(config, guarded)),
      feed_(loader_, step_),
      probe_(config_, model_, data.train) {
  steps_per_epoch_ = loader_.batches_per_epoch();
  total_steps_ = config.steps > 0 ? config.steps : config.epochs * steps_per_epoch_;
  schedule_ = Schedule(parse_schedule(config.schedule, total_steps_, steps_per_epoch_));
}

LoaderOptions Trainer::eval_options() const {
  LoaderOptions o = evaluation_options(config_.eval_batch, config_.points, config_.pose.test,
                                       config_.up, config_.seed);
  o.prefetch = true;
  return o;
}

Evaluation Trainer::test() const { return *evaluate(model_, state_, data_.test, eval_options()); }

StepResult Trainer::step() {
  const auto place = [&](int64_t step) {
    return std::pair(step / steps_per_epoch_, step % steps_per_epoch_);
  };
  const auto [epoch, index] = place(at_.step);
  const PointBatch batch = feed_.take(epoch, index);
  const double scale = schedule_.scale(at_.step);
  step_.start(at_.step, scale);
  if (at_.step + 1 < total_steps_) {
    const auto [next_epoch, next_index] = place(at_.step + 1);
    feed_.send_ahead(next_epoch, next_index);
  }
  const StepOutput result = step_.finish();
  if (!result.finite()) return failed_step(result, batch);
  at_.skipped_in_row = 0;

  Tally tally(model_.classes);
  tally.add(result.logits, batch.labels);
  at_.loss_sum += result.loss * static_cast<double>(tally.total());
  at_.norm_sum += result.norm;
  at_.correct += tally.correct();
  at_.seen += tally.total();
  ++at_.step;
  return {result.loss, result.norm, learning_rate(scale)};
}

bool Trainer::epoch_is_full() const {
  return (at_.seen > 0 || at_.epoch_skipped > 0) &&
         (at_.step % steps_per_epoch_ == 0 || at_.step == total_steps_);
}

void Trainer::log_step(MetricsFile& metrics, const StepResult& result) const {
  if (config_.log_every == 0 || at_.step % config_.log_every != 0) return;
  metrics.append(Record()
                     .add("event", "step")
                     .add("epoch", (at_.step - 1) / steps_per_epoch_ + 1)
                     .add("step", at_.step)
                     .add("loss", result.loss)
                     .add("lr", result.lr)
                     .add("grad_norm", result.grad_norm));
}

void Trainer::note_best(const Evaluation& validation) {
  const int64_t epoch = (at_.step - 1) / steps_per_epoch_ + 1;
  const auto note = [&](Best& best, double accuracy) {
    if (best.epoch > 0 && accuracy <= best.accuracy) return;
    best = {epoch, at_.step, accuracy, at_.test.overall_accuracy, at_.test.mean_class_accuracy};
  };
  note(at_.best_test, at_.test.overall_accuracy);
  if (validation.examples > 0) note(at_.best_val, validation.overall_accuracy);
}

bool Trainer::finish_epoch(MetricsFile* metrics, const TrainHooks& hooks) {
  const double start = seconds_now();
  const auto stop = [&] { return hooks.stop && hooks.stop() != 0; };
  const auto tested = evaluate(model_, state_, data_.test, eval_options(), stop);
  std::optional<Evaluation> validation = Evaluation{};
  if (tested && data_.validation.size() > 0) {
    validation = evaluate(model_, state_, data_.validation, eval_options(), stop);
  }
  if (!tested || !validation) return false;
  at_.test = *tested;
  const double before = at_.train_loss;  // 0 in the first epoch
  at_.train_loss = at_.loss_sum / static_cast<double>(at_.seen);
  const bool rose = before > 0 && at_.train_loss > kRise * before;
  at_.train_accuracy = static_cast<double>(at_.correct) / static_cast<double>(at_.seen);
  note_best(*validation);
  const double seconds = seconds_now() - start;
  at_.seconds += seconds;
  if (metrics != nullptr) report_epoch(*metrics, *validation, seconds, rose);
  if (metrics != nullptr && rose) {
    warning_line(
        format("the training loss rose from %.4f to %.4f in one epoch; if it does not come "
               "back, try a lower --lr, --warmup or --clip",
               before, at_.train_loss));
  }
  if (validation->examples > 0 || at_.seen > 0) {
    schedule_.observe(validation->examples > 0 ? validation->loss : at_.train_loss);
  }
  at_.loss_sum = at_.norm_sum = at_.epoch_seconds = 0;
  at_.correct = at_.seen = at_.epoch_skipped = 0;
  at_.saved_step = -1;
  return true;
}

// `seconds`: what the evaluation took.
void Trainer::report_epoch(MetricsFile& metrics, const Evaluation& validation, double seconds,
                           bool rose) const {
  const int64_t epoch = (at_.step - 1) / steps_per_epoch_ + 1;
  const int64_t steps = at_.step - (epoch - 1) * steps_per_epoch_ - at_.epoch_skipped;
  const double speed = static_cast<double>(at_.seen) / at_.epoch_seconds;
  Record line;
  line.add("event", "epoch")
      .add("epoch", epoch)
      .add("step", at_.step)
      .add("train_loss", at_.train_loss)
      .add("train_accuracy", at_.train_accuracy)
      .add("train_loss_rose", rose);
  if (validation.examples > 0) {
    line.add("val_loss", validation.loss)
        .add("val_overall_accuracy", validation.overall_accuracy)
        .add("val_mean_class_accuracy", validation.mean_class_accuracy);
  }
  line.add("test_loss", at_.test.loss)
      .add("test_overall_accuracy", at_.test.overall_accuracy)
      .add("test_mean_class_accuracy", at_.test.mean_class_accuracy)
      .add("lr", learning_rate(schedule_.scale(at_.step - 1)))
      .add("grad_norm", at_.norm_sum / static_cast<double>(steps))
      .add("skipped_steps", at_.skipped)
      .add("seconds", at_.epoch_seconds + seconds)
      .add("examples_per_second", speed);
  metrics.append(line);
  log_line(format(
      "epoch %lld  train %.4f %5.2f %%  test %.4f %5.2f %% (class %5.2f %%)  %s, %.0f examples/s",
      static_cast<long long>(epoch), at_.train_loss, 100 * at_.train_accuracy, at_.test.loss,
      100 * at_.test.overall_accuracy, 100 * at_.test.mean_class_accuracy,
      duration_text(at_.epoch_seconds + seconds).c_str(), speed));
}

void Trainer::save(const RunDir& dir, MetricsFile& metrics) {
  if (at_.saved_step == at_.step) return;
  metrics.sync();
  at_.metrics_bytes = metrics.bytes();
  at_.saved_step = at_.step;
  write_checkpoint(dir.checkpoints(), at_.step, state_file(state_), optimizer_->save(),
                   position_json());
  prune(dir);
}

// The current one is named because later ones may lie there, damaged: a resume skipped them.
void Trainer::prune(const RunDir& dir) const {
  prune_checkpoints(dir.checkpoints(), config_.keep,
                    {at_.step, at_.best_test.step, at_.best_val.step});
}

TrainOutcome Trainer::run(const RunDir& dir, const TrainHooks& hooks) {
  MetricsFile metrics(dir.metrics_file(), at_.metrics_bytes);
  prune(dir);  // a run that was killed between a checkpoint and this left it to us
  std::unique_ptr<Progress> progress;
  TrainOutcome out;
  while (out.signal == 0 && (at_.step < total_steps_ || epoch_is_full())) {
    if (epoch_is_full()) {
      progress.reset();
      const bool finished = finish_epoch(&metrics, hooks);
      const int64_t epochs = at_.step / steps_per_epoch_;
      const bool due = at_.step == total_steps_ || epochs % config_.checkpoint_every == 0;
      if (finished && due) save(dir, metrics);
    } else {
      const double start = seconds_now();
      const int64_t epoch = at_.step / steps_per_epoch_ + 1;
      if (!progress && hooks.progress) {
        progress = std::make_unique<Progress>(str("epoch ", epoch), steps_per_epoch_);
      }
      // Probed before the epoch's evaluation, so that a run stopped within that one resumes behind
      // the probe.
      const bool probed = probe_.due(epoch) && at_.step + 1 == epoch * steps_per_epoch_;
      if (probed) probe_.watch(*optimizer_);
      const StepResult result = step_within(dir, metrics);
      at_.epoch_seconds += seconds_now() - start;
      at_.seconds += seconds_now() - start;
      if (!result.skipped) log_step(metrics, result);
      if (probed) probe_.unwatch(*optimizer_);
      if (probed && !result.skipped) {
        probe_.measure(state_, epoch, at_.step, result.lr, metrics);
      }
      if (progress) {
        progress->update(at_.step - (epoch - 1) * steps_per_epoch_,
                         format("loss %.4f lr %.2e", result.loss, result.lr));
      }
    }
    out.signal = hooks.stop ? hooks.stop() : 0;
    if (out.signal != 0) save(dir, metrics);
  }
  out.completed = at_.step >= total_steps_ && !epoch_is_full();
  if (out.completed) out.signal = 0;
  out.result = result();
  return out;
}

}  // namespace basin
