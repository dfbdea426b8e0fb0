// Fuzz target: configuration files, one setting of each kind and one open prefix. What is wrong in
// one is a usage error. What was accepted is written and read back.
#include "basin/tests/fuzz/fuzz.h"
#include "basin/tools/shell/config.h"

namespace {

using namespace basin;

tools::Config settings() {
  using tools::Kind;
  return tools::Config({{"data", Kind::text, "embedded", "Folder"},
                        {"points", Kind::integer, "1024", "Points"},
                        {"augment", Kind::text, "", "Augmentation"},
                        {"epochs", Kind::integer, "20", "Passes"},
                        {"lr", Kind::number, "", "Rate"},
                        {"dry_run", Kind::flag, "false", "Plan only"},
                        {"optimizer.name", Kind::text, "adamw", "Optimizer"}},
                       {"model.", "optimizer."});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return fuzz::guarded([&] {
    const fuzz::MemoryFile file(data, size);
    tools::Config config = settings();
    try {
      config.load_toml(file.path());
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::usage) throw;
      fail(ErrorKind::data, e.what());
    }
    const std::string written = config.to_toml();
    const fuzz::MemoryFile again(reinterpret_cast<const uint8_t*>(written.data()), written.size());
    tools::Config copy = settings();
    copy.load_toml(again.path());  // any error here is of the wrong kind: a finding
    if (copy.to_toml() != written) std::abort();
  });
}
