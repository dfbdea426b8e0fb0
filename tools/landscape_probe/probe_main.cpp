// The actions of landscape_probe.
#include "basin/tools/landscape_probe/probe_main.h"

#include <algorithm>
#include <iostream>

#include "basin/tools/landscape_probe/barriers.h"
#include "basin/tools/landscape_probe/detail/compare.h"
#include "basin/tools/landscape_probe/detail/demo.h"
#include "basin/tools/landscape_probe/detail/gauge.h"
#include "basin/tools/landscape_probe/detail/path.h"
#include "basin/tools/landscape_probe/detail/probe.h"
#include "basin/tools/landscape_probe/detail/selftest.h"
#include "basin/tools/landscape_probe/probed.h"
#include "basin/tools/landscape_probe/settings.h"
#include "basin/tools/landscape_probe/watched.h"
#include "basin/tools/shell/cli.h"
#include "basin/tools/shell/environment.h"
#include "basin/tools/shell/progress.h"
#include "basin/tools/shell/signals.h"
#include "basin/train/tasks/tasks.h"

namespace basin::tools {
namespace {

struct Call {
  std::vector<std::string> networks;  // behind the action
  Config& config;
  std::string command;  // as typed
};

void run_action(const Call& call) {
  check(!call.networks.empty(), "run: expects run directories or files of weights, none given");
  const std::string& out = call.config.text("out");
  check(out.empty() || call.networks.size() == 1, call.config.origin("out"),
        ": one folder cannot hold the probes of ", call.networks.size(), " runs; leave --out away");
  const std::string& json = call.config.text("json");
  const bool whole = call.config.text("shard") == "0/1";
  check(json.empty() || (call.networks.size() == 1 && whole), call.config.origin("json"),
        ": --json takes the numbers of one whole probe, given ", call.networks.size(),
        whole ? " networks" : " networks and a shard");
  for (const std::string& network : call.networks) {
    const fs::path probe = probe_run(network, call.config, out, call.command);
    if (!whole) continue;
    std::cout << report_probe(probe, call.command);
    if (!json.empty()) write_file_atomic(json, probe_numbers(probe).pretty());
  }
}

void compare_action(const Call& call) {
  std::cout << compare_runs(call.networks, call.config, call.config.text("out"), call.command);
}

void path_action(const Call& call) {
  std::cout << path_between(call.networks, call.config, call.config.text("out"), call.command);
}

void barriers_action(const Call& call) {
  std::cout << barriers_between(call.networks, call.config, call.config.text("out"), call.command);
}

void gauge_action(const Call& call) {
  check(call.networks.size() == 1, "gauge: expects one network, given ", call.networks.size());
  std::cout << gauge_paths(call.networks.front(), call.config, call.config.text("out"),
                           call.command);
}

// Actions without numbers of one kind.
void refuse_json(const Call& call, const std::string& action) {
  for (const char* known : {"run", "path", "barriers", "gauge"}) {
    if (action == known) return;
  }
  check(call.config.text("json").empty(), call.config.origin("json"),
        ": --json is for run, path, barriers and gauge; ", action, " writes tables/*.csv");
}

// Settings of the demonstration where they differ from the defaults: a minute, all in.
void apply_demo_settings(Config& config) {
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, std::string>>{{"examples", "128"},
                                                        {"batch", "64"},
                                                        {"top", "5"},
                                                        {"bottom", "2"},
                                                        {"lanczos_steps", "24"},
                                                        {"probes", "16"},
                                                        {"density_steps", "16"},
                                                        {"slice_examples", "64"},
                                                        {"sharpness_examples", "64"},
                                                        {"grid", "15"},
                                                        {"resamples", "100"},
                                                        {"rank_examples", "200"}}) {
    config.set(key, value, Layer::preset, "landscape_probe demo");
  }
}

void refuse_networks(const Call& call, const char* action) {
  check(call.networks.empty(), action, ": expects no run directories, given '",
        call.networks.empty() ? "" : call.networks.front(), "'");
}

void demo_action(const Call& call) {
  refuse_networks(call, "demo");
  apply_demo_settings(call.config);
  const fs::path out =
      call.config.text("out").empty() ? "runs/landscape-demo" : call.config.text("out");
  std::vector<std::string> runs;
  for (const fs::path& run : demo_runs(out, call.command)) runs.push_back(run.string());
  std::cout << compare_runs(runs, call.config, out / "compare", call.command);
}

void selftest_action(const Call& call) {
  refuse_networks(call, "selftest");
  std::cout << selftest_table();
}

struct Action {
  const char* name;
  void (*run)(const Call&);
};
constexpr Action kActions[] = {{"run", run_action},          {"compare", compare_action},
                               {"path", path_action},        {"barriers", barriers_action},
                               {"gauge", gauge_action},      {"demo", demo_action},
                               {"selftest", selftest_action}};

std::string action_names() {
  std::vector<std::string> names;
  for (const Action& a : kActions) names.push_back(a.name);
  const std::string last = names.back();
  names.pop_back();
  return joined(names) + " or " + last;
}

const Action& action_named(const std::string& name) {
  std::vector<std::string> known;
  for (const Action& a : kActions) {
    if (a.name == name) return a;
    known.push_back(a.name);
  }
  const std::string near = nearest_name(name, known);
  fail(ErrorKind::usage, "unknown action '", name, "'",
       near.empty() ? "; expected " + action_names() : "; did you mean '" + near + "'?");
}

// The task decides which settings there are, so it is looked for before the rest is read.
std::string task_asked_for(int argc, const char* const* argv) {
  std::string found = flag_value("--task", argc, argv);
  if (found.empty()) found = task_names().front();
  task_info(found);
  return found;
}

// What says which weights they are is a run's own.
void refuse_unused_settings(const Call& call) {
  const std::string given = given_training_setting(call.config);
  const auto& names = call.networks;
  check(given.empty() || std::any_of(names.begin(), names.end(), is_weights),
        call.config.origin(given), ": ", given,
        " is for weights that stand alone; a run knows its own");
}

int run_program_of(int argc, const char* const* argv) {
  const std::string task = task_asked_for(argc, argv);
  Config config = probe_settings(task);
  const Program program{fs::path(argv[0]).filename().string(),
                        "Curvature, loss slices and spectra of trained networks.",
                        [&task] { return probe_help(task); }, "ACTION",
                        action_names() + ", then run directories or files of weights"};
  CommandLine line = parse_command_line(program, config, argc, argv);
  if (line.done) return 0;
  check(config.text("task") == task, config.origin("task"),
        ": the task is chosen by --task alone, which says ", task);
  check(!line.positionals.empty(), "expects an action: ", action_names());
  const Action& action = action_named(line.positionals.front());
  const Call call{
      {line.positionals.begin() + 1, line.positionals.end()}, config, command_line(argc, argv)};
  apply_shared_settings(config);
  check_probe_settings(config);  // every value is checked before anything is read
  refuse_unused_settings(call);
  if (config.flag("print_config")) {
    std::cout << config.describe();
    return 0;
  }
  refuse_json(call, action.name);
  check_json_target(config);
  install_signal_handlers();
  action.run(call);
  return 0;
}

}  // namespace

int probe_main(int argc, const char* const* argv) {
  // Before run_program() nothing may ask for memory: no exception is caught yet.
  const std::string_view path = argv[0];
  const std::string program(path.substr(path.rfind('/') + 1));
  return run_program(program, [argc, argv] {
    register_builtin_tasks();
    try {
      return run_program_of(argc, argv);
    } catch (const StopRequest& stop) {
      warning_line(str("stopped by ", signal_name(stop.signal),
                       "; the parts so far are kept, the same command goes on from there"));
      return exit_code_of(stop.signal);
    }
  });
}

}  // namespace basin::tools
