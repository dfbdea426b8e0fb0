// Checkpoints as folders of files: written, found, read, pruned; what they hold is the trainer's.
#include "basin/train/checkpoint.h"

#include <algorithm>

#include "basin/core/folder.h"
#include "basin/core/log.h"

namespace basin {
namespace {

constexpr const char* kModel = "model.safetensors";
constexpr const char* kOptimizer = "optim.safetensors";
constexpr const char* kState = "state.json";
constexpr const char* kDone = "DONE";
constexpr std::string_view kPrefix = "step-";

// -1 when the name is not step-N.
int64_t step_of(const fs::path& folder) {
  const std::string name = folder.filename().string();
  int64_t step = -1;
  if (!name.starts_with(kPrefix) || !parse_int64(name.substr(kPrefix.size()), step)) return -1;
  return step;
}

}  // namespace

fs::path checkpoint_path(const fs::path& folder, int64_t step) {
  return folder / str(kPrefix, step);
}

fs::path write_checkpoint(const fs::path& folder, int64_t step, const SafetensorsFile& model,
                          const OptimizerState& optimizer, const Record& state) {
  const std::string text = state.pretty();
  fs::path target = checkpoint_path(folder, step);
  FolderFiles files;
  files.emplace_back(kModel, serialize_safetensors(model));
  files.emplace_back(kOptimizer, serialize_safetensors({optimizer.tensors, optimizer.scalars}));
  files.emplace_back(kState, std::vector<uint8_t>(text.begin(), text.end()));
  write_folder(target, files);
  remove_temporaries(folder);
  return target;
}

Checkpoint read_checkpoint(const fs::path& checkpoint) {
  const std::string done = read_done(checkpoint);
  Checkpoint out;
  out.path = checkpoint;
  const auto load = [&](const char* name) { return read_verified(checkpoint / name, done); };
  const auto state = load(kState);
  const std::string_view text(reinterpret_cast<const char*>(state.data()), state.size());
  out.state = parse_record(text, (checkpoint / kState).string());
  out.step = out.state.integer("step");
  out.model = parse_safetensors(load(kModel), (checkpoint / kModel).string());
  SafetensorsFile optimizer =
      parse_safetensors(load(kOptimizer), (checkpoint / kOptimizer).string());
  out.optimizer = {std::move(optimizer.tensors), std::move(optimizer.metadata)};
  return out;
}

std::vector<int64_t> checkpoint_steps(const fs::path& folder) {
  std::vector<int64_t> steps;
  std::error_code error;
  for (const fs::path& entry : entries_of(folder)) {
    const int64_t step = step_of(entry);
    if (step >= 0 && fs::is_regular_file(entry / kDone, error)) steps.push_back(step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

std::optional<Checkpoint> read_newest_checkpoint(const fs::path& folder) {
  std::vector<int64_t> steps = checkpoint_steps(folder);
  for (; !steps.empty(); steps.pop_back()) {
    try {
      return read_checkpoint(checkpoint_path(folder, steps.back()));
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::data) throw;
      log_message(LogLevel::warning, str("skipping a damaged checkpoint: ", e.what()));
    }
  }
  return std::nullopt;
}

void prune_checkpoints(const fs::path& folder, int64_t keep, const std::set<int64_t>& always) {
  remove_temporaries(folder);
  if (keep <= 0) return;
  const std::vector<int64_t> steps = checkpoint_steps(folder);
  for (size_t i = 0; i + static_cast<size_t>(keep) < steps.size(); ++i) {
    if (always.contains(steps[i])) continue;
    // The rename makes it vanish at once; a kill during the removal leaves a temporary.
    const fs::path target = checkpoint_path(folder, steps[i]);
    const fs::path old = temporary_name(target, "old-");
    rename_or_fail(target, old);
    remove_folder(old);
  }
}

}  // namespace basin
