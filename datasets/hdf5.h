// HDF5 point clouds in the layout of modelnet40_ply_hdf5_2048 and ScanObjectNN: dataset `data`
// [n, P, 3] of floats, dataset `label` [n] or [n, 1] of integers or whole floats, and `normal`
// [n, P, 3] where there are normals. Only hard-linked, fixed-size numeric datasets are read, as one
// block, in chunks (gzip, shuffle or checksum filters) or inside their header (compact), never
// external or virtual storage. The frame (signature, superblock, end-of-file address) is checked by
// code of our own before libhdf5 sees it.
#pragma once
#include <cstdint>
#include <string>

#include "basin/core/io.h"
#include "basin/core/tensor.h"

namespace basin {

struct Hdf5Clouds {
  Tensor points;   // [n, P, 3], f64 where the file has f64, else f32
  Tensor labels;   // [n] i64
  Tensor normals;  // [n, P, 3], f64 or f32, as stored; undefined when absent or not asked for
};

struct Hdf5Options {
  bool normals = false;                  // reads them, where there are any
  int64_t max_bytes = int64_t{1} << 33;  // that one dataset may occupy in memory
};

bool hdf5_available();  // compiled in

// data error naming the file and an offset: garbage, or shorter than its superblock says.
void check_hdf5_frame(const fs::path& path);

// data error for a damaged file; resource error naming the package when compiled without libhdf5.
Hdf5Clouds read_hdf5_clouds(const fs::path& path, const Hdf5Options& options = {});

}  // namespace basin
