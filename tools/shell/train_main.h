// A training program from the names of its tasks: command line, configuration, run directory,
// signals, progress, --resume, --dry-run, compare, predict, measurements and --replay.
//   int main(int argc, char** argv) { return basin::tools::train_main({"my_task"}, argc, argv); }
// Tasks, models and optimizers that were registered before the call take part: they are looked up
// by name and listed in --help. Exit codes: --help.
#pragma once
#include <initializer_list>
#include <string>
#include <vector>

#include "basin/tools/shell/measure.h"
#include "basin/tools/shell/report.h"

namespace basin::tools {

// What a program has beside what every task gets.
struct TrainExtras {
  std::vector<Measurement> measurements = {};
  std::vector<ComparisonColumn> columns = {};  // of compare
};

// The first task is the default of --task. The program is called by the last part of argv[0].
// `extras` is called where a failure ends the program as any other does, with its exit code.
int train_main(std::initializer_list<const char*> tasks, int argc, const char* const* argv,
               TrainExtras (*extras)() = nullptr);

}  // namespace basin::tools
