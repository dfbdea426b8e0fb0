// The training loop of a point-cloud classifier. Everything it does is a function of
// (configuration, data, step): batches, augmentation and dropout masks come from counter-based
// streams, so a state that is restored from a checkpoint continues bit for bit, and the number of
// threads changes nothing. Only the fields "seconds" and "examples_per_second" of the metrics
// depend on the clock.
//   One epoch line: epoch, step, train_loss (objective, mean over the epoch), train_accuracy,
//   test_loss, test_overall_accuracy, test_mean_class_accuracy, [val_*], lr, grad_norm (mean),
//   skipped_steps (of the run so far).
// A step whose loss or gradient is not finite is looked into (step_failure.h) and ends the run, or
// is skipped, as the configuration says (on_nonfinite).
#pragma once
#include <functional>
#include <memory>
#include <optional>

#include "basin/optim/schedule.h"
#include "basin/train/feed.h"
#include "basin/train/checkpoint.h"
#include "basin/train/evaluate.h"
#include "basin/train/metrics_file.h"
#include "basin/tools/shell/run_dir.h"
#include "basin/train/step_failure.h"
#include "basin/tools/shell/settings.h"
#include "basin/train/training_probe.h"

namespace basin {

struct TrainData {
  PointCloudSet train, validation, test;  // validation is empty without --val-fraction
  std::string description;
  std::string hash;  // over the content of the splits
};
TrainData load_train_data(const TrainConfig& config);

// The epoch with the highest accuracy on one split; the first of equals.
struct Best {
  int64_t epoch = 0;  // 1-based; 0: none yet
  int64_t step = 0;
  double accuracy = 0;          // on the split that selects
  double overall_accuracy = 0;  // on the test split at that epoch
  double mean_class_accuracy = 0;
};

struct StepResult {
  double loss = 0;
  double grad_norm = 0;                             // before clipping
  double lr = 0;                                    // of the default group
  std::shared_ptr<const StepFailure> skipped = {};  // defined: the step changed nothing
};

struct TrainOutcome {
  bool completed = false;
  int signal = 0;     // that stopped it
  Record result;  // flat summary of the run so far
};

struct TrainHooks {
  // Non-zero: a signal. Asked after every step and between the batches of an evaluation; an epoch
  // whose evaluation was cut short is evaluated by the run that resumes.
  std::function<int()> stop = {};
  bool progress = true;
};

class Trainer {
 public:
  // guarded: a step that is not finite leaves no trace on a device either (StepOptions).
  Trainer(const TrainConfig& config, const TrainData& data, bool guarded = false);

  void restore(const Checkpoint& checkpoint);  // usage or data error when it does not belong here
  TrainOutcome run(const RunDir& dir, const TrainHooks& hooks);

  // One training step; a NonFiniteStep (numerical error) where the run is to end.
  StepResult step();
  Evaluation test() const;  // on the whole test split
  void save(const RunDir& dir, MetricsFile& metrics);
  void prune(const RunDir& dir) const;  // all but the last ones and the best

  ModelState& state() { return state_; }
  const ModelState& state() const { return state_; }
  const Model& model() const { return model_; }
  const Optimizer& optimizer() const { return *optimizer_; }
  std::string device_text() const { return step_.describe(); }
  int64_t steps_done() const { return at_.step; }
  int64_t total_steps() const { return total_steps_; }
  int64_t steps_per_epoch() const { return steps_per_epoch_; }
  Record result() const;

 private:
  // What a checkpoint holds besides weights and optimizer.
  struct Position {
    int64_t step = 0;
    double loss_sum = 0, norm_sum = 0, epoch_seconds = 0;  // of the epoch under way
    int64_t correct = 0, seen = 0;
    double seconds = 0;  // of the whole run, resumes included
    int64_t skipped = 0, skipped_in_row = 0, epoch_skipped = 0;
    uint64_t metrics_bytes = 0;
    int64_t saved_step = -1;
    double train_loss = 0, train_accuracy = 0;  // of the last complete epoch
    Evaluation test = {};
    Best best_test = {}, best_val = {};
  };

  LoaderOptions eval_options() const;
  double learning_rate(double scale) const { return *config_.optimizer.lr * scale; }
  StepResult failed_step(const StepOutput& result, const PointBatch& batch);
  StepFailure failure_of(const StepOutput& result, const PointBatch& batch) const;
  // The same step once more on weights that it does not overwrite.
  std::shared_ptr<const StepFailure> repeated_failure(const RunDir& dir, const NonFiniteStep& seen);
  void report_skipped(const RunDir& dir, MetricsFile& metrics, const StepFailure& failure) const;
  [[noreturn]] void report_stopped(const RunDir& dir, MetricsFile& metrics,
                                   const NonFiniteStep& seen);
  StepResult step_within(const RunDir& dir, MetricsFile& metrics);
  bool epoch_is_full() const;  // its steps are done, its evaluation is not
  // False when the evaluation was stopped; nothing has changed then. Without metrics: in silence.
  bool finish_epoch(MetricsFile* metrics, const TrainHooks& hooks);
  void report_epoch(MetricsFile& metrics, const Evaluation& validation, double seconds,
                    bool rose) const;
  void note_best(const Evaluation& validation);
  void log_step(MetricsFile& metrics, const StepResult& result) const;
  Record position_json() const;

  TrainConfig config_;
  const TrainData& data_;
  Model model_;
  ModelState state_;
  std::unique_ptr<Optimizer> optimizer_;
  PointCloudLoader loader_;
  TrainStep step_;
  BatchFeed feed_;
  TrainingProbe probe_;
  Schedule schedule_;
  int64_t steps_per_epoch_ = 0;
  int64_t total_steps_ = 0;
  Position at_;
};

}  // namespace basin
