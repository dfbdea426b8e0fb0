// Fuzz target: files of loss slices.
#include "basin/analysis/slice_file.h"
#include "basin/tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace basin;
  return fuzz::guarded([&] {
    const fuzz::MemoryFile file(data, size);
    read_slice(file.path());
  });
}
