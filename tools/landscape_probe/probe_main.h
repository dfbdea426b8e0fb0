// The program landscape_probe as a function, for programs that add parts, tasks, models or
// optimizers of their own: what was registered before the call takes part.
//   landscape_probe run runs/pointnet-muon-s0
//   landscape_probe compare runs/pointnet-adamw-s0 runs/pointnet-muon-s0
//   landscape_probe path runs/A runs/B --trajectory runs/A
//   landscape_probe demo
//   landscape_probe selftest
// stdout: results only. stderr: the log. Exit codes: --help.
#pragma once

namespace basin::tools {

int probe_main(int argc, const char* const* argv);

}  // namespace basin::tools
