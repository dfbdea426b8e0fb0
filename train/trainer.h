// The training loop, blind to what a batch holds. Everything it does is a function of (task,
// options, step): batches, augmentation and dropout masks come from counter-based streams, so a
// state that is restored from a checkpoint continues bit for bit, and the number of threads changes
// nothing. Only the fields "seconds" and "examples_per_second" of the metrics depend on the clock.
//   A run's folder:  metrics.jsonl, ckpt/step-N/ (checkpoint.h), failure-step-N/ (step_failure.h)
//   A line "epoch" (or "evaluation", where it is not the end of an epoch) per evaluation: epoch,
//   step, train_loss (objective, mean since the last evaluation), train_<metric>, train_<term>
//   where the loss has several, [val_<metric>], test_<metric>, lr, grad_norm (mean), skipped_steps
//   (of the run so far), of an optimizer that looks at the loss again (LossUse) evaluations of it,
//   of the run so far, and where optimizers are switched optimizer, that of the last step, as in
//   lines "step" (the summary of such a run has optimizer_switch).
// A step whose loss or gradient is not finite is looked into (step_failure.h) and ends the run, or
// is skipped, as the options say (on_nonfinite).
#pragma once
#include <functional>
#include <memory>
#include <optional>

#include "basin/optim/registry.h"
#include "basin/optim/schedule.h"
#include "basin/train/checkpoint.h"
#include "basin/train/evaluate.h"
#include "basin/train/feed.h"
#include "basin/train/metrics_file.h"
#include "basin/train/period.h"
#include "basin/train/step_failure.h"
#include "basin/train/training_probe.h"

namespace basin {

// What a step does whose loss or gradient is not finite: end the run (exit code 4), or leave
// everything as it is and go on with the next batch, a limited number of times in a row.
enum class OnNonFinite : uint8_t { stop, skip };

struct TrainOptions {
  OptimizerConfig optimizer = {};
  std::string schedule = "cosine";  // text of parse_schedule, warm-up included
  int64_t epochs = 20;
  int64_t steps = 0;       // > 0: replaces epochs
  int64_t first_step = 0;  // a run that extends another begins there: see Trainer::extend
  int64_t batch = 32;
  int64_t microbatches = 1;  // train/microbatch.h; a multiple of the number of processes
  // That make the run together, each calling all of Trainer alike; its numbers depend on
  // `microbatches`, not on how many processes share them. Only rank 0 writes and measures.
  std::shared_ptr<Communicator> processes = one_process();
  int64_t eval_batch = 32;
  Period eval_every = {1, true};        // and at the end
  Period checkpoint_every = {1, true};  // and at the end, and where a best one was found
  double clip = 0;                      // global gradient norm; 0: off
  uint64_t seed = 0;                    // of weights and masks
  DType dtype = DType::f32;
  Device device = Device::cpu;
  GraphMode graph = GraphMode::automatic;
  int64_t keep = 2;        // checkpoints besides the best; 0: all
  int64_t log_every = 50;  // steps between step lines in metrics.jsonl; 0: none
  OnNonFinite on_nonfinite = OnNonFinite::stop;
  int64_t nonfinite_limit = 5;  // steps skipped in a row before the run ends all the same
  ProbePlan probe = {};
  std::string config_hash = {};  // identity of a run; a resumed one must have the same
};

// The evaluation with the best value of the first metric on one split; the first of equals.
struct Best {
  int64_t epoch = 0;  // 1-based; 0: none yet
  int64_t step = 0;
  double value = 0;               // of the first metric on the split that selects
  std::vector<double> test = {};  // metrics on the test split at that time
};

struct StepResult {
  double loss = 0;
  double grad_norm = 0;                             // before clipping
  double lr = 0;                                    // of the default group
  std::vector<double> terms = {};                   // of the loss, where it has several
  std::shared_ptr<const StepFailure> skipped = {};  // defined: the step changed nothing
};

struct TrainOutcome {
  bool completed = false;
  int signal = 0;  // that stopped it
  Record result;   // flat summary of the run so far
};

class Trainer;

struct TrainHooks {
  // Non-zero: a signal, seen by any of the processes. Asked after every step and between the
  // batches of an evaluation; an evaluation that was cut short is made by the run that resumes.
  std::function<int()> stop = {};
  // After every step with its result; with none where an evaluation begins.
  std::function<void(const Trainer&, const StepResult*)> progress = {};
  // One line of text per evaluation, for a log.
  std::function<void(const std::string&)> log = {};
  // How a reader runs a failed step again; its bundle's path is put behind.
  std::string replay_command = {};
};

class Trainer {
 public:
  // The task is copied. guarded: a step that is not finite leaves no trace on a device either
  // (StepOptions). usage errors of the options; those of the data where they are read.
  Trainer(const Task& task, const TrainOptions& options, bool guarded = false);
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  void restore(const Checkpoint& checkpoint);  // usage or data error when it does not belong here
  // Goes on from the end of another run: weights, optimizer, counters and the order of the data
  // continue, while the schedule begins anew at options().first_step, the checkpoint's step, and
  // runs over the epochs (or steps) of the options; so does the search for the best checkpoint.
  // What is saved from then on belongs to this run, and restore() takes it. Errors: as restore(),
  // but the settings may be others.
  void extend(const Checkpoint& checkpoint);
  // Trains to the end of the schedule within the folder, which is made where it is missing; a
  // folder with checkpoints is gone on with after restore().
  TrainOutcome run(const fs::path& folder, const TrainHooks& hooks = {});

  // One training step; a NonFiniteStep (numerical error) where the run is to end.
  StepResult step();
  Evaluation test() const;                                  // on the whole test split
  void save(const fs::path& folder, MetricsFile& metrics);  // of rank 0: writes
  void prune(const fs::path& folder) const;                 // all but the last ones and the best

  ModelState& state() { return state_; }
  const ModelState& state() const { return state_; }
  const Task& task() const { return *task_; }
  const Optimizer& optimizer() const { return *optimizer_; }
  const TrainOptions& options() const { return options_; }
  std::string device_text() const { return step_.describe(); }
  int64_t steps_done() const { return at_.step; }
  int64_t total_steps() const { return total_steps_; }
  int64_t steps_per_epoch() const { return steps_per_epoch_; }
  Record result() const;

 private:
  // What a checkpoint holds besides weights and optimizer. "Since": since the last evaluation.
  struct Position {
    int64_t step = 0;
    double loss_sum = 0, norm_sum = 0, period_seconds = 0;  // since
    std::vector<double> term_sums;                          // since
    std::vector<std::string> term_names;                    // of the loss, where it has several
    int64_t seen = 0;                                       // examples since
    int64_t steps = 0;                                      // since, skipped ones included
    double seconds = 0;                                     // of the whole run, resumes included
    int64_t skipped = 0, skipped_in_row = 0, period_skipped = 0;
    int64_t evaluations = 0;  // of the loss, where the optimizer looks again
    uint64_t metrics_bytes = 0;
    int64_t saved_step = -1;
    double train_loss = 0;  // at the last evaluation; so are the next two
    std::vector<double> train_metrics;
    Evaluation test = {};
    Best best_test = {}, best_val = {};
  };

  std::shared_ptr<const Source> evaluation_source(Split split) const;
  double schedule_scale(int64_t step) const { return schedule_.scale(step - options_.first_step); }
  double learning_rate(int64_t step) const;
  // The field "optimizer" of a line, where not all steps are made by the same one.
  void add_optimizer(Record& line, int64_t step) const;
  int64_t epoch_of_last_step() const { return (at_.step - 1) / steps_per_epoch_ + 1; }
  StepResult failed_step(const StepOutput& result, const Batch& batch);
  StepFailure failure_of(const StepOutput& result, const Batch& batch) const;
  // The same step once more on weights that it does not overwrite.
  std::shared_ptr<const StepFailure> repeated_failure(const fs::path& folder,
                                                      const NonFiniteStep& seen);
  void report_skipped(const fs::path& folder, MetricsFile& metrics,
                      const StepFailure& failure) const;
  [[noreturn]] void report_stopped(const fs::path& folder, MetricsFile& metrics,
                                   const NonFiniteStep& seen, const TrainHooks& hooks);
  StepResult step_within(const fs::path& folder, MetricsFile& metrics, const TrainHooks& hooks);
  bool first_rank() const { return options_.processes->rank() == 0; }
  void count(const StepOutput& result, const Batch& batch);
  bool evaluation_due() const;  // its steps are done, it is not
  bool checkpoint_due() const;
  // False when it was stopped; nothing has changed then. Without metrics: in silence.
  bool evaluate_here(MetricsFile* metrics, const TrainHooks& hooks);
  void report_evaluation(MetricsFile& metrics, const Evaluation& validation, double seconds,
                         bool rose, const TrainHooks& hooks) const;
  void observe(const Evaluation& validation);
  bool note_best(const Evaluation& validation);  // whether one is the best so far
  void log_step(MetricsFile& metrics, const StepResult& result) const;
  std::unique_ptr<MetricsFile> open_metrics(const fs::path& folder) const;
  Record position_record() const;
  Position position_from(const RecordFields& in) const;
  void check_origin(const Checkpoint& checkpoint, bool same_settings) const;
  void take_over(const Checkpoint& checkpoint, const Position& at);

  std::shared_ptr<const Task> task_;
  TrainOptions options_;
  ModelState state_;
  std::shared_ptr<const Source> source_;
  std::unique_ptr<Optimizer> optimizer_;
  TrainStep step_;
  BatchFeed feed_;
  TrainingProbe probe_;
  Schedule schedule_;
  std::unique_ptr<Meter> train_meter_;  // since the last evaluation; null where the task has none
  int64_t steps_per_epoch_ = 0;
  int64_t total_steps_ = 0;
  bool best_unsaved_ = false;
  Position at_;
};

// The text of a value in its unit: "81.25 %", "12.3 meV", "0.0451".
std::string metric_text(const Metric& metric, double value);

}  // namespace basin
