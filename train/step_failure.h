// A training step whose loss or gradient is not finite: which op, which layer, which batch, and a
// bundle from which anybody can run that step again.
//   op      the first op of the forward sweep with a non-finite output, else the first node of the
//           backward sweep that makes a cotangent non-finite (autograd/non_finite.h)
//   layer   the parameters that this op reads, or, where it reads none, those that the nearest op
//           upstream reads; their names without the last part ("feat.conv1.weight": feat.conv1)
// The search runs on the CPU, step by step, whatever device the training uses.
//   RUN/failure-step-N/   failure.json (all names and numbers; task, network, options, seed, step),
//                         model.safetensors (parameters and buffers before the step),
//                         batch.safetensors (its tensors as fed to the objective), DONE
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "basin/autograd/non_finite.h"
#include "basin/core/folder.h"
#include "basin/core/record.h"
#include "basin/train/task.h"

namespace basin {

// Everything that loss and gradient of one step, or of one of its microbatches, depend on, on the
// CPU. Masks are a function of (seed, step, microbatch).
struct StepInputs {
  std::shared_ptr<const Task> task;
  ModelState state;
  Batch batch;
  std::vector<std::string> slots;  // names of the batch's tensors
  uint64_t seed = 0;
  int64_t step = 0;                          // from 0
  int64_t microbatches = 1, microbatch = 0;  // of the step; which of them `batch` is, from 0
  Fn loss() const;  // params -> {training loss, outputs, batch statistics...}
};

struct StepFailure {
  int64_t epoch = 0, step = 0, batch = 0;  // from 1
  std::vector<int64_t> rows;               // of the training split, which examples the batch holds
  double loss = 0, grad_norm = 0;          // as seen by the training
  std::string gradient;                    // first parameter whose gradient is not finite, or ""
  bool examined = false;                   // the rest is known
  StepInputs inputs;
  std::optional<NonFinite> found;   // empty: every single value is finite on the CPU
  std::string layer, parameters;    // of the op, comma lists; "": it reads none, nor upstream
  std::string spoilt;               // parameters that are not finite themselves, comma list
  Record facts;                     // of the run: optimizer, rate, device...
  std::string sentence() const;     // all of it for a reader
  std::string op_sentence() const;  // "op 'matmul' (forward) gives nan at ..."
  Record record() const;            // flat, without the inputs
};

// Fills `found` and the names, from the inputs.
void examine(StepFailure& failure);
// Loss, norm and `gradient` of the step on the CPU: the check of a training step.
bool repeats(StepFailure& failure);

// Returns RUN/failure-step-N; an earlier bundle of that step is replaced.
fs::path write_bundle(const fs::path& run, const StepFailure& failure);

// The failure as recorded, with the inputs; what examine() finds is left to be found again.
struct Bundle {
  StepFailure failure;
  RecordFields recorded;
};
// The task is made again by its name (make_task). data error when the bundle is damaged or none.
Bundle read_bundle(const fs::path& folder);
// The same for a task that is not registered.
Bundle read_bundle(const fs::path& folder, std::shared_ptr<const Task> task);

// The numerical error that ends a run.
class NonFiniteStep : public Error {
 public:
  explicit NonFiniteStep(std::shared_ptr<const StepFailure> failure, const std::string& hint)
      : Error(ErrorKind::numerical, failure->sentence() + hint), failure_(std::move(failure)) {}
  const std::shared_ptr<const StepFailure>& failure() const { return failure_; }

 private:
  std::shared_ptr<const StepFailure> failure_;
};

}  // namespace basin
