// The loop: steps, evaluations, checkpoints, in an order that a resumed run repeats.
#include "basin/train/trainer.h"

#include <algorithm>
#include <cmath>

#include "basin/core/clock.h"
#include "basin/core/io.h"
#include "basin/core/log.h"

namespace basin {
namespace {

// Four decimals, or four digits of what they would hide.
std::string loss_text(double loss) {
  return std::abs(loss) >= 0.1 ? fixed_text(loss, 4) : short_text(loss, 4);
}

// A training loss that much above the one before is worth a warning: networks that explode (EGNN's
// coordinates do, under large rates) often stay finite and never recover.
constexpr double kRise = 1.1;

// The optimizer's own defaults where nothing was said.
OptimizerConfig with_defaults(OptimizerConfig config) {
  const OptimizerInfo& info = optimizer_info(config.name);
  if (!config.lr) config.lr = info.default_lr;
  if (!config.weight_decay) config.weight_decay = info.default_weight_decay;
  return config;
}

TrainOptions completed(TrainOptions options) {
  check(options.steps > 0 || options.epochs > 0,
        "training: expected at least one epoch or one step");
  check(options.batch > 0 && options.eval_batch > 0, "training: expected batches of at least one ",
        "example, given ", options.batch, " and ", options.eval_batch);
  options.optimizer = with_defaults(std::move(options.optimizer));
  return options;
}

RunLength run_length(const TrainOptions& options, int64_t steps_per_epoch) {
  return {options.steps > 0 ? options.steps : options.epochs * steps_per_epoch, steps_per_epoch,
          options.first_step};
}

OptimizerConfig of_run(OptimizerConfig config, const RunLength& run) {
  config.run = run;
  return config;
}

StepOptions step_options(const TrainOptions& options, bool guarded,
                         const std::vector<Slot>& slots) {
  return {.clip = options.clip,
          .seed = options.seed,
          .batch = options.batch,
          .graph = options.graph,
          .guarded = guarded || options.on_nonfinite == OnNonFinite::skip,
          .microbatches = options.microbatches,
          .processes = options.processes,
          .slots = slots};
}

std::string percent(double share) { return fixed_text(100 * share, 2) + " %"; }

std::string metrics_text(const std::vector<Metric>& metrics, const std::vector<double>& values) {
  std::string out;
  for (size_t i = 0; i < values.size(); ++i) {
    out += str(i > 0 ? ", " : "", metrics[i].name, " ", metric_text(metrics[i], values[i]));
  }
  return out;
}

}  // namespace

std::string metric_text(const Metric& metric, double value) {
  if (metric.unit == "%") return percent(value);
  return short_text(value, 4) + (metric.unit.empty() ? "" : " " + metric.unit);
}

Trainer::Trainer(const Task& task, const TrainOptions& options, bool guarded)
    : task_(std::make_shared<const Task>(task)),
      options_(completed(options)),
      state_(init_model(task_->model, options_.seed, options_.dtype).to(options_.device)),
      source_(task_->source({.split = Split::train,
                             .training = true,
                             .batch = options_.batch,
                             .seed = options_.seed,
                             .prefetch = true})),
      optimizer_(make_optimizer(
          of_run(options_.optimizer, run_length(options_, source_->batches())), state_.params)),
      step_(*task_, state_, *optimizer_, step_options(options_, guarded, source_->slots())),
      feed_(*source_, step_),
      probe_(first_rank() ? options_.probe : ProbePlan{}, *task_, options_.dtype, options_.seed),
      train_meter_(task_->train_meter && first_rank() ? task_->train_meter() : nullptr),
      steps_per_epoch_(source_->batches()) {
  check(steps_per_epoch_ > 0, "training: the source gives no batch");
  const int64_t length = run_length(options_, steps_per_epoch_).steps;
  total_steps_ = options_.first_step + length;
  schedule_ = Schedule(parse_schedule(options_.schedule, length, steps_per_epoch_));
  if (optimizer_->loss_use() == LossUse::line_search && steps_per_epoch_ > 1) {
    log_message(LogLevel::warning, str(optimizer_->name(),
                                       " searches along a line, which the noise of minibatches "
                                       "misleads; give it all ",
                                       source_->examples(), " examples as one batch"));
  }
}

std::shared_ptr<const Source> Trainer::evaluation_source(Split split) const {
  return task_->source({.split = split, .batch = options_.eval_batch, .prefetch = true});
}

Evaluation Trainer::test() const {
  return *evaluate(*task_, state_, *evaluation_source(Split::test), {}, options_.processes);
}

double Trainer::learning_rate(int64_t step) const {
  const double scale = schedule_scale(step);
  const auto made = optimizer_->in_charge({.step = step, .lr_scale = scale});
  return made ? made->lr : *options_.optimizer.lr * scale;
}

void Trainer::add_optimizer(Record& line, int64_t step) const {
  if (const auto made = optimizer_->in_charge({.step = step})) line.add("optimizer", made->rule);
}

StepResult Trainer::step() {
  const auto place = [&](int64_t step) {
    return std::pair(step / steps_per_epoch_, step % steps_per_epoch_);
  };
  const auto [epoch, index] = place(at_.step);
  const Batch batch = feed_.take(epoch, index);
  const double scale = schedule_scale(at_.step);
  step_.start(at_.step, scale);
  if (at_.step + 1 < total_steps_) {
    const auto [next_epoch, next_index] = place(at_.step + 1);
    feed_.send_ahead(next_epoch, next_index);
  }
  const StepOutput result = step_.finish();
  if (!result.finite()) return failed_step(result, batch);
  at_.skipped_in_row = 0;
  count(result, batch);
  ++at_.step;
  ++at_.steps;
  return {result.loss, result.norm, learning_rate(at_.step - 1), result.terms};
}

void Trainer::count(const StepOutput& result, const Batch& batch) {
  at_.loss_sum += result.loss * static_cast<double>(batch.examples);
  at_.norm_sum += result.norm;
  at_.evaluations += result.evaluations;
  at_.seen += batch.examples;
  at_.term_names = result.term_names;
  at_.term_sums.resize(result.terms.size());
  for (size_t i = 0; i < result.terms.size(); ++i) {
    at_.term_sums[i] += result.terms[i] * static_cast<double>(batch.examples);
  }
  if (train_meter_) train_meter_->add(batch, task_->predict(result.outputs, batch));
}

bool Trainer::evaluation_due() const {
  if (at_.steps == 0) return false;
  return at_.step % options_.eval_every.in_steps(steps_per_epoch_) == 0 || at_.step == total_steps_;
}

bool Trainer::checkpoint_due() const {
  return at_.step % options_.checkpoint_every.in_steps(steps_per_epoch_) == 0 ||
         at_.step == total_steps_;
}

void Trainer::log_step(MetricsFile& metrics, const StepResult& result) const {
  if (options_.log_every == 0 || at_.step % options_.log_every != 0) return;
  Record line;
  line.add("event", "step")
      .add("epoch", epoch_of_last_step())
      .add("step", at_.step)
      .add("loss", result.loss)
      .add("lr", result.lr)
      .add("grad_norm", result.grad_norm);
  add_optimizer(line, at_.step - 1);
  for (size_t i = 0; i < result.terms.size(); ++i) {
    line.add("loss_" + at_.term_names[i], result.terms[i]);
  }
  metrics.append(line);
}

bool Trainer::note_best(const Evaluation& validation) {
  const bool larger = task_->metrics.front().larger_is_better;
  bool found = false;
  const auto note = [&](Best& best, double value) {
    const bool better = larger ? value > best.value : value < best.value;
    if (best.epoch > 0 && !better) return;
    best = {epoch_of_last_step(), at_.step, value, at_.test.values};
    found = true;
  };
  if (at_.test.examples > 0) note(at_.best_test, at_.test.values.front());
  if (validation.examples > 0) note(at_.best_val, validation.values.front());
  return found;
}

// What a plateau looks at: the validation loss, or, of a task that has none, its first metric as a
// quantity to be made small; without a validation split the training loss.
void Trainer::observe(const Evaluation& validation) {
  if (validation.examples == 0) {
    if (at_.seen > 0) schedule_.observe(at_.train_loss);
    return;
  }
  const std::vector<Metric>& metrics = task_->metrics;
  const auto loss = std::find_if(metrics.begin(), metrics.end(),
                                 [](const Metric& m) { return m.name == "loss"; });
  if (loss != metrics.end()) {
    schedule_.observe(validation.values[static_cast<size_t>(loss - metrics.begin())]);
  } else {
    const double first = validation.values.front();
    schedule_.observe(metrics.front().larger_is_better ? -first : first);
  }
}

bool Trainer::evaluate_here(MetricsFile* metrics, const TrainHooks& hooks) {
  const double start = seconds_now();
  const auto stop = [&] { return hooks.stop && hooks.stop() != 0; };
  const auto measure = [&](Split split) -> std::optional<Evaluation> {
    if (!task_->has(split)) return Evaluation{};
    return evaluate(*task_, state_, *evaluation_source(split), stop, options_.processes);
  };
  const std::optional<Evaluation> tested = measure(Split::test);
  if (!tested) return false;
  const std::optional<Evaluation> validation = measure(Split::validation);
  if (!validation) return false;
  at_.test = *tested;
  const double before = at_.train_loss;  // 0 at the first
  at_.train_loss = at_.loss_sum / static_cast<double>(at_.seen);
  const bool rose = before > 0 && at_.train_loss > kRise * before;
  if (train_meter_) {
    at_.train_metrics = train_meter_->result();
    at_.train_metrics.resize(task_->train_metrics.size());
  }
  best_unsaved_ = note_best(*validation) || best_unsaved_;
  const double seconds = seconds_now() - start;
  at_.seconds += seconds;
  if (metrics != nullptr) report_evaluation(*metrics, *validation, seconds, rose, hooks);
  if (metrics != nullptr && rose) {
    log_message(LogLevel::warning,
                str("the training loss rose from ", fixed_text(before, 4), " to ",
                    fixed_text(at_.train_loss, 4),
                    " from one evaluation to the next; if it does not come back, try a lower --lr, "
                    "--warmup or --clip"));
  }
  observe(*validation);
  at_.loss_sum = at_.norm_sum = at_.period_seconds = 0;
  at_.term_sums.clear();
  at_.seen = at_.steps = at_.period_skipped = 0;
  if (train_meter_) train_meter_ = task_->train_meter();
  at_.saved_step = -1;
  return true;
}

// `seconds`: what the evaluation took.
void Trainer::report_evaluation(MetricsFile& metrics, const Evaluation& validation, double seconds,
                                bool rose, const TrainHooks& hooks) const {
  const int64_t epoch = epoch_of_last_step();
  const double speed = static_cast<double>(at_.seen) / at_.period_seconds;
  const bool whole = at_.step % steps_per_epoch_ == 0 || at_.step == total_steps_;
  Record line;
  line.add("event", whole ? "epoch" : "evaluation")
      .add("epoch", epoch)
      .add("step", at_.step)
      .add("train_loss", at_.train_loss);
  const auto add = [&](const std::string& prefix, const std::vector<Metric>& named,
                       const std::vector<double>& values) {
    for (size_t i = 0; i < values.size(); ++i) line.add(prefix + named[i].name, values[i]);
  };
  for (size_t i = 0; i < at_.term_sums.size(); ++i) {
    line.add("train_loss_" + at_.term_names[i], at_.term_sums[i] / static_cast<double>(at_.seen));
  }
  add("train_", task_->train_metrics, at_.train_metrics);
  line.add("train_loss_rose", rose);
  add("val_", task_->metrics, validation.values);
  add("test_", task_->metrics, at_.test.values);
  line.add("lr", learning_rate(at_.step - 1))
      .add("grad_norm", at_.norm_sum / static_cast<double>(at_.steps - at_.period_skipped))
      .add("skipped_steps", at_.skipped);
  if (optimizer_->loss_use() != LossUse::given) line.add("evaluations", at_.evaluations);
  add_optimizer(line, at_.step - 1);
  line.add("seconds", at_.period_seconds + seconds).add("examples_per_second", speed);
  metrics.append(line);
  if (!hooks.log) return;
  const std::string trained = metrics_text(task_->train_metrics, at_.train_metrics);
  const std::string tested = metrics_text(task_->metrics, at_.test.values);
  hooks.log(str(whole ? str("epoch ", epoch) : str("step ", at_.step), "  train ",
                loss_text(at_.train_loss), trained.empty() ? "" : ", ", trained,
                tested.empty() ? "" : "; test ", tested, "; ",
                fixed_text(at_.period_seconds + seconds, 1), " s, ", fixed_text(speed, 0), " ",
                task_->example, "s/s"));
}

void Trainer::save(const fs::path& folder, MetricsFile& metrics) {
  if (at_.saved_step == at_.step) return;
  metrics.sync();
  at_.metrics_bytes = metrics.bytes();
  at_.saved_step = at_.step;
  best_unsaved_ = false;
  if (!first_rank()) return;
  write_checkpoint(folder / "ckpt", at_.step, state_file(state_), optimizer_->save(),
                   position_record());
  prune(folder);
}

// The current one is named because later ones may lie there, damaged: a resume skipped them.
void Trainer::prune(const fs::path& folder) const {
  prune_checkpoints(folder / "ckpt", options_.keep,
                    {at_.step, at_.best_test.step, at_.best_val.step});
}

std::unique_ptr<MetricsFile> Trainer::open_metrics(const fs::path& folder) const {
  make_folder(folder);
  return std::make_unique<MetricsFile>(folder / "metrics.jsonl", at_.metrics_bytes);
}

TrainOutcome Trainer::run(const fs::path& folder, const TrainHooks& given) {
  check(at_.step >= options_.first_step, "training: begins at step ", options_.first_step,
        ", where another run ended; its checkpoint was not taken over");
  TrainHooks hooks = given;
  if (given.stop) {
    hooks.stop = [&] { return largest(*options_.processes, given.stop()); };
  }
  const auto opened = first_rank() ? open_metrics(folder) : std::make_unique<MetricsFile>();
  MetricsFile& metrics = *opened;
  if (first_rank())
    prune(folder);  // a run that was killed between a checkpoint and this left it to us
  TrainOutcome out;
  while (out.signal == 0 && (at_.step < total_steps_ || evaluation_due())) {
    if (evaluation_due()) {
      if (hooks.progress) hooks.progress(*this, nullptr);
      const bool finished = evaluate_here(&metrics, hooks);
      if (finished && (checkpoint_due() || best_unsaved_)) save(folder, metrics);
    } else {
      const double start = seconds_now();
      // Probed before the evaluation of this step, so that a run stopped within that one resumes
      // behind the probe.
      const bool probed = probe_.due(at_.step + 1, steps_per_epoch_);
      if (probed) probe_.watch(*optimizer_);
      const StepResult result = step_within(folder, metrics, hooks);
      at_.period_seconds += seconds_now() - start;
      at_.seconds += seconds_now() - start;
      if (!result.skipped) log_step(metrics, result);
      if (probed) probe_.unwatch(*optimizer_);
      if (probed && !result.skipped) {
        probe_.measure(state_, epoch_of_last_step(), at_.step, result.lr, metrics);
      }
      if (hooks.progress) hooks.progress(*this, &result);
      if (checkpoint_due() && !evaluation_due()) save(folder, metrics);
    }
    out.signal = hooks.stop ? hooks.stop() : 0;
    if (out.signal != 0) save(folder, metrics);
  }
  out.completed = at_.step >= total_steps_ && !evaluation_due();
  if (out.completed) out.signal = 0;
  out.result = result();
  return out;
}

}  // namespace basin
