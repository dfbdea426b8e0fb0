// Fuzz target: NumPy arrays (.npy).
#include "basin/datasets/npy.h"
#include "basin/tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace basin;
  return fuzz::guarded([&] { parse_npy({data, size}, "input"); });
}
