// What of a training run goes into state.json, how it comes back, and the summary of a run.
#include "basin/core/log.h"
#include "basin/core/parallel.h"
#include "basin/core/version.h"
#include "basin/tools/shell/environment.h"
#include "basin/train/trainer.h"

namespace basin {
namespace {

constexpr int kFormat = 1;
constexpr std::string_view kSchedule = "schedule.";

std::string build_id() {
  const VersionInfo& v = version_info();
  return str(v.version, " ", v.git_hash, v.git_dirty ? "-dirty " : " ", v.compiler, " ",
             v.build_type, " ", v.flags);
}

void add_best(Record& out, const std::string& prefix, const Best& best) {
  out.add(prefix + "_epoch", best.epoch)
      .add(prefix + "_step", best.step)
      .add(prefix + "_accuracy", best.accuracy)
      .add(prefix + "_overall_accuracy", best.overall_accuracy)
      .add(prefix + "_mean_class_accuracy", best.mean_class_accuracy);
}

Best read_best(const RecordFields& in, const std::string& prefix) {
  Best best;
  best.epoch = in.integer(prefix + "_epoch");
  best.step = in.integer(prefix + "_step");
  best.accuracy = in.number(prefix + "_accuracy");
  best.overall_accuracy = in.number(prefix + "_overall_accuracy");
  best.mean_class_accuracy = in.number(prefix + "_mean_class_accuracy");
  return best;
}

std::map<std::string, std::string> schedule_state(const RecordFields& in) {
  std::map<std::string, std::string> out;
  for (const auto& [key, value] : in.values()) {
    if (key.starts_with(kSchedule)) out[key.substr(kSchedule.size())] = value;
  }
  return out;
}

}  // namespace

Record Trainer::position_json() const {
  Record out;
  out.add("format", kFormat)
      .add("step", at_.step)
      .add("epoch", at_.step / steps_per_epoch_)
      .add("batch", at_.step % steps_per_epoch_)
      .add("epoch_loss_sum", at_.loss_sum)
      .add("epoch_norm_sum", at_.norm_sum)
      .add("epoch_correct", at_.correct)
      .add("epoch_seen", at_.seen)
      .add("epoch_seconds", at_.epoch_seconds)
      .add("seconds", at_.seconds)
      .add("skipped_steps", at_.skipped)
      .add("skipped_in_row", at_.skipped_in_row)
      .add("epoch_skipped", at_.epoch_skipped)
      .add("metrics_bytes", static_cast<int64_t>(at_.metrics_bytes))
      .add("train_loss", at_.train_loss)
      .add("train_accuracy", at_.train_accuracy)
      .add("test_loss", at_.test.loss)
      .add("test_overall_accuracy", at_.test.overall_accuracy)
      .add("test_mean_class_accuracy", at_.test.mean_class_accuracy);
  add_best(out, "best_test", at_.best_test);
  add_best(out, "best_val", at_.best_val);
  for (const auto& [key, value] : schedule_.save()) {
    out.add(std::string(kSchedule) + key, std::string_view(value));
  }
  return out.add("config_hash", config_.config_hash)
      .add("data_hash", data_.hash)
      .add("build", build_id());
}

void Trainer::restore(const Checkpoint& checkpoint) {
  const RecordFields& in = checkpoint.state;
  const std::string source = checkpoint.path.string();
  if (in.integer("format") != kFormat) {
    fail(ErrorKind::data, source, ": state.json has format ", in.text("format"), ", expected ",
         kFormat);
  }
  check(in.text("config_hash") == config_.config_hash, "--resume: ", source,
        " was written with other settings; repeat those of its config.toml");
  check(in.text("data_hash") == data_.hash, "--resume: the data (", data_.description,
        ") are not those that ", source, " was trained on");
  if (in.text("build") != build_id()) {
    log_message(LogLevel::warning, str(source, " was written by another build (", in.text("build"),
                                       "); the bits of the continuation may differ"));
  }
  Position at;
  at.step = at.saved_step = in.integer("step");
  at.loss_sum = in.number("epoch_loss_sum");
  at.norm_sum = in.number("epoch_norm_sum");
  at.correct = in.integer("epoch_correct");
  at.seen = in.integer("epoch_seen");
  at.epoch_seconds = in.number("epoch_seconds");
  at.seconds = in.number("seconds");
  if (in.has("skipped_steps")) {  // later than the first checkpoints of this format
    at.skipped = in.integer("skipped_steps");
    at.skipped_in_row = in.integer("skipped_in_row");
    at.epoch_skipped = in.integer("epoch_skipped");
  }
  at.metrics_bytes = static_cast<uint64_t>(in.integer("metrics_bytes"));
  at.train_loss = in.number("train_loss");
  at.train_accuracy = in.number("train_accuracy");
  at.test.loss = in.number("test_loss");
  at.test.overall_accuracy = in.number("test_overall_accuracy");
  at.test.mean_class_accuracy = in.number("test_mean_class_accuracy");
  at.best_test = read_best(in, "best_test");
  at.best_val = read_best(in, "best_val");
  schedule_.load(schedule_state(in));
  load_state(checkpoint.model, source, state_);
  optimizer_->load(checkpoint.optimizer);
  at_ = at;
}

Record Trainer::result() const {
  Record out;
  out.add("model", config_.model.name)
      .add("preset", model_.preset)
      .add("optimizer", config_.optimizer.name)
      .add("lr", *config_.optimizer.lr)
      .add("weight_decay", *config_.optimizer.weight_decay)
      .add("schedule", config_.schedule)
      .add("batch", config_.batch)
      .add("points", config_.points)
      .add("augment", config_.augment.to_string())
      .add("seed", static_cast<int64_t>(config_.seed))
      .add("dtype", name_of(config_.dtype))
      .add("threads", num_threads())
      .add("parameters", state_.params.total_elements())
      .add("data", data_.train.source)
      .add("data_hash", data_.hash)
      .add("train_shapes", data_.train.size())
      .add("test_shapes", data_.test.size())
      .add("epochs", at_.step / steps_per_epoch_)
      .add("steps", at_.step)
      .add("skipped_steps", at_.skipped)
      .add("completed", at_.step >= total_steps_)
      .add("train_loss", at_.train_loss)
      .add("train_accuracy", at_.train_accuracy)
      .add("last_test_loss", at_.test.loss)
      .add("last_overall_accuracy", at_.test.overall_accuracy)
      .add("last_mean_class_accuracy", at_.test.mean_class_accuracy)
      .add("best_epoch", at_.best_test.epoch)
      .add("best_step", at_.best_test.step)
      .add("best_overall_accuracy", at_.best_test.overall_accuracy)
      .add("best_mean_class_accuracy", at_.best_test.mean_class_accuracy);
  if (data_.validation.size() > 0) {
    out.add("validation_shapes", data_.validation.size())
        .add("best_val_epoch", at_.best_val.epoch)
        .add("best_val_step", at_.best_val.step)
        .add("best_val_accuracy", at_.best_val.accuracy)
        .add("best_val_overall_accuracy", at_.best_val.overall_accuracy)
        .add("best_val_mean_class_accuracy", at_.best_val.mean_class_accuracy);
  }
  return out.add("seconds", at_.seconds).add("peak_rss_bytes", peak_rss_bytes());
}

}  // namespace basin
