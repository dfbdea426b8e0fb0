// Fuzz target: point clouds in PLY.
#include "basin/datasets/ply.h"
#include "basin/tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace basin;
  return fuzz::guarded([&] { parse_ply({data, size}, "input"); });
}
