// Resuming, branching and naming checkpoints.
#include "basin/tools/shell/run_place.h"

namespace basin::tools {
namespace {

// Also RUN/ckpt/best, which is no folder but a way to name one.
bool is_checkpoint(const fs::path& path) {
  const bool named = fs::exists(path / "DONE") || path.filename() == "best";
  return named && path.parent_path().filename() == "ckpt";
}

RecordFields run_record(const fs::path& run) {
  const fs::path file = run / "run.json";
  return parse_record(read_text_file(file), file.string());
}

// A relative path of data begins where the run was started, not where this process is.
void find_data(Config& config, const fs::path& run) {
  if (!config.has("data") || config.source("data") != Layer::file) return;
  const std::string from = paths_from(run);
  const fs::path data = config.text("data");
  if (from.empty() || data.is_absolute() || config.is_initial("data")) return;
  std::error_code error;
  const fs::path there = fs::weakly_canonical(run / from / data, error);
  if (error || !fs::exists(there, error) || fs::equivalent(there, data, error)) return;
  config.set("data", there.string(), Layer::file, config.origin("data"));
}

fs::path without_trailing_slash(const std::string& text) {
  const fs::path path(text);
  return path.has_filename() ? path : path.parent_path();
}

// Which one was the best is written in the newest.
fs::path real_checkpoint(const fs::path& named, const fs::path& run) {
  if (named.filename() != "best") return named;
  const fs::path folder = run / "ckpt";
  const auto newest = read_newest_checkpoint(folder);
  const int64_t step = newest ? newest->state.integer("best_test_step") : 0;
  check(step > 0, "--resume: ", run.string(), " has no complete epoch yet, so no best checkpoint");
  return checkpoint_path(folder, step);
}

}  // namespace

std::string paths_from(const fs::path& run) {
  const RecordFields record = run_record(run);
  return record.has("paths_from") ? record.text("paths_from") : "";
}

fs::path resumed_run(const std::string& resume, const char* flag) {
  if (resume.empty() || resume == "auto") return {};
  const fs::path path = without_trailing_slash(resume);
  fs::path run = is_checkpoint(path) ? path.parent_path().parent_path() : path;
  std::error_code error;
  if (RunDir::is_run(run)) return run;
  check(!fs::exists(run / "run.json", error), flag, run.string(), " is no run directory, ",
        RunDir::lack_of(run));
  fail(ErrorKind::usage, flag, path.string(), fs::exists(path, error) ? "" : " does not exist; it",
       " is neither a run directory (run.json) nor a checkpoint in one (ckpt/step-N)");
}

std::string task_of_run(const fs::path& run) {
  const RecordFields record = run_record(run);
  return record.has("task") ? record.text("task") : "modelnet";
}

void load_resumed_settings(Config& config, const fs::path& run) {
  if (run.empty() || !fs::exists(run / "config.toml")) return;
  config.load_toml(run / "config.toml", "--resume");
  find_data(config, run);
  // Runs from before tasks had names counted epochs between checkpoints.
  int64_t epochs = 0;
  if (config.given("task") || config.source("checkpoint_every") != Layer::file) return;
  if (parse_int64(config.text("checkpoint_every"), epochs)) {
    config.set("checkpoint_every", str(epochs, "e"), Layer::file,
               config.origin("checkpoint_every"));
  }
}

std::optional<Checkpoint> named_checkpoint(const std::string& resume, const fs::path& run) {
  const fs::path named = without_trailing_slash(resume);
  if (resume != "auto" && is_checkpoint(named)) {
    return read_checkpoint(real_checkpoint(named, run));
  }
  return read_newest_checkpoint(run / "ckpt");
}

Place find_place(const Config& config, const RunSettings& settings, bool measuring) {
  Place place;
  const std::string& resume = config.text("resume");
  const std::string& out = config.text("out");
  if (resume.empty()) {
    place.out = out.empty() ? first_free(default_run_name(settings)) : without_trailing_slash(out);
    return place;
  }
  if (resume == "auto") {
    place.out = out.empty() ? fs::path(default_run_name(settings)) : without_trailing_slash(out);
    if (RunDir::is_run(place.out)) place.source = place.out;
  } else {
    place.source = resumed_run(resume);
    place.out = out.empty() ? place.source : without_trailing_slash(out);
  }
  if (place.source.empty()) return place;
  place.in_place = fs::weakly_canonical(place.out) == fs::weakly_canonical(place.source);
  place.checkpoint = named_checkpoint(resume, place.source);
  const fs::path named = without_trailing_slash(resume);
  if (resume != "auto" && is_checkpoint(named)) {
    const auto steps = checkpoint_steps(place.source / "ckpt");
    // A copy under another name does not stand among the steps.
    const bool newest = !steps.empty() && place.checkpoint->step == steps.back();
    check(measuring || !place.in_place || newest, "--resume: ", named.string(),
          " is not the newest checkpoint of its run; give --out to branch off from it");
  }
  return place;
}

void extend_settings(Config& config) {
  const std::string flag = config.origin("extend");
  check(config.integer("extend") >= 0, flag, ": extend is expected to be at least 0, given ",
        config.text("extend"));
  if (config.integer("extend") == 0) return;
  const std::string& resume = config.text("resume");
  const fs::path run = resumed_run(resume);
  check(!run.empty() && !config.text("out").empty(), flag,
        ": expects --resume RUN, the run to go on from, and --out, the folder of the new one");
  check(fs::weakly_canonical(config.text("out")) != fs::weakly_canonical(run), flag,
        ": expects another --out than ", run.string(), ", which stays as it is");
  for (const char* key : {"epochs", "steps"}) {
    check(config.source(key) <= Layer::file, config.origin(key), ": ", key,
          " cannot be given beside --extend, which says how many epochs there are to come");
  }
  const auto checkpoint = named_checkpoint(resume, run);
  check(checkpoint.has_value(), "--resume: ", run.string(), " holds no complete checkpoint");
  check(fs::exists(run / "result.json") || is_checkpoint(without_trailing_slash(resume)), flag,
        ": ", run.string(), " was stopped before its end; complete it with --resume ", run.string(),
        ", or name a checkpoint, --resume ", checkpoint->path.string());
  config.set("epochs", config.text("extend"), Layer::flag, flag);
  config.set("steps", "0", Layer::flag, flag);
  config.set("extended.from", checkpoint->path.string(), Layer::flag, flag);
  config.set("extended.from_step", str(checkpoint->step), Layer::flag, flag);
}

Record extension_record(const Config& config) {
  Record out;
  if (!config.has("extended.from_step")) return out;
  return out.add("extended_from", std::string_view(config.text("extended.from")))
      .add("extended_from_step", config.integer("extended.from_step"))
      .add("extended_epochs", config.integer("epochs"))
      .add("extended_schedule", std::string_view(config.text("schedule")))
      .add("extended_lr", config.number("lr"));
}

void refuse_changed_settings(const Config& config, const fs::path& run) {
  Config recorded = train_settings(config.text("task"));
  load_resumed_settings(recorded, run);
  run_settings_from(recorded);
  if (config.integer("extend") > 0) {
    for (const char* key :
         {"lr", "schedule", "warmup", "epochs", "steps", "extended.from", "extended.from_step"}) {
      recorded.set(key, config.text(key), Layer::flag, "--extend");
    }
  }
  const std::string key = config.first_difference(recorded);
  const auto value = [&](const Config& c) { return c.has(key) ? c.text(key) : "not set"; };
  check(key.empty(), config.origin(key), ": ", key, " differs from the run ", run.string(),
        " that is resumed: ", value(config), ", there ", value(recorded),
        "; leave it out, or start a new run with --out",
        key == "epochs" || key == "steps" ? ", or train on behind its end: --extend N --out NEW"
                                          : "");
}

Fitted fitted_of(const Checkpoint& checkpoint) {
  constexpr std::string_view kPrefix = "fitted.";
  Fitted out;
  for (const auto& [key, value] : checkpoint.state.values()) {
    if (key.starts_with(kPrefix)) out[key.substr(kPrefix.size())] = value;
  }
  return out;
}

// A branch takes along the metrics up to its checkpoint.
void copy_metrics(const Place& place, const RunDir& dir) {
  std::string text = read_text_file(place.source / "metrics.jsonl");
  const auto bytes = static_cast<size_t>(place.checkpoint->state.integer("metrics_bytes"));
  if (text.size() < bytes) {
    fail(ErrorKind::data, (place.source / "metrics.jsonl").string(), ": expected at least ", bytes,
         " bytes, the file has ", text.size());
  }
  write_file_atomic(dir.metrics_file(), std::string_view(text).substr(0, bytes));
}

}  // namespace basin::tools
