// Allocations that fail: the first on every path of callers, in a training and in a probe.
// ALLOC_FAULTS=all in the environment takes every single one.
#include "basin/tests/tools/memory_campaign.h"

namespace basin::tools {

TEST_CASE("memory: the allocations of a training fail") {
  if (!allocations_can_fail()) return;
  CrashBench bench("adamw", {"--epochs", "1", "--threads", "2"}, 1);
  const MemoryCounts c = exhaust_training(bench, {});
  MESSAGE(text_of(c));
  CHECK(c.faults >= c.paths);
}

TEST_CASE("memory: all memory is gone from one allocation of a training on") {
  if (!allocations_can_fail()) return;
  CrashBench bench("muon", {"--epochs", "1", "--threads", "2"}, 1);
  const MemoryCounts c = exhaust_training(bench, {.kind = "storage", .how = "stays"});
  MESSAGE(text_of(c));
  CHECK(c.unnoticed == 0);
}

TEST_CASE("memory: the allocations of a probe fail") {
  if (!allocations_can_fail()) return;
  const ProbeBench bench;
  const MemoryCounts c = bench.exhaust({.stride = 2});
  MESSAGE(text_of(c));
  CHECK(c.faults >= c.paths / 2);
}

}  // namespace basin::tools
