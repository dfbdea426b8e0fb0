// Fuzz target: flat JSON objects of our own.
#include "basin/tests/fuzz/fuzz.h"
#include "basin/tools/common/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace basin;
  return fuzz::guarded([&] { tools::parse_flat_json(fuzz::text_of(data, size), "input"); });
}
