// Fuzz target: HDF5 point clouds: frame, libhdf5 and our own decoding.
#include "basin/datasets/hdf5.h"
#include "basin/tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace basin;
  return fuzz::guarded([&] {
    const fuzz::MemoryFile file(data, size);
    read_hdf5_clouds(file.path(), int64_t{64} << 20);
  });
}
