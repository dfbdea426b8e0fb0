// A trained network as programs load it: from a run directory, one of its checkpoints, or a file of
// weights beside settings that say what they belong to. No training data are read and no optimizer
// is built for it; the task reads data when somebody asks for a split.
#pragma once
#include <optional>
#include <string>

#include "basin/tools/shell/run_place.h"
#include "basin/tools/shell/settings.h"

namespace basin::tools {

struct Trained {
  RunSettings settings;
  Task task;
  ModelState state;                      // dtype of the training, on the CPU
  ModelState initial;                    // the weights before the first step
  fs::path run;                          // run directory; empty: weights alone
  fs::path file;                         // the safetensors file
  std::optional<Checkpoint> checkpoint;  // of a run

  std::string name() const;                 // "RUN/ckpt/step-100", or the file of weights
  std::string optimizer() const;            // "unknown" of weights alone
  std::vector<RoutingRow> routing() const;  // which rule updates which parameter
  bool same_data_as_training() const;       // true where the weights do not say
};

// path: a run directory (its newest checkpoint), RUN/ckpt/step-N or RUN/ckpt/best. The task is the
// run's; `data`, if not empty, replaces its data setting (`origin`: where that was said).
Trained load_trained_run(const std::string& path, const std::string& data = {},
                         const std::string& origin = {});
// Of a checkpoint that has been read, under settings that have been.
Trained load_trained_checkpoint(Checkpoint checkpoint, const fs::path& run,
                                const RunSettings& settings, const Config& config);
// Weights trained anywhere, under PyTorch's names; `config` (train_settings, presets applied by
// run_settings_from) says task and network. How many outputs the network has is read off the file
// unless `config` names data.
Trained load_trained_weights(const fs::path& file, const RunSettings& settings,
                             const Config& config);

}  // namespace basin::tools
