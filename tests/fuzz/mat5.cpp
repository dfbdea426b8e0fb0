// Fuzz target: MATLAB files of level 5 (.mat): every variable, plain and deflated.
#include "basin/datasets/mat5.h"
#include "basin/tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace basin;
  return fuzz::guarded([&] {
    const Mat5File file({data, data + size}, "input");
    for (const std::string& name : file.names()) file.read(name);
  });
}
