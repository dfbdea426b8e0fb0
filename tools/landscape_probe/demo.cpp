// Training of the demonstration's networks.
#include "basin/tools/landscape_probe/detail/demo.h"

#include <new>

#include "basin/tools/landscape_probe/watched.h"
#include "basin/tools/shell/progress.h"
#include "basin/tools/shell/run_dir.h"
#include "basin/tools/shell/settings.h"
#include "basin/tools/shell/signals.h"

namespace basin::tools {
namespace {

constexpr const char* kDemo = "landscape_probe demo";
constexpr std::pair<const char*, const char*> kDemoSettings[]{
    {"data", "embedded"},
    {"model.name", "pointnet"},
    {"points", "64"},
    {"selection", "random"},
    {"augment", "none"},
    {"limit", "600"},
    {"epochs", "40"},
    {"batch", "16"},
    {"keep", "1"},
    {"model.dropout", "0"},
    {"model.widths", "16,32,64,32,16"},
    {"probe", "every=10,examples=48"},
};

Config demo_config(const std::string& optimizer) {
  Config config = train_settings("modelnet");
  for (const auto& [key, value] : kDemoSettings) config.set(key, value, Layer::set, kDemo);
  config.set("optimizer.name", optimizer, Layer::set, kDemo);
  return config;
}

Record facts_of_training(const Trainer& trainer, const std::string& command) {
  const DataFacts data = trainer.task().data();
  Record facts;
  return facts.add("program", "landscape_probe")
      .add("task", std::string_view(trainer.task().name))
      .add("command", command)
      .add("seed", static_cast<int64_t>(trainer.options().seed))
      .add("data", data.source)
      .add("data_hash", data.hash)
      .add("config_hash", trainer.options().config_hash);
}

void train_one(const fs::path& path, const std::string& optimizer, const std::string& command) {
  Config config = demo_config(optimizer);
  const RunSettings settings = run_settings_from(config);
  Trainer trainer(task_from(settings, config), settings.train);
  const bool there = RunDir::is_run(path);
  RunDir dir = there ? RunDir::open(path) : RunDir::create(path);
  if (!there) dir.write_config(config.to_toml());
  if (const auto last = read_newest_checkpoint(dir.checkpoints())) trainer.restore(*last);
  // A demo that was killed after the last checkpoint still owes the result.
  const bool complete = trainer.steps_done() == trainer.total_steps();
  if (complete && fs::exists(dir.result_file())) return;
  dir.begin(facts_of_training(trainer, command));
  log_line(str("training pointnet with ", optimizer, ": ", trainer.task().data().description));
  TrainHooks hooks;
  hooks.stop = stop_signal;
  hooks.log = log_line;
  TrainOutcome out;
  try {
    out = trainer.run(dir.path(), hooks);
  } catch (const Error& e) {
    dir.finish_failed(e.what(), e.exit_code());
    throw;
  } catch (const std::bad_alloc&) {
    dir.finish_failed("out of memory", static_cast<int>(ErrorKind::resource));
    throw;
  }
  if (!out.completed) {
    dir.finish(signal_name(out.signal), exit_code_of(out.signal));
    throw StopRequest{out.signal};
  }
  write_file_atomic(dir.result_file(), out.result.pretty());
  dir.finish("completed", 0);
}

}  // namespace

std::vector<fs::path> demo_runs(const fs::path& folder, const std::string& command) {
  std::vector<fs::path> out;
  for (const char* optimizer : {"adamw", "muon"}) {
    out.push_back(folder / str("pointnet-", optimizer));
    train_one(out.back(), optimizer, command);
  }
  return out;
}

}  // namespace basin::tools
