// The checkpoint protocol: see checkpoint.h.
#include "basin/tools/common/checkpoint.h"

#include <algorithm>

#include "basin/core/log.h"

namespace basin::tools {
namespace {

constexpr const char* kModel = "model.safetensors";
constexpr const char* kOptimizer = "optim.safetensors";
constexpr const char* kState = "state.json";
constexpr const char* kDone = "DONE";
constexpr std::string_view kPrefix = "step-";
constexpr std::string_view kTemporary = ".tmp-";
constexpr uint64_t kMaxDoneBytes = uint64_t{1} << 12;

std::span<const uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

void rename_or_fail(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (error) {
    fail(ErrorKind::output, to.string(), ": cannot be put in place: ", error.message());
  }
}

void remove_folder(const fs::path& folder) {
  std::error_code error;
  fs::remove_all(folder, error);
  if (error) {
    fail(ErrorKind::output, folder.string(), ": cannot be removed: ", error.message());
  }
}

// Empty where there is no folder. One that cannot be read must not look like one without
// checkpoints: a run would start from the beginning.
std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> out;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    out.push_back(it->path());
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    fail(ErrorKind::output, folder.string(), ": cannot be listed: ", error.message());
  }
  return out;
}

// The folder's own entry reaches the disk as well.
void create_folder(const fs::path& folder) {
  std::error_code error;
  const bool made = fs::create_directories(folder, error);
  if (error) {
    fail(ErrorKind::output, folder.string(), ": cannot be created: ", error.message());
  }
  if (made) fsync_path(folder.has_parent_path() ? folder.parent_path() : fs::path("."));
}

std::string done_line(const std::string& name, std::span<const uint8_t> bytes) {
  return str(sha256_hex(bytes), "  ", name, "\n");
}

// A file whose line stands in DONE, byte for byte.
std::vector<uint8_t> read_verified(const fs::path& file, const std::string& done) {
  std::vector<uint8_t> bytes = read_file(file);
  if (done.find(done_line(file.filename().string(), bytes)) == done.npos) {
    fail(ErrorKind::data, file.string(), ": its SHA-256 is not the one in ", kDone,
         "; one of the two was damaged");
  }
  return bytes;
}

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

namespace {

void write_files(const fs::path& temporary, const SafetensorsFile& model,
                 const OptimizerState& optimizer, const JsonObject& state) {
  std::string done;
  const auto put = [&](const char* name, std::span<const uint8_t> bytes) {
    write_file_atomic(temporary / name, bytes);
    done += done_line(name, bytes);
  };
  put(kModel, serialize_safetensors(model));
  put(kOptimizer, serialize_safetensors({optimizer.tensors, optimizer.scalars}));
  put(kState, bytes_of(state.pretty()));
  write_file_atomic(temporary / kDone, done);
}

}  // namespace

fs::path write_checkpoint(const fs::path& folder, int64_t step, const SafetensorsFile& model,
                          const OptimizerState& optimizer, const JsonObject& state) {
  const fs::path temporary = folder / str(kTemporary, kPrefix, step);
  const fs::path target = checkpoint_path(folder, step);
  std::error_code error;
  create_folder(folder);
  remove_folder(temporary);
  try {
    create_folder(temporary);
    write_files(temporary, model, optimizer, state);
    if (fs::exists(target, error)) {  // only a damaged one is ever written again
      const fs::path old = folder / str(kTemporary, "old-", kPrefix, step);
      remove_folder(old);
      rename_or_fail(target, old);
    }
    rename_or_fail(temporary, target);
  } catch (...) {
    fs::remove_all(temporary, error);
    throw;
  }
  fsync_path(folder);
  remove_temporaries(folder);
  return target;
}

Checkpoint read_checkpoint(const fs::path& checkpoint) {
  const std::string done = read_text_file(checkpoint / kDone, kMaxDoneBytes);
  Checkpoint out;
  out.path = checkpoint;
  const auto load = [&](const char* name) { return read_verified(checkpoint / name, done); };
  const auto state = load(kState);
  const std::string_view text(reinterpret_cast<const char*>(state.data()), state.size());
  out.state = parse_flat_json(text, (checkpoint / kState).string());
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
    if (always.count(steps[i]) > 0) continue;
    // The rename makes it vanish at once; a kill during the removal leaves a temporary.
    const fs::path old = folder / str(kTemporary, "old-", kPrefix, steps[i]);
    rename_or_fail(checkpoint_path(folder, steps[i]), old);
    remove_folder(old);
  }
}

void remove_temporaries(const fs::path& folder) {
  for (const fs::path& entry : entries_of(folder)) {
    if (entry.filename().string().starts_with(kTemporary)) remove_folder(entry);
  }
}

}  // namespace basin::tools
