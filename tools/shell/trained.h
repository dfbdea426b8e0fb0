// A trained network as programs load it: from a run directory, one of its checkpoints, or a file of
// weights beside settings that say what they belong to. No training data are read and no optimizer
// is built for it; a task reads data when somebody asks for a split.
#pragma once
#include <optional>
#include <string>

#include "basin/tools/shell/run_place.h"
#include "basin/tools/shell/settings.h"

namespace basin::tools {

struct Trained {
  RunSettings settings;
  Task task;
  ModelState state;    // dtype of the training, on the CPU
  ModelState initial;  // the weights before the first step
  fs::path run;        // run directory; empty: weights alone
  fs::path file;       // the safetensors file
  std::optional<Checkpoint> checkpoint;  // of a run

  std::string name() const;                      // "RUN/ckpt/step-100" or the file, as given
  std::vector<RoutingRow> routing() const;       // which rule updates which parameter
  bool same_data_as_training() const;            // true where the weights do not say
};

// path: a run directory (its newest checkpoint), RUN/ckpt/step-N or RUN/ckpt/best. The task is the
// run's; `data`, if not empty, replaces its data setting (`origin`: where that was said).
Trained load_trained_run(const std::string& path, const std::string& data = {},
                         const std::string& origin = {});
// Weights trained anywhere, under PyTorch's names; `config` (train_settings) says task and network.
Trained load_trained_weights(const fs::path& file, Config& config);

// The task that a run directory was made for; "modelnet" for runs from before tasks had names.
std::string task_of_run(const fs::path& run);

}  // namespace basin::tools
