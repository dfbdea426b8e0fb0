// PLY point clouds (Turk, 1994): ascii, binary_little_endian and binary_big_endian. Takes x, y, z
// and, where all three are there, nx, ny, nz of the element `vertex`, whatever their numeric type,
// their order and whatever stands beside them; other elements and list properties are passed over,
// and so is what follows the last element. Lines end in \n, \r\n or \r; comment and obj_info lines
// may stand anywhere in the header. Counts are checked against the bytes before anything is
// allocated.
#pragma once
#include <span>
#include <string>

#include "basin/core/io.h"
#include "basin/core/tensor.h"

namespace basin {

struct PlyCloud {
  Tensor points;   // [n, 3], f32 when the file's numbers are binary and no wider, else f64
  Tensor normals;  // [n, 3] of the same type, as stored (not checked); undefined when absent
};

// data error naming the file and the line (header, ascii) or offset (binary).
PlyCloud read_ply(const fs::path& path);
PlyCloud parse_ply(std::span<const uint8_t> bytes, const std::string& name);

}  // namespace basin
