// Checkpoints: ckpt/step-N/{model.safetensors, optim.safetensors, state.json, DONE}. Written under
// ckpt/.tmp-step-N, each file fsynced, DONE last with the SHA-256 of the others (`sha256sum -c
// DONE` reads it), the folder fsynced, renamed, the parent fsynced: after a kill at any time the
// newest complete checkpoint loads. Nothing without a valid DONE is ever read.
#pragma once
#include <optional>
#include <set>
#include <vector>

#include "basin/core/record.h"
#include "basin/core/safetensors.h"
#include "basin/optim/optimizer.h"

namespace basin {

struct Checkpoint {
  fs::path path;
  int64_t step = 0;
  SafetensorsFile model;  // parameters and buffers
  OptimizerState optimizer;
  RecordFields state;
};

// Returns the folder step-N. A checkpoint of the same step is replaced.
fs::path write_checkpoint(const fs::path& folder, int64_t step, const SafetensorsFile& model,
                          const OptimizerState& optimizer, const Record& state);

// data error when DONE is missing or a hash differs.
Checkpoint read_checkpoint(const fs::path& checkpoint);

// The newest that loads; a damaged one is skipped with a warning. Empty if there is none.
std::optional<Checkpoint> read_newest_checkpoint(const fs::path& folder);

std::vector<int64_t> checkpoint_steps(const fs::path& folder);  // that have a DONE; ascending
fs::path checkpoint_path(const fs::path& folder, int64_t step);

// Removes all but the last `keep` (0: keeps all) and those of `always`; and what a kill left
// behind.
void prune_checkpoints(const fs::path& folder, int64_t keep, const std::set<int64_t>& always);

}  // namespace basin
