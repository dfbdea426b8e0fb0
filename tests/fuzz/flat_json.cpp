// Fuzz target: records, flat JSON objects of our own.
#include "basin/core/record.h"
#include "basin/tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace basin;
  return fuzz::guarded([&] { parse_record(fuzz::text_of(data, size), "input"); });
}
