// Tests of the programs' parts look tasks up by name, as the programs do, in whatever order they
// run.
#include "basin/train/tasks/tasks.h"

namespace {
[[maybe_unused]] const bool registered = [] {
  basin::register_builtin_tasks();
  return true;
}();
}  // namespace
