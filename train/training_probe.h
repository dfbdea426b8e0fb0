// What a run records about itself on the way:
//   --probe every=E[,examples=S,probes=P,steps=L,density=M].
// After the last step of every E-th epoch, on S fixed training examples (no augmentation, running
// batch norm statistics), metrics.jsonl gets
//   one line "probe": loss, gradient norm, lambda_max with residual (Lanczos, at most L products),
//     trace with standard error and interval (Hutchinson, P probes), the mean over the matrices of
//     stable and effective rank as shares of the largest possible, of the nuclear rank of the
//     gradient and of the size of the last update; over the matrices whose inputs are seen
//     (train/layer_inputs.h) their number, the median of the gradient's nuclear rank over the
//     stable rank of the inputs and the share where it is above 1 (a spectral step then gains more
//     than a Euclidean one); two_over_lr (gradient descent at this rate
//     becomes unstable where lambda_max exceeds it); for a loss of several terms gradient_norm_TERM
//     of each, gradient_cosine_TERM_TERM of each two, and gradient_alignment
//     (train/term_gradients.h); and for networks that declare a symmetry its largest error at the
//     outputs;
//   with M > 0 one line "probe_density" per probe vector: the Gauss rule of M Lanczos steps
//     (analysis/spectral_density.h), `nodes` and `weights` as lists, and `size`, the parameters;
//   one line "probe_matrix" per weight matrix with its own numbers, and those of the optimizer's
//     rule where it has any: of SpecMuon, per leading mode j, specmuon_s_j, _r_j, _rn_j,
//     _r_over_e_j, _scale_j, _dissipation_j and _slack_j; where spectra are set in training
//     (optim/interventions.h), spectrum_asked, _before, _reached and _change of the last time.
// The numbers are functions of weights, data and settings, so a resumed run repeats them bit for
// bit; they do not change the training.
#pragma once
#include <string>

#include "basin/optim/diagnostics.h"
#include "basin/train/metrics_file.h"
#include "basin/train/period.h"
#include "basin/train/probe_data.h"

namespace basin {

struct ProbePlan {
  Period every = {0, true};  // count 0: never; "5": epochs, as "5e"
  int64_t examples = 128;
  int64_t probes = 4;
  int64_t steps = 20;
  int64_t density = 0;  // Lanczos steps of the spectral density, for `probes` vectors; 0: none
};
// "" or "every=5,shapes=64": `shapes` is an earlier name of `examples`. usage error naming the
// form.
ProbePlan parse_probe_plan(const std::string& text);

class TrainingProbe {
 public:
  // dtype: of the training. The data are asked for at once where the plan wants any.
  TrainingProbe(const ProbePlan& plan, const Task& task, DType dtype, uint64_t seed);

  // Whether the state after `step` steps (from 1) is to be measured.
  bool due(int64_t step, int64_t steps_per_epoch) const {
    return plan_.every.count > 0 && step % plan_.every.in_steps(steps_per_epoch) == 0;
  }
  // Watches the update of the next step.
  void watch(Optimizer& optimizer);
  void unwatch(Optimizer& optimizer) const { optimizer.set_observer({}); }
  // epoch: 1-based, of the step; lr: of the last step.
  void measure(const ModelState& state, int64_t epoch, int64_t step, double lr,
               MetricsFile& metrics) const;

 private:
  // Stable rank of the inputs, by parameter.
  std::vector<double> input_ranks(const ModelState& state) const;

  ProbePlan plan_;
  const Task& task_;
  DType dtype_;
  uint64_t seed_;
  ProbeData data_;
  Batch few_;  // for the symmetries; empty where the network declares none
  UpdateMeter meter_;
};

}  // namespace basin
