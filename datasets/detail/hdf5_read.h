// The clouds of an HDF5 file, read from where its datasets lie. Nothing that was located is
// trusted: libhdf5 may have been led astray by the file. Needs zlib only.
// Internal to datasets/.
#pragma once
#include <cstdint>
#include <fstream>
#include <optional>

#include "basin/datasets/detail/hdf5_locate.h"
#include "basin/datasets/hdf5.h"

namespace basin {

// At its first byte; `size` gets the number of its bytes. data error if it cannot be opened.
std::ifstream open_hdf5(const fs::path& path, uint64_t& size);

struct LocatedClouds {
  Hdf5Located data, label;
  std::optional<Hdf5Located> normal = {};
};

// data error naming file, offset and dataset when they are not clouds, their labels and their
// normals, when their elements are not all in the file, or when the elements of one of them would
// take more than max_bytes.
Hdf5Clouds read_located_clouds(const fs::path& path, LocatedClouds located, int64_t max_bytes);

}  // namespace basin
