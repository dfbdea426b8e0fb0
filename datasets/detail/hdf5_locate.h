// Where the elements of HDF5 datasets lie, as libhdf5 tells. The library reads past its heap on
// damaged files and then crashes or never returns, so it is called in a process of its own with
// limits (limited_child.h); what comes back are plain numbers, none of them checked.
// Internal to datasets/.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "basin/core/io.h"
#include "basin/datasets/detail/hdf5_decode.h"

namespace basin {

constexpr uint64_t kMaxHdf5Chunks = 20'000;  // the library walks its index once per chunk

constexpr uint64_t kMaxHdf5Compact = 1 << 16;  // elements inside an object header, in bytes

enum class Hdf5Layout : uint8_t { contiguous, chunked, compact, other };

struct Hdf5Chunk {
  std::vector<uint64_t> at;  // of its first element, one number per axis
  uint64_t mask = 0, address = 0, bytes = 0;
};

struct Hdf5Located {
  uint64_t offset = 0;          // of the dataset's header in the file
  uint64_t rank = 0;            // the library's; `shape` is empty beyond 3
  std::vector<uint64_t> shape;  // elements per axis
  Hdf5Element element;          // width 0: none of the plain ones
  Hdf5Layout layout = Hdf5Layout::other;
  std::vector<uint64_t> filters;  // the library's numbers, in the order of their application
  std::vector<uint64_t> chunk;    // elements per axis
  uint64_t stored = 0, address = 0;
  uint64_t chunk_count = 0;
  std::vector<Hdf5Chunk> chunks;  // empty when there are more than kMaxHdf5Chunks
  std::vector<uint8_t> compact;   // the elements themselves, in the byte order of the file
};

// The datasets of these names in the root group, nothing for a name that it does not have. data
// error naming file, offset and dataset.
std::vector<std::optional<Hdf5Located>> locate_hdf5(const fs::path& path,
                                                    const std::vector<std::string>& names);

// One dataset of the child's answer. data error when the answer is no such list of numbers.
std::optional<Hdf5Located> take_located(ByteReader& in);

}  // namespace basin
