// HDF5 point clouds in the layout of modelnet40_ply_hdf5_2048 and ScanObjectNN: dataset `data`
// [n, P, 3] of floats, dataset `label` [n] or [n, 1] of integers. Only hard-linked, fixed-size
// numeric datasets with gzip, shuffle or checksum filters are read, never external or virtual
// storage. The frame (signature, superblock, end-of-file address) is checked by code of our own
// before libhdf5 sees it.
#pragma once
#include <cstdint>
#include <string>

#include "basin/core/io.h"
#include "basin/core/tensor.h"

namespace basin {

struct Hdf5Clouds {
  Tensor points;  // [n, P, 3] f32
  Tensor labels;  // [n] i64
};

bool hdf5_available();  // compiled in

// data error naming the file and an offset: garbage, or shorter than its superblock says.
void check_hdf5_frame(const fs::path& path);

// data error for a damaged file; resource error naming the package when compiled without libhdf5.
// `max_bytes` bounds what one dataset may occupy in memory.
Hdf5Clouds read_hdf5_clouds(const fs::path& path, int64_t max_bytes = int64_t{1} << 33);

}  // namespace basin
