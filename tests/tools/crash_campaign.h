// Campaigns over many crashes: at random times, and at every call by which a run changes files.
// Each counts what it did, so that a test can say that it did anything.
#pragma once
#include <map>

#include "basin/tests/tools/crash.h"

namespace basin::tools {

struct KillCounts {
  int64_t kills = 0, starts = 0, runs = 0;  // runs: carried to their end
  int64_t before_record = 0;                // killed before run.json was there
  int64_t before_checkpoint = 0;            // ... with a record, without a checkpoint
  int64_t within_write = 0;                 // ... with a temporary file or folder on the disk
  double seconds = 0;
};
// SIGKILL at times uniform over the duration of the whole run, again and again until it is through;
// then the next run, until `kills` were made.
KillCounts kill_at_random(CrashBench& bench, int64_t kills, uint64_t seed);

struct StopCounts {
  int64_t stopped = 0, too_early = 0, runs = 0;  // too early: before the program could listen
  double seconds = 0;
};
// SIGTERM and SIGUSR1 in turn at random times, until `stops` of them ended in exit code 75.
StopCounts stop_at_random(CrashBench& bench, int64_t stops, uint64_t seed);

struct FaultCounts {
  int64_t calls = 0, faults = 0, unnoticed = 0;
  std::map<std::string, int64_t> by_call;  // faults by the name of the call
  double seconds = 0;
};
// Kills at call first, first + stride, ... of a run, then lets it go on. `prepared`: instead of
// starting afresh, each time from this copy of an interrupted run.
FaultCounts kill_at_calls(CrashBench& bench, int64_t first, int64_t stride,
                          const fs::path& prepared = {});
// The same with calls that fail: ENOSPC, EIO, EROFS in turn (all three each time with `every`),
// once or for good.
FaultCounts fail_at_calls(CrashBench& bench, int64_t first, int64_t stride, bool every,
                          const fs::path& prepared = {});

// Leaves in `folder` a run with one checkpoint that was killed while it wrote the second.
void prepare_interrupted(CrashBench& bench, const fs::path& folder);

}  // namespace basin::tools
