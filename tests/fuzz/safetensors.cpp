// Fuzz target: safetensors files.
#include "basin/core/safetensors.h"
#include "basin/tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace basin;
  return fuzz::guarded([&] { parse_safetensors({data, size}, "input"); });
}
