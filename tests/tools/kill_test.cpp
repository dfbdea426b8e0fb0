// Crashes: a sample of the campaigns of kill_slow_test.cpp that fits into every build.
#include "basin/tests/tools/crash_campaign.h"

namespace basin::tools {

TEST_CASE("crash: 50 kills at random times, resumed to the same bits") {
  constexpr int64_t kKills = 50;
  KillCounts counts[2];
  uint64_t seed = 1;
  for (const char* optimizer : {"muon", "adamw"}) {
    CrashBench bench(optimizer);
    KillCounts& c = counts[seed - 1];
    c = kill_at_random(bench, kKills / 2, seed);
    CHECK(c.kills >= kKills / 2);
    MESSAGE(std::string(optimizer), ": ", c.kills, " kills of ", c.starts, " starts, ", c.runs,
            " runs, ", c.before_record, " before the record, ", c.before_checkpoint,
            " before a checkpoint, ", c.within_write, " within a write, ", c.seconds, " s");
    ++seed;
  }
}

TEST_CASE("crash: 10 requests to stop at random times, exit code 75, resumed to the same bits") {
  CrashBench bench("muon");
  const StopCounts c = stop_at_random(bench, 10, 3);
  MESSAGE(c.stopped, " stopped, ", c.too_early, " too early, ", c.runs, " runs, ", c.seconds, " s");
  CHECK(c.stopped >= 10);
}

TEST_CASE("crash: every 7th call killed, every 7th failing") {
  CrashBench bench("muon");
  const FaultCounts kills = kill_at_calls(bench, 3, 7);
  const FaultCounts errors = fail_at_calls(bench, 6, 7, false);
  MESSAGE(kills.calls, " calls, ", kills.faults, " killed in ", kills.seconds, " s, ",
          errors.faults, " failed in ", errors.seconds, " s");
  CHECK(kills.faults >= kills.calls / 7);
  CHECK(errors.faults >= errors.calls / 7);
}

}  // namespace basin::tools
