// Fuzz target: HDF5 point clouds: frame, libhdf5 and our own decoding.
#include "basin/datasets/hdf5.h"
#include "basin/tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace basin;
  // libhdf5 asks for the real path of what it opens, and a MemoryFile has none.
  static const fuzz::Folder folder("hdf5");
  const fs::path path = folder.path() / "a.h5";
  fuzz::write_file(path, fuzz::text_of(data, size));
  return fuzz::guarded([&] { read_hdf5_clouds(path, int64_t{64} << 20); });
}
