// Fuzz target: meshes in OFF.
#include "basin/datasets/mesh.h"
#include "basin/tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace basin;
  return fuzz::guarded([&] { parse_off(fuzz::text_of(data, size), "input"); });
}
