// Where a run goes on from and where it writes: what --resume and --out mean together.
//   --resume RUN                the newest checkpoint of the run directory
//   --resume RUN/ckpt/step-N    that one
//   --resume RUN/ckpt/best      the best one by the task's first metric on the test split (always
//                               kept)
//   --resume auto               --out, if it is a run already
//   --resume RUN --extend N --out NEW   a run that goes on where that one ended, for N epochs
// Measurements (--eval-only, --equivariance, ...) follow the same rule.
#pragma once
#include <optional>
#include <string>

#include "basin/tools/shell/run_dir.h"
#include "basin/tools/shell/settings.h"
#include "basin/train/checkpoint.h"

namespace basin::tools {

struct Place {
  fs::path source;                       // run directory to resume; empty: a fresh run
  std::optional<Checkpoint> checkpoint;  // absent: from the start
  fs::path out;
  bool in_place = false;  // out == source
};

// The run directory named by --resume, if it names one ("auto" does not). `flag` begins the
// sentence of its usage errors.
fs::path resumed_run(const std::string& resume, const char* flag = "--resume: ");

// The task that a run directory was made for; "modelnet" for runs from before tasks had names.
std::string task_of_run(const fs::path& run);

// The folder in which a run was started, seen from the run's own (run.json, "paths_from"): there
// the relative paths of its config.toml begin. So a run finds its data from every folder, and when
// both have been moved together. Empty of runs that did not record it.
std::string paths_from(const fs::path& run);

// The settings of the resumed run are its file layer; a relative path of data is that of
// paths_from() where it exists there.
void load_resumed_settings(Config& config, const fs::path& run);

// The checkpoint that `resume` names in the run: the newest, step-N or best; none: there is none.
std::optional<Checkpoint> named_checkpoint(const std::string& resume, const fs::path& run);

// `measuring`: nothing is trained, so an older checkpoint of the same run is fine.
Place find_place(const Config& config, const RunSettings& settings, bool measuring);

// --extend N: the epochs are N, counted from the checkpoint that --resume names, which becomes the
// settings extended.from and extended.from_step of the new run. usage errors: without --resume RUN
// or --out, beside --epochs or --steps, of a run that was stopped unless a checkpoint is named.
void extend_settings(Config& config);
// The facts for run.json of a run that extends another; empty of others.
Record extension_record(const Config& config);

// usage error naming the first setting that differs from the recorded ones. A run that extends
// another may have its own rate and schedule.
void refuse_changed_settings(const Config& config, const fs::path& run);

// A branch takes along the metrics up to its checkpoint.
void copy_metrics(const Place& place, const RunDir& dir);

// The metadata of the task in a checkpoint: what it had learnt from its training data.
Fitted fitted_of(const Checkpoint& checkpoint);

}  // namespace basin::tools
