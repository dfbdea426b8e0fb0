// Files: whole-file reads with a size limit, atomic writes (temporary file, fsync, rename, fsync of
// the folder), SHA-256, and a bounds-checked cursor for parsers.
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "basin/core/error.h"

namespace basin {

namespace fs = std::filesystem;

// data error if the file is missing, not regular, or larger than max_bytes, and if a text has the
// mark of UTF-16, in which no reader would find what it looks for.
std::vector<uint8_t> read_file(const fs::path& path, uint64_t max_bytes = uint64_t{1} << 34);
std::string read_text_file(const fs::path& path, uint64_t max_bytes = uint64_t{1} << 30);

// Writes path.tmp-PID, fsyncs, renames over `path`, fsyncs the folder. output error on failure,
// with the old file untouched and the temporary one removed.
void write_file_atomic(const fs::path& path, std::span<const uint8_t> bytes);
void write_file_atomic(const fs::path& path, std::string_view text);
void fsync_path(const fs::path& path);  // file or folder

std::string sha256_hex(std::span<const uint8_t> bytes);
std::string sha256_hex_of_file(const fs::path& path);

// Reads little-endian scalars and spans from a buffer; a read past the end is a data error that
// names the file, the offset, what was expected and how many bytes are left.
class ByteReader {
 public:
  ByteReader(std::span<const uint8_t> bytes, std::string name)
      : bytes_(bytes), name_(std::move(name)) {}

  uint64_t offset() const { return offset_; }
  uint64_t remaining() const { return bytes_.size() - offset_; }
  void seek(uint64_t offset, std::string_view what);
  std::span<const uint8_t> take(uint64_t n, std::string_view what);
  uint8_t u8(std::string_view what) { return take(1, what)[0]; }
  uint16_t u16(std::string_view what) {
    return static_cast<uint16_t>(little_endian(take(2, what)));
  }
  uint32_t u32(std::string_view what) {
    return static_cast<uint32_t>(little_endian(take(4, what)));
  }
  uint64_t u64(std::string_view what) { return little_endian(take(8, what)); }
  // Throws the data error "NAME: offset N: parts...".
  template <class... A>
  [[noreturn]] void fault(const A&... parts) const {
    fail(ErrorKind::data, name_, ": offset ", offset_, ": ", parts...);
  }

 private:
  static uint64_t little_endian(std::span<const uint8_t> b);
  std::span<const uint8_t> bytes_;
  std::string name_;
  uint64_t offset_ = 0;
};

// a * b, or a data error that names `where` when the product leaves 63 bits.
int64_t checked_mul(int64_t a, int64_t b, std::string_view where);

// Locale-independent: the whole of `text` must be one number. False otherwise.
bool parse_double(std::string_view text, double& out);
bool parse_int64(std::string_view text, int64_t& out);

}  // namespace basin
