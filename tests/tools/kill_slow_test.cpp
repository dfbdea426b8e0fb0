// Crashes: kills at random times and faults at every call by which a run changes files. The counts
// can be raised by the environment: CRASH_KILLS=1000 kills that often, CRASH_FAULTS=all lets every
// call fail in all six ways (three errors, once and for good) in place of one.
#include <cstdlib>

#include "basin/tests/tools/crash_campaign.h"

namespace basin::tools {
namespace {

std::string by_call(const FaultCounts& counts) {
  std::string out;
  for (const auto& [call, n] : counts.by_call) out += str(" ", call, " ", n);
  return out;
}

bool all_faults() {
  const char* text = std::getenv("CRASH_FAULTS");
  return text != nullptr && std::string(text) == "all";
}

}  // namespace

TEST_CASE("crash: kills at random times, resumed to the same bits") {
  const int64_t kills = count_from_environment("CRASH_KILLS", 160);
  uint64_t seed = 10;
  for (const char* optimizer : {"muon", "adamw"}) {
    CrashBench bench(optimizer);
    const KillCounts c = kill_at_random(bench, kills / 2, seed++);
    CHECK(c.kills >= kills / 2);
    MESSAGE(std::string(optimizer), ": ", c.kills, " kills of ", c.starts, " starts, ", c.runs,
            " runs, ", c.before_record, " before the record, ", c.before_checkpoint,
            " before a checkpoint, ", c.within_write, " within a write, ", c.seconds, " s");
  }
}

TEST_CASE("crash: killed at every call that changes a file") {
  CrashBench bench("muon");
  const FaultCounts c = kill_at_calls(bench, 1, 1);
  MESSAGE(c.calls, " calls, ", c.faults, " killed,", by_call(c), ", ", c.seconds, " s");
  CHECK(c.faults == c.calls);
  for (const char* call :
       {"open", "write", "write-half", "fsync", "rename", "mkdir", "unlink", "rmdir"}) {
    CHECK_MESSAGE(c.by_call.at(call) > 0, call);
  }
}

TEST_CASE("crash: every call that changes a file fails") {
  CrashBench bench("muon");
  const FaultCounts c = fail_at_calls(bench, 1, 1, all_faults());
  MESSAGE(c.calls, " calls, ", c.faults, " failed,", by_call(c), "; ", c.unnoticed, " unnoticed, ",
          c.seconds, " s");
  CHECK(c.faults == (all_faults() ? 6 : 1) * c.calls);
}

TEST_CASE("crash: killed and failing again while it resumes") {
  CrashBench bench("adamw");
  const TempDir dir;
  prepare_interrupted(bench, dir / "half");
  const int64_t stride = all_faults() ? 1 : 3;
  const FaultCounts kills = kill_at_calls(bench, 1, stride, dir / "half");
  const FaultCounts errors = fail_at_calls(bench, 2, stride, all_faults(), dir / "half");
  MESSAGE(kills.calls, " calls, ", kills.faults, " killed in ", kills.seconds, " s, ",
          errors.faults, " failed in ", errors.seconds, " s");
  CHECK(kills.faults >= kills.calls / stride);
  CHECK(errors.faults >= errors.calls / stride);
}

}  // namespace basin::tools
