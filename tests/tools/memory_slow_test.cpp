// Allocations that fail: the first on every path of callers, in a training and in a probe.
// ALLOC_FAULTS=all in the environment takes every single one.
#include "basin/tests/tools/memory_campaign.h"

namespace basin::tools {

// In three parts, which may run side by side.
namespace {
void exhaust_third(int64_t first) {
  if (!allocations_can_fail()) return;
  CrashBench bench("adamw", {"--epochs", "1", "--threads", "2"}, 1);
  const MemoryCounts c = exhaust_training(bench, {.first = first, .stride = 3});
  MESSAGE(text_of(c));
  check_reached(c, c.paths / 3);
}
}  // namespace

TEST_CASE("memory: the allocations of a training fail, first third") { exhaust_third(0); }
TEST_CASE("memory: the allocations of a training fail, second third") { exhaust_third(1); }
TEST_CASE("memory: the allocations of a training fail, last third") { exhaust_third(2); }

TEST_CASE("memory: all memory is gone from one allocation of a training on") {
  if (!allocations_can_fail()) return;
  CrashBench bench("muon", {"--epochs", "1", "--threads", "2", "--set", kWide}, 1);
  const MemoryCounts c = exhaust_training(bench, {.kind = "storage", .how = "stays"});
  MESSAGE(text_of(c));
  CHECK(c.unnoticed <= 1);  // the batch prepared ahead when the last step ended
}

TEST_CASE("memory: the allocations of a probe fail") {
  if (!allocations_can_fail()) return;
  const ProbeBench bench;
  const MemoryCounts c = bench.exhaust({.stride = 101});
  MESSAGE(text_of(c));
  check_reached(c, c.paths / 101);
}

}  // namespace basin::tools
