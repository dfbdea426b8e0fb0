// Fuzz target: molecules as SDF.
#include "basin/datasets/qm9.h"
#include "basin/tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace basin;
  return fuzz::guarded([&] { parse_molecules_sdf(fuzz::text_of(data, size), "input"); });
}
