// NumPy's .npy: magic, version, header length, a Python literal with descr / fortran_order / shape,
// then the elements (numpy.lib.format). Versions 1, 2 and 3; <f4 <f8 <i4 <i8 |u1 |b1 in both byte
// orders, C and Fortran order. |u1 and |b1 become i32. Object arrays are refused: they hold
// pickles. The element count is checked against the bytes that are there before anything is
// allocated.
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
