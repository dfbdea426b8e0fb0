// The filters and element types of stored HDF5 chunks, undone by code of our own: libhdf5 does not
// check that a chunk unpacks to the size it must have, and reads past its end when it does not.
// Needs zlib only.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "basin/core/io.h"

namespace basin {

enum class Hdf5Filter : uint8_t { deflate, shuffle, fletcher32 };

// Undoes `filters` (in the order in which they were applied) on one chunk of elements of `width`
// bytes. The result has exactly `size` bytes, else a data error that begins with `where`.
std::vector<uint8_t> undo_filters(std::span<const uint8_t> stored,
                                  const std::vector<Hdf5Filter>& filters, size_t width, size_t size,
                                  const std::string& where);

// HDF5's Fletcher-32 over 16-bit big-endian words.
uint32_t fletcher32(std::span<const uint8_t> bytes);

struct Hdf5Element {
  bool floating = false;  // IEEE 754
  bool is_signed = false;
  bool big = false;
  size_t width = 0;  // 1, 2, 4, 8; of floats 2, 4, 8
};

// bytes.size() / width elements; out must have room for them. T: float, double (which holds all).
template <class T>
void decode_floats(std::span<const uint8_t> bytes, const Hdf5Element& type, T* out);
// The number of leading elements that int64 holds: all of them, unless one of u64 is too large.
size_t decode_integers(std::span<const uint8_t> bytes, const Hdf5Element& type, int64_t* out);

}  // namespace basin
