// PLY point clouds (Turk, 1994): ascii, binary_little_endian and binary_big_endian. Takes x, y, z
// of the element `vertex`, whatever their numeric type and whatever stands beside them; other
// elements, list properties included, are skipped. Counts are checked against the bytes before
// anything is allocated.
#pragma once
#include <span>
#include <string>

#include "basin/core/io.h"
#include "basin/core/tensor.h"

namespace basin {

// data error naming the file and the line (header, ascii) or offset (binary).
Tensor read_ply(const fs::path& path);                                      // -> [n, 3] f32
Tensor parse_ply(std::span<const uint8_t> bytes, const std::string& name);  // -> [n, 3] f32

}  // namespace basin
