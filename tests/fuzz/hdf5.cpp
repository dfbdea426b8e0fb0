// Fuzz target: HDF5 point clouds: frame, libhdf5 and our own decoding. libhdf5 does crash, in the
// process that is there for that; only what happens in this one is a finding.
#include <pthread.h>

#include "basin/datasets/hdf5.h"
#include "basin/tests/fuzz/fuzz.h"

extern "C" void __sanitizer_set_death_callback(void (*callback)());

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  // The fuzzer would save an input, and count it, when a sanitizer ends the child.
  return pthread_atfork(nullptr, nullptr, [] { __sanitizer_set_death_callback(nullptr); });
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace basin;
  // libhdf5 asks for the real path of what it opens, and a MemoryFile has none.
  static const fuzz::Folder folder("hdf5");
  const fs::path path = folder.path() / "a.h5";
  fuzz::write_file(path, fuzz::text_of(data, size));
  return fuzz::guarded(
      [&] { read_hdf5_clouds(path, {.normals = true, .max_bytes = int64_t{64} << 20}); });
}
