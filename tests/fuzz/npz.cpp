// Fuzz target: NumPy archives (.npz): directory, every member.
#include "basin/datasets/npz.h"
#include "basin/tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace basin;
  return fuzz::guarded([&] {
    const NpzFile file({data, data + size}, "input");
    for (const std::string& name : file.names()) file.read(name);
  });
}
