// The settings of a training program for one task, and the plain structs that the library takes.
// Defaults that depend on the optimizer, on a recipe or on the preset of the model enter as the
// layer `preset` of the configuration.
#pragma once
#include <string>
#include <vector>

#include "basin/tools/shell/config.h"
#include "basin/train/trainer.h"

namespace basin::tools {

// What a configuration says, in the library's terms.
struct RunSettings {
  TaskConfig task;
  TrainOptions train;
  std::vector<std::string> notes;  // what the user should know of the settings, for the log
};

// The options of the task become settings of their own name; those of network and optimizer are
// open: model.KEY, optimizer.KEY; so is where an extended run begins, extended.KEY
// (extend_settings() in run_place.h).
const std::vector<std::string>& open_settings();  // those prefixes
Config train_settings(const std::string& task);

// Fills in what depends on the chosen optimizer and preset, checks every value and its combination.
// usage errors name where the value came from. No data are read.
RunSettings run_settings_from(Config& config);

// How an error of data ends that are not where the file of a run says; "" where they are there, and
// where the setting is no path.
std::string moved_data(const Config& config);
// Runs the body; a data error that it throws ends with the hint, once.
template <class F>
auto with_hint(const std::string& hint, F&& body) {
  try {
    return body();
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::data || std::string_view(e.what()).ends_with(hint)) throw;
    fail(e.kind(), e.what(), hint);
  }
}

// The task with its errors at the settings' origins, and the hint where data were moved. Data are read where the task has to fit.
Task task_from(const RunSettings& settings, const Config& config);

// The name of a run directory that a run gets without --out: "runs/pointnet-muon-s0".
std::string default_run_name(const RunSettings& settings);

// Every setting with its source, options of the network and of the optimizer included.
std::string describe_settings(const Config& config, const RunSettings& settings);

std::string train_help(const std::string& task);  // models, recipes, optimizers, schedules

}  // namespace basin::tools
