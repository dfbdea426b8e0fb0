// Fuzz target: flat JSON objects of our own.
#include "basin/tests/fuzz/fuzz.h"
#include "basin/core/record.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace basin;
  return fuzz::guarded([&] { tools::parse_record(fuzz::text_of(data, size), "input"); });
}
