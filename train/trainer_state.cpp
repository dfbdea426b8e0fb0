// What of a training run goes into state.json, how it comes back, and the summary of a run.
#include "basin/core/log.h"
#include "basin/core/parallel.h"
#include "basin/core/version.h"
#include "basin/train/trainer.h"

namespace basin {
namespace {

// 1: a classifier of point clouds, evaluated after every epoch. 2: the names are the task's.
constexpr int kFormat = 2;
constexpr std::string_view kSchedule = "schedule.";
constexpr const char* kFitted = "fitted.";
constexpr const char* kSince = "since_";  // the last evaluation; of format 1:
constexpr const char* kEpoch = "epoch_";

std::string build_id() {
  const VersionInfo& v = version_info();
  return str(v.version, " ", v.git_hash, v.git_dirty ? "-dirty " : " ", v.compiler, " ",
             v.build_type, " ", v.flags);
}

void add_metrics(Record& out, const std::string& prefix, const std::vector<Metric>& metrics,
                 const std::vector<double>& values) {
  for (size_t i = 0; i < values.size(); ++i) out.add(prefix + metrics[i].name, values[i]);
}

// As many as were there: a run that has not been evaluated yet has none.
std::vector<double> read_metrics(const RecordFields& in, const std::string& prefix,
                                 const std::vector<Metric>& metrics) {
  std::vector<double> out;
  for (const Metric& m : metrics) {
    if (in.has(prefix + m.name)) out.push_back(in.number(prefix + m.name));
  }
  return out;
}

void add_best(Record& out, const std::string& prefix, const std::vector<Metric>& metrics,
              const Best& best) {
  out.add(prefix + "_epoch", best.epoch)
      .add(prefix + "_step", best.step)
      .add(prefix + "_value", best.value);
  add_metrics(out, prefix + "_", metrics, best.test);
}

Best read_best(const RecordFields& in, const std::string& prefix,
               const std::vector<Metric>& metrics) {
  Best best;
  best.epoch = in.integer(prefix + "_epoch");
  best.step = in.integer(prefix + "_step");
  const std::string value = prefix + "_value";
  best.value = in.number(in.has(value) ? value : prefix + "_accuracy");  // of format 1
  best.test = read_metrics(in, prefix + "_", metrics);
  return best;
}

// "overall_accuracy:%,loss:": names and units, for readers of the record.
std::string metrics_text(const std::vector<Metric>& metrics) {
  std::string out;
  for (const Metric& m : metrics) out += str(out.empty() ? "" : ",", m.name, ":", m.unit);
  return out;
}

std::map<std::string, std::string> under(const RecordFields& in, std::string_view prefix) {
  std::map<std::string, std::string> out;
  for (const auto& [key, value] : in.values()) {
    if (key.starts_with(prefix)) out[key.substr(prefix.size())] = value;
  }
  return out;
}

}  // namespace

Record Trainer::position_record() const {
  const std::string since = kSince;
  Record out;
  out.add("format", kFormat)
      .add("task", std::string_view(task_->name))
      .add("step", at_.step)
      .add("epoch", at_.step / steps_per_epoch_)
      .add("batch", at_.step % steps_per_epoch_)
      .add(since + "steps", at_.steps)
      .add(since + "examples", at_.seen)
      .add(since + "loss_sum", at_.loss_sum)
      .add(since + "norm_sum", at_.norm_sum)
      .add(since + "seconds", at_.period_seconds)
      .add(since + "skipped", at_.period_skipped)
      .add(since + "terms", static_cast<int64_t>(at_.term_sums.size()));
  for (size_t i = 0; i < at_.term_sums.size(); ++i) {
    out.add(str(since, "term_", i), std::string_view(at_.term_names[i]))
        .add(str(since, "term_sum_", i), at_.term_sums[i]);
  }
  if (train_meter_) {
    const RecordFields saved = parse_record(train_meter_->save().line(), "meter");
    for (const auto& [key, value] : saved.values()) {
      out.add(since + "meter_" + key, std::string_view(value));
    }
  }
  out.add("seconds", at_.seconds)
      .add("skipped_steps", at_.skipped)
      .add("skipped_in_row", at_.skipped_in_row)
      .add("metrics_bytes", static_cast<int64_t>(at_.metrics_bytes))
      .add("train_loss", at_.train_loss);
  if (optimizer_->loss_use() != LossUse::given) out.add("evaluations", at_.evaluations);
  add_metrics(out, "train_", task_->train_metrics, at_.train_metrics);
  out.add("test_examples", at_.test.examples);
  add_metrics(out, "test_", task_->metrics, at_.test.values);
  add_best(out, "best_test", task_->metrics, at_.best_test);
  add_best(out, "best_val", task_->metrics, at_.best_val);
  for (const auto& [key, value] : schedule_.save()) {
    out.add(std::string(kSchedule) + key, std::string_view(value));
  }
  for (const auto& [key, value] : task_->fitted) out.add(kFitted + key, std::string_view(value));
  return out.add("config_hash", options_.config_hash)
      .add("data_hash", task_->data().hash)
      .add("build", build_id());
}

Trainer::Position Trainer::position_from(const RecordFields& in) const {
  const bool old = in.integer("format") == 1;
  const std::string since = old ? kEpoch : kSince;
  Position at;
  at.step = at.saved_step = in.integer("step");
  at.loss_sum = in.number(since + "loss_sum");
  at.norm_sum = in.number(since + "norm_sum");
  at.period_seconds = in.number(since + "seconds");
  at.seconds = in.number("seconds");
  if (in.has("skipped_steps")) {  // later than the first checkpoints of format 1
    at.skipped = in.integer("skipped_steps");
    at.skipped_in_row = in.integer("skipped_in_row");
    at.period_skipped = in.integer(since + "skipped");
  }
  if (old) {
    at.seen = in.integer("epoch_seen");
    at.steps = at.step % steps_per_epoch_;
    // An epoch whose evaluation was cut short.
    if (at.steps == 0 && at.seen > 0) at.steps = steps_per_epoch_;
  } else {
    at.seen = in.integer(since + "examples");
    at.steps = in.integer(since + "steps");
    for (int64_t i = 0; i < in.integer(since + "terms"); ++i) {
      at.term_names.push_back(in.text(str(since, "term_", i)));
      at.term_sums.push_back(in.number(str(since, "term_sum_", i)));
    }
  }
  if (in.has("evaluations")) at.evaluations = in.integer("evaluations");
  at.metrics_bytes = static_cast<uint64_t>(in.integer("metrics_bytes"));
  at.train_loss = in.number("train_loss");
  at.train_metrics = read_metrics(in, "train_", task_->train_metrics);
  at.test.values = read_metrics(in, "test_", task_->metrics);
  at.test.examples = old ? task_->data().test : in.integer("test_examples");
  at.best_test = read_best(in, "best_test", task_->metrics);
  at.best_val = read_best(in, "best_val", task_->metrics);
  return at;
}

void Trainer::check_origin(const Checkpoint& checkpoint, bool same_settings) const {
  const RecordFields& in = checkpoint.state;
  const std::string source = checkpoint.path.string();
  const int64_t format = in.integer("format");
  if (format != 1 && format != kFormat) {
    fail(ErrorKind::data, source, ": state.json has format ", in.text("format"), ", expected ",
         kFormat);
  }
  if (format == kFormat) {
    check(in.text("task") == task_->name, source, " was trained on the task ", in.text("task"),
          ", this one is ", task_->name);
    check(!same_settings || in.text("config_hash") == options_.config_hash, source,
          " was written with other settings; repeat those of its config.toml");
  }
  const DataFacts data = task_->data();
  check(in.text("data_hash") == data.hash, "the data (", data.description, ") are not those that ",
        source, " was trained on");
  if (in.text("build") != build_id()) {
    log_message(LogLevel::warning, str(source, " was written by another build (", in.text("build"),
                                       "); the bits of the continuation may differ"));
  }
}

// All but the schedule.
void Trainer::take_over(const Checkpoint& checkpoint, const Position& at) {
  const RecordFields& in = checkpoint.state;
  load_state(checkpoint.model, checkpoint.path.string(), state_);
  optimizer_->load(checkpoint.optimizer);
  if (train_meter_) {
    const bool old = in.integer("format") == 1;
    train_meter_->load(in, old ? std::string(kEpoch) : std::string(kSince) + "meter_");
  }
  at_ = at;
}

void Trainer::restore(const Checkpoint& checkpoint) {
  check_origin(checkpoint, true);
  const Position at = position_from(checkpoint.state);
  schedule_.load(under(checkpoint.state, kSchedule));
  take_over(checkpoint, at);
}

void Trainer::extend(const Checkpoint& checkpoint) {
  check_origin(checkpoint, false);
  Position at = position_from(checkpoint.state);
  check(at.step == options_.first_step, checkpoint.path.string(), " ends at step ", at.step,
        ", the run that extends it is to begin at ", options_.first_step);
  at.best_test = at.best_val = {};
  at.saved_step = -1;
  take_over(checkpoint, at);
}

Record Trainer::result() const {
  const DataFacts data = task_->data();
  const std::string examples = "_" + task_->example + "s";
  Record out;
  out.add("task", std::string_view(task_->name))
      .add("model", std::string_view(task_->model.name))
      .add("preset", std::string_view(task_->model.preset))
      .add("optimizer", std::string_view(options_.optimizer.name));
  const auto change = options_.optimizer.options.find("switch");
  if (change != options_.optimizer.options.end() && !change->second.empty()) {
    out.add("optimizer_switch", std::string_view(change->second));
  }
  out.add("lr", *options_.optimizer.lr)
      .add("weight_decay", *options_.optimizer.weight_decay)
      .add("schedule", std::string_view(options_.schedule))
      .add("batch", options_.batch);
  out.append(task_->facts);
  out.add("seed", static_cast<int64_t>(options_.seed))
      .add("dtype", name_of(options_.dtype))
      .add("threads", num_threads())
      .add("parameters", state_.params.total_elements())
      .add("data", std::string_view(data.source))
      .add("data_hash", std::string_view(data.hash))
      .add("train" + examples, data.train)
      .add("test" + examples, data.test)
      .add("epochs", at_.step / steps_per_epoch_)
      .add("steps", at_.step)
      .add("skipped_steps", at_.skipped)
      .add("completed", at_.step >= total_steps_);
  if (optimizer_->loss_use() != LossUse::given) out.add("evaluations", at_.evaluations);
  out.add("train_loss", at_.train_loss);
  add_metrics(out, "train_", task_->train_metrics, at_.train_metrics);
  out.add("metrics", std::string_view(metrics_text(task_->metrics)));
  for (size_t i = 0; i < at_.test.values.size(); ++i) {
    // The loss says of which split it is, as it always has.
    const std::string& name = task_->metrics[i].name;
    out.add(name == "loss" ? "last_test_loss" : "last_" + name, at_.test.values[i]);
  }
  out.add("best_epoch", at_.best_test.epoch).add("best_step", at_.best_test.step);
  add_metrics(out, "best_", task_->metrics, at_.best_test.test);
  if (data.validation > 0) {
    out.add("validation" + examples, data.validation)
        .add("best_val_epoch", at_.best_val.epoch)
        .add("best_val_step", at_.best_val.step)
        .add("best_val_value", at_.best_val.value);
    add_metrics(out, "best_val_", task_->metrics, at_.best_val.test);
  }
  return out.add("seconds", at_.seconds);
}

}  // namespace basin
