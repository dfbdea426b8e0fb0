// NumPy's .npy: magic, version, header length, a Python literal with descr / fortran_order / shape,
// then the elements (numpy.lib.format). Versions 1, 2 and 3; floats of 2, 4 and 8 bytes, integers
// of 1 to 8 with and without a sign, and bool, in both byte orders, C and Fortran order. Integers
// and bool become i32 where that holds their type, else i64 (a u64 from 2^63 on is refused), f16
// becomes f32. Object arrays are refused: they hold pickles. The element count is checked against
// the bytes that are there before anything is allocated.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "basin/core/io.h"
#include "basin/core/tensor.h"

namespace basin {

// data error naming the file and the offset of the fault.
Tensor read_npy(const fs::path& path);
Tensor parse_npy(std::span<const uint8_t> bytes, const std::string& name);

// Version 1, little endian, C order, elements from a 64-byte boundary on: what np.save writes.
std::vector<uint8_t> serialize_npy(const Tensor& tensor);
void write_npy(const fs::path& path, const Tensor& tensor);  // atomic

}  // namespace basin
