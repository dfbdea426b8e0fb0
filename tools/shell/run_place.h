// Where a run goes on from and where it writes: what --resume and --out mean together.
//   --resume RUN                the newest checkpoint of the run directory
//   --resume RUN/ckpt/step-N    that one
//   --resume RUN/ckpt/best      the one with the highest test accuracy (always kept)
//   --resume auto               --out, if it is a run already
// Measurements (--eval-only, --corruptions, --equivariance) follow the same rule.
#pragma once
#include <optional>
#include <string>

#include "basin/train/checkpoint.h"
#include "basin/tools/shell/run_dir.h"
#include "basin/tools/shell/settings.h"

namespace basin::tools {

struct Place {
  fs::path source;                       // run directory to resume; empty: a fresh run
  std::optional<Checkpoint> checkpoint;  // absent: from the start
  fs::path out;
  bool in_place = false;  // out == source
};

// The run directory named by --resume, if it names one ("auto" does not).
fs::path resumed_run(const Config& config);

// The settings of the resumed run are its file layer.
void load_resumed_settings(Config& config, const fs::path& run);

// `measuring`: nothing is trained, so an older checkpoint of the same run is fine.
Place find_place(const Config& config, const TrainConfig& train, bool measuring);

// usage error naming the first setting that differs from the recorded ones.
void refuse_changed_settings(const Config& config, const fs::path& run);

// A branch takes along the metrics up to its checkpoint.
void copy_metrics(const Place& place, const RunDir& dir);

}  // namespace basin::tools
