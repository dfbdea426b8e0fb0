// Crashes on purpose: the real program train_modelnet on a tiny problem, killed at a given time or
// at a given call (preload/faults.cpp), and the two questions asked afterwards: does everything
// that claims to be complete load and belong to the uninterrupted run (damage), and is a run that
// went on to its end that run, bit for bit and file for file (difference)?
#pragma once
#include <string>
#include <vector>

#include "basin/tests/tools/helpers.h"

namespace basin::tools {

struct Ended {
  int code = -1;   // exit code; -1 when a signal ended it
  int signal = 0;  // that signal
  double seconds = 0;
  std::string err;  // its log
};

// A kill loses nothing that a write has handed over, so a file system in memory serves, and spares
// the disk some thousand fsyncs.
fs::path fast_folder();

// Starts a program in a folder and waits; after `signal_after` seconds it gets the signal.
Ended run_program_in(const fs::path& folder, std::vector<std::string> words,
                     std::vector<std::string> environment, double signal_after, int signal);

class CrashBench {
 public:
  // Writes the data and makes the uninterrupted run, twice: as told and with every checkpoint kept.
  // `more` arguments go last, so they win.
  explicit CrashBench(const std::string& optimizer, std::vector<std::string> more = {},
                      size_t epochs = 3);

  fs::path out() const { return root_ / "run"; }
  // Always the same command, as a batch script would repeat it: --resume auto --out run.
  Ended start(const std::vector<std::string>& environment = {}, double signal_after = -1,
              int signal = 9) const;
  // With `fault` (see preload/faults.cpp). calls() has then what was logged.
  Ended start_with(const std::string& fault) const;
  // With `fault` of an allocation of `kind` (see preload/allocations.cpp); killed when it hangs.
  Ended start_short_of_memory(const std::string& kind, const std::string& fault) const;
  std::vector<std::string> calls() const;
  void forget_run() const;  // removes the folder of the run

  // "" or a sentence. Of an interrupted run:
  std::string damage() const;
  // ... and of a completed one.
  std::string difference() const;
  bool has_temporaries() const;

  double whole_seconds() const { return whole_seconds_; }

 private:
  Ended run(const std::string& out, int keep, const std::vector<std::string>& environment,
            double signal_after, int signal) const;

  TempDir root_;
  std::string optimizer_;
  std::vector<std::string> more_;
  double whole_seconds_ = 0;
};

// A count from the environment, else `usual`.
int64_t count_from_environment(const char* name, int64_t usual);

}  // namespace basin::tools
