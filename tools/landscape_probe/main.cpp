// landscape_probe: where in the landscape an optimizer ended, and how spread its spectra are.
//   landscape_probe run runs/pointnet-muon-s0
//   landscape_probe compare runs/pointnet-adamw-s0 runs/pointnet-muon-s0
//   landscape_probe demo
//   landscape_probe selftest
// stdout: results only. stderr: the log. Exit codes: --help.
#include <iostream>

#include "basin/tools/landscape_probe/compare.h"
#include "basin/tools/landscape_probe/demo.h"
#include "basin/tools/landscape_probe/probe.h"
#include "basin/tools/landscape_probe/selftest.h"
#include "basin/tools/shell/cli.h"
#include "basin/tools/shell/environment.h"
#include "basin/tools/shell/progress.h"
#include "basin/tools/shell/signals.h"

namespace basin::tools {
namespace {

constexpr const char* kName = "landscape_probe";

int run_all(const std::vector<std::string>& runs, const Config& config,
            const std::string& command) {
  check(!runs.empty(), "run: expects run directories, none given");
  const std::string& out = config.text("out");
  check(out.empty() || runs.size() == 1, config.origin("out"),
        ": one folder cannot hold the probes of ", runs.size(), " runs; leave --out away");
  for (const std::string& run : runs) {
    const fs::path probe = probe_run(run, config, out, command);
    if (config.text("shard") != "0/1") continue;
    std::cout << report_probe(probe, command);
  }
  return 0;
}

// Settings of the demonstration where they differ from the defaults: a minute, all in.
void apply_demo_settings(Config& config) {
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, std::string>>{{"shapes", "128"},
                                                        {"batch", "64"},
                                                        {"top", "5"},
                                                        {"bottom", "2"},
                                                        {"lanczos_steps", "24"},
                                                        {"probes", "16"},
                                                        {"density_steps", "16"},
                                                        {"slice_shapes", "64"},
                                                        {"sharpness_shapes", "64"},
                                                        {"grid", "15"},
                                                        {"resamples", "100"},
                                                        {"rank_shapes", "200"}}) {
    config.set(key, value, Layer::preset, "landscape_probe demo");
  }
}

int demo(Config& config, const std::string& command) {
  apply_demo_settings(config);
  const fs::path out = config.text("out").empty() ? "runs/landscape-demo" : config.text("out");
  std::vector<std::string> runs;
  for (const fs::path& run : demo_runs(out, command)) runs.push_back(run.string());
  std::cout << compare_runs(runs, config, out / "compare", command);
  return 0;
}

int run(int argc, const char* const* argv) {
  Config config = probe_settings();
  const Program program{kName, "Curvature, loss slices and spectra of trained networks.",
                        probe_help, "ACTION",
                        "run, compare, demo or selftest, then run directories"};
  CommandLine line = parse_command_line(program, config, argc, argv);
  if (line.done) return 0;
  check(!line.positionals.empty(), "expects an action: run, compare, demo or selftest");
  const std::string action = line.positionals.front();
  const std::vector<std::string> runs(line.positionals.begin() + 1, line.positionals.end());
  apply_shared_settings(config);
  probe_settings_from(config);  // every value is checked before anything is read
  if (config.flag("print_config")) {
    std::cout << config.describe();
    return 0;
  }
  install_signal_handlers();
  const std::string command = command_line(argc, argv);
  if (action == "run") return run_all(runs, config, command);
  if (action == "compare") {
    std::cout << compare_runs(runs, config, config.text("out"), command);
    return 0;
  }
  const std::vector<std::string> known{"run", "compare", "demo", "selftest"};
  if (action != "demo" && action != "selftest") {
    const std::string near = nearest_name(action, known);
    fail(ErrorKind::usage, "unknown action '", action, "'",
         near.empty() ? "; expected run, compare, demo or selftest"
                      : "; did you mean '" + near + "'?");
  }
  check(runs.empty(), action, ": expects no run directories, given '",
        runs.empty() ? "" : runs.front(), "'");
  if (action == "demo") return demo(config, command);
  std::cout << selftest_table();
  return 0;
}

int run_until_stopped(int argc, const char* const* argv) {
  try {
    return run(argc, argv);
  } catch (const StopRequest& stop) {
    warning_line(str("stopped by ", signal_name(stop.signal),
                     "; the parts so far are kept, the same command goes on from there"));
    return exit_code_of(stop.signal);
  }
}

}  // namespace
}  // namespace basin::tools

int main(int argc, char** argv) {
  return basin::tools::run_program("landscape_probe",
                                   [&] { return basin::tools::run_until_stopped(argc, argv); });
}
