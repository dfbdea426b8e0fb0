// What every program shares on the command line: flags made from the table of settings, --config,
// --set, --version, --help, and the mapping of failures to exit codes:
//   0 ok; 1 internal; 2 usage; 3 bad input data; 4 numerical failure; 5 out of memory or device;
//   6 output exists or cannot be written; 75 stopped by a signal after a checkpoint; 130 interrupt.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "basin/tools/shell/config.h"

namespace basin::tools {

struct Program {
  std::string name;
  std::string summary;
  std::function<std::string()> details = {};  // printed below the flags by --help
  std::string positional = {};                // name of free arguments, e.g. "CASE"; empty: none
  std::string positional_help = {};
  // The default that --help shows; absent: that of the table.
  std::function<std::string(const Setting&)> shown_default = {};
};

struct CommandLine {
  bool done = false;  // --help or --version was answered: exit with 0
  std::vector<std::string> positionals;
};

// Fills the layers file, environment, --set and flag. Every fault is a usage error.
CommandLine parse_command_line(const Program& program, Config& config, int argc,
                               const char* const* argv);

// The last value of `flag` ("--task") on a command line that is not parsed yet, "" without one: for
// a choice on which the settings themselves depend.
std::string flag_value(const std::string& flag, int argc, const char* const* argv);

// Runs the body; an exception becomes one sentence "program: ..." on stderr and its exit code. The
// standard streams are open before and know no locale, whatever the caller's are.
int run_program(const std::string& name, const std::function<int()>& body);

// Settings that mean the same in every program.
std::vector<Setting> shared_settings();
void apply_shared_settings(const Config& config);  // threads, verbosity, log sink, device
// Of the settings device and tf32: a resource error (exit 5) where there is no such device.
void choose_device(const Config& config);
// Of the setting json, before the work: output error where its folder is missing.
void check_json_target(const Config& config);

extern const char* const kExitCodeHelp;

}  // namespace basin::tools
