// Fuzz target: molecules as padded arrays.
#include "basin/datasets/qm9.h"
#include "basin/tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace basin;
  const fuzz::MemoryFile file(data, size);
  return fuzz::guarded([&] { read_molecules_npz(file.path()); });
}
