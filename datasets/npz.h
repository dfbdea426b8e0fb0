// NumPy's .npz: a zip archive of .npy members, stored or deflated (APPNOTE 6.3). The central
// directory is the authority; every member is checked against its local header, its CRC-32, a size
// limit and the compression that deflate can reach before it is decoded. Members are decoded when
// asked for.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "basin/core/io.h"
#include "basin/core/tensor.h"

namespace basin {

class NpzFile {
 public:
  // data error naming the file and the offset of the fault.
  explicit NpzFile(const fs::path& path);
  NpzFile(std::vector<uint8_t> bytes, std::string name);

  std::vector<std::string> names() const;  // without ".npy", in the order of the directory
  bool contains(std::string_view name) const;
  Tensor read(
      std::string_view name) const;  // data error listing the members when there is none such

 private:
  struct Entry {
    std::string name;
    uint16_t method = 0;
    uint32_t crc = 0;
    uint64_t packed = 0, size = 0;  // bytes in the file, bytes once inflated
    uint64_t header = 0;            // offset of the local header
    uint64_t data = 0;              // offset of the packed bytes
  };
  void read_directory();
  Entry read_entry(ByteReader& reader, uint64_t directory) const;
  uint64_t find_data(const Entry& e, const std::string& name, uint64_t directory) const;
  std::vector<uint8_t> bytes_;
  std::string name_;
  std::vector<Entry> entries_;
};

// Stored members, fixed time stamp: equal input gives equal bytes.
std::vector<uint8_t> serialize_npz(const std::vector<std::pair<std::string, Tensor>>& arrays);
void write_npz(const fs::path& path, const std::vector<std::pair<std::string, Tensor>>& arrays);

}  // namespace basin
