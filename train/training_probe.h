// What a run records about itself on the way: --probe every=E[,shapes=S,probes=P,steps=L].
// After the last step of every E-th epoch, on S fixed training shapes (no augmentation, running
// batch norm statistics), metrics.jsonl gets
//   one line "probe": loss, gradient norm, lambda_max with residual (Lanczos, at most L products),
//     trace with standard error and interval (Hutchinson, P probes), the mean over the matrices of
//     stable and effective rank as shares of the largest possible, of the nuclear rank of the
//     gradient and of the size of the last update, two_over_lr (gradient descent at this rate
//     becomes unstable where lambda_max exceeds it), and for networks that declare a symmetry its
//     largest error at the logits;
//   one line "probe_matrix" per weight matrix with its own numbers.
// The numbers are functions of weights, data and settings, so a resumed run repeats them bit for
// bit; they do not change the training.
#pragma once
#include <string>

#include "basin/optim/diagnostics.h"
#include "basin/train/metrics_file.h"
#include "basin/train/probe_data.h"

namespace basin {

struct ProbePlan {
  int64_t every = 0;  // epochs; 0: never
  int64_t shapes = 128;
  int64_t probes = 4;
  int64_t steps = 20;
};
ProbePlan parse_probe_plan(const std::string& text);  // "" or "every=5"; usage error otherwise

class TrainingProbe {
 public:
  TrainingProbe(const TrainConfig& config, const Model& model, const PointCloudSet& train);

  bool due(int64_t epoch) const { return plan_.every > 0 && epoch % plan_.every == 0; }
  // Watches the update of the next step.
  void watch(Optimizer& optimizer);
  void unwatch(Optimizer& optimizer) const { optimizer.set_observer({}); }
  // epoch: 1-based, just trained; lr: of the last step.
  void measure(const ModelState& state, int64_t epoch, int64_t step, double lr,
               MetricsFile& metrics) const;

 private:
  ProbePlan plan_;
  const TrainConfig& config_;
  const Model& model_;
  ProbeData data_;
  UpdateMeter meter_;
};

}  // namespace basin
