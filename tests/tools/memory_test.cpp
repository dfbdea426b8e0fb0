// Allocations that fail: a sample of the campaigns of memory_slow_test.cpp that fits into every
// build. A program that was built with a sanitizer has its own operator new and is left out.
#include "basin/tests/tools/memory_campaign.h"

namespace basin::tools {

TEST_CASE("memory: a sample of the allocations of a training fails") {
  if (!allocations_can_fail()) return;
  CrashBench bench("muon", {"--epochs", "1", "--threads", "2"}, 1);
  const MemoryCounts objects = exhaust_training(bench, {.first = 7, .stride = 101});
  CrashBench large("muon", {"--epochs", "1", "--threads", "2", "--set", kWide}, 1);
  const MemoryCounts mappings = exhaust_training(large, {.kind = "storage", .how = "stays"});
  MESSAGE("operator new: ", text_of(objects));
  MESSAGE("storage: ", text_of(mappings));
  CHECK(objects.faults > 20);
  CHECK(objects.unnoticed < objects.faults / 2);
  CHECK(mappings.faults > 0);
  CHECK(mappings.unnoticed <= 1);  // the batch prepared ahead when the last step ended
}

TEST_CASE("memory: a sample of the allocations of a probe fails") {
  if (!allocations_can_fail()) return;
  const ProbeBench bench;
  const MemoryCounts objects = bench.exhaust({.first = 211, .stride = 1401});
  const MemoryCounts mappings = bench.exhaust({.kind = "storage", .how = "stays"});
  MESSAGE("operator new: ", text_of(objects));
  MESSAGE("storage: ", text_of(mappings));
  CHECK(objects.faults > 1);
  CHECK(mappings.faults > 0);
  CHECK(mappings.unnoticed == 0);
}

}  // namespace basin::tools
