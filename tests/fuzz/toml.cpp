// Fuzz target: configuration files. What is wrong in one is a usage error.
#include "basin/tests/fuzz/fuzz.h"
#include "basin/tools/common/train_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace basin;
  return fuzz::guarded([&] {
    const fuzz::MemoryFile file(data, size);
    tools::Config config = tools::train_settings();
    try {
      config.load_toml(file.path());
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::usage) throw;
      fail(ErrorKind::data, e.what());
    }
  });
}
