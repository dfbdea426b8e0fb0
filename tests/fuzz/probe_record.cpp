// Fuzz target: the files of a probe, each read as every part that it could be.
#include "basin/tests/fuzz/fuzz.h"
#include "basin/tools/landscape_probe/record.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace basin;
  using namespace basin::tools;
  const fuzz::MemoryFile file(data, size);
  const fs::path path = file.path();
  fuzz::guarded([&] { read_identity(path); });
  fuzz::guarded([&] { read_record<std::vector<CurvatureRecord>>(path); });
  fuzz::guarded([&] { read_record<RanksRecord>(path); });
  fuzz::guarded([&] { read_record<RepresentationsRecord>(path); });
  fuzz::guarded([&] { read_record<SharpnessRecords>(path); });
  return fuzz::guarded([&] { read_record<SlicesRecord>(path); });
}
