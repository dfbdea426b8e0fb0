// Campaigns over allocations that fail (preload/allocations.cpp): each must end the program with
// exit code 5 and one sentence, by no signal and within a minute, with nothing half-written; the
// same command then completes to the same bits. An allocation whose failure the standard library
// makes good, or whose result nobody asks for (the batch ahead of the last step), is counted as
// unnoticed and must change nothing at all.
#pragma once
#include "basin/tests/tools/crash.h"

namespace basin::tools {

// A network whose tensors need more than the first few megabytes.
constexpr const char* kWide = "model.widths=64,128,512,256,128";

struct MemoryPlan {
  std::string kind = "new";       // or storage
  std::string how = "fail";       // or stays
  int64_t first = 0, stride = 1;  // of the list of allocations
  int64_t complete_every = 20;    // how often the run is carried to its end afterwards
};

struct MemoryCounts {
  int64_t allocations = 0;  // of the run
  int64_t paths = 0;        // different chains of callers among them: each first one is on the list
  int64_t faults = 0, unnoticed = 0, completed = 0;
  int64_t early = 0;  // runs that ended before the allocation that was to fail; not in faults
  double seconds = 0;
};

// That at least so many allocations were taken, and that hardly a run ended before its own: how
// many there are hangs a little on how the threads take turns.
inline void check_reached(const MemoryCounts& counts, int64_t taken) {
  CHECK(counts.faults + counts.early >= taken);
  CHECK(counts.early <= 1 + counts.faults / 50);
}

// With ALLOC_FAULTS=all in the environment the list holds every single allocation.
MemoryCounts exhaust_training(CrashBench& bench, const MemoryPlan& plan);

// The same for `landscape_probe run` on a trained run.
class ProbeBench {
 public:
  ProbeBench();
  // Killed after so many seconds.
  Ended start(const std::vector<std::string>& environment = {}, double hangs = 60) const;
  MemoryCounts exhaust(const MemoryPlan& plan) const;

 private:
  fs::path out() const { return root_ / "probe"; }
  // "" or what is wrong with what lies there; complete: nothing may be missing.
  std::string damage(bool complete) const;
  TempDir root_;
};

// Under a sanitizer operator new is the sanitizer's: prints SKIPPED and says no.
bool allocations_can_fail();

std::string text_of(const MemoryCounts& counts);

}  // namespace basin::tools
