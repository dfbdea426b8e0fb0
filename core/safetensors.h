// safetensors: u64 header length, JSON header, tensor bytes. Reader and writer, hand-written
// because the reader must refuse what common ones accept: duplicate keys, holes, overlaps, ranges
// that do not match the shape. F32, F64, I32, I64 are read and written; F16 and BF16 are read as
// f32, the other integers and BOOL as i32 where that holds their type, else as i64.
#pragma once
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "basin/core/io.h"
#include "basin/core/tensor.h"

namespace basin {

struct SafetensorsFile {
  std::vector<std::pair<std::string, Tensor>> tensors;  // in file order
  std::map<std::string, std::string> metadata;          // "__metadata__"
  const Tensor* find(std::string_view name) const;      // null if absent
};

// data error naming the file and the offset of the fault.
SafetensorsFile read_safetensors(const fs::path& path);
SafetensorsFile parse_safetensors(std::span<const uint8_t> bytes, const std::string& name);

// Header padded so that tensor bytes start on a 64-byte boundary. Deterministic bytes for equal
// input; tensors may lie on any device.
std::vector<uint8_t> serialize_safetensors(const SafetensorsFile& file);
void write_safetensors(const fs::path& path, const SafetensorsFile& file);  // atomic

}  // namespace basin
