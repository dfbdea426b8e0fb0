// .npz: see npz.h. Reads the end-of-directory record, the central directory, then one local header
// per member. Members of one file may not overlap each other, so the total work is bounded by
// kDeflateRatio times the size of the file.
#include "basin/datasets/npz.h"

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <set>

#include "basin/core/content.h"
#include "basin/core/printable.h"
#include "basin/datasets/detail/unpacked.h"
#include "basin/datasets/npy.h"

namespace basin {
namespace {

constexpr uint64_t kEntryLimit = 10'000;
constexpr uint32_t kLocalMagic = 0x04034b50, kCentralMagic = 0x02014b50, kEndMagic = 0x06054b50;
constexpr uint64_t kEndSize = 22, kCentralSize = 46, kLocalSize = 30;
constexpr uint16_t kStored = 0, kDeflated = 8;
constexpr uint16_t kEncrypted = 0x2041;  // plain, strong, masked header

std::string_view as_text(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool unsafe(std::string_view name) {
  // printable() cuts long names: one that is kept fits into the 16 bits of its length.
  const bool absolute = name.empty() || name[0] == '/' || name.find('\\') != name.npos ||
                        name.find(':') != name.npos || printable(name) != name;
  return absolute || name == ".." || name.starts_with("../") || name.ends_with("/..") ||
         name.find("/../") != name.npos;
}

uint32_t crc_of(std::span<const uint8_t> bytes) {
  return static_cast<uint32_t>(::crc32_z(0, bytes.data(), bytes.size()));
}

// Raw deflate of exactly `size` bytes; false if the stream is damaged or of another length.
bool inflate_exactly(std::span<const uint8_t> packed, std::vector<uint8_t>& out) {
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) {
    fail(ErrorKind::resource, "npz: zlib cannot start, out of memory");
  }
  stream.next_in = const_cast<Bytef*>(packed.data());
  stream.next_out = out.data();
  // Both sizes were checked to fit into 32 bits: larger members need zip64, which is refused.
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.avail_out = static_cast<uInt>(out.size());
  const int status = ::inflate(&stream, Z_FINISH);
  const bool whole = status == Z_STREAM_END && stream.avail_in == 0 && stream.avail_out == 0;
  inflateEnd(&stream);
  return whole;
}

// The record at the end, searched backwards over the archive comment; its offset.
uint64_t find_end(std::span<const uint8_t> bytes, const std::string& name) {
  const uint64_t n = bytes.size();
  const uint64_t farthest = kEndSize + std::numeric_limits<uint16_t>::max();
  for (uint64_t back = kEndSize; back <= std::min(n, farthest); ++back) {
    ByteReader reader(bytes.subspan(n - back), name);
    if (reader.u32("") != kEndMagic) continue;
    reader.seek(20, "");
    if (reader.u16("") == back - kEndSize) return n - back;
  }
  fail(ErrorKind::data, name, ": offset ", n,
       ": expected the end-of-directory record of a zip archive, found none; ",
       bytes.size() > 1 && bytes[0] == 'P' && bytes[1] == 'K' ? "the file is cut short"
                                                              : "it is no .npz file",
       content_note(bytes));
}

void put(std::vector<uint8_t>& out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

// The fields that a local header and a directory entry have in common.
void put_common(std::vector<uint8_t>& out, uint32_t crc, size_t size, size_t name_length) {
  put(out, 20, 2);                      // version needed
  put(out, 0, 2);                       // flags
  put(out, kStored, 2);                 // method
  put(out, 0, 2), put(out, 0x0021, 2);  // 1980-01-01 00:00
  put(out, crc, 4);
  put(out, size, 4), put(out, size, 4);
  put(out, name_length, 2);
  put(out, 0, 2);  // extra length
}

}  // namespace

NpzFile::NpzFile(const fs::path& path) : NpzFile(read_file(path), path.string()) {}

NpzFile::NpzFile(std::vector<uint8_t> bytes, std::string name)
    : bytes_(std::move(bytes)), name_(std::move(name)) {
  read_directory();
}

void NpzFile::read_directory() {
  const uint64_t end = find_end(bytes_, name_);
  ByteReader reader(bytes_, name_);
  reader.seek(end + 4, "the end-of-directory record");
  const bool spanned = reader.u16("") != 0 || reader.u16("") != 0;
  const uint64_t here = reader.u16(""), count = reader.u16("");
  const uint64_t size = reader.u32(""), start = reader.u32("");
  if (spanned || here != count) reader.fault("expected an archive in one piece");
  if (count > kEntryLimit) {
    reader.fault("expected at most ", kEntryLimit, " members (and no zip64), got ", count);
  }
  if (start > end || size != end - start) {
    reader.fault("expected the directory to fill [", start, ", ", end, "), its size says ", size);
  }
  reader.seek(start, "the directory");
  std::set<std::string> seen;
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (uint64_t i = 0; i < count; ++i) {
    Entry e = read_entry(reader, start);
    if (!seen.insert(e.name).second) reader.fault("member '", e.name, "' is there twice");
    ranges.emplace_back(e.header, e.data + e.packed);
    entries_.push_back(std::move(e));
  }
  if (reader.offset() != end) reader.fault("expected the directory to end at ", end);
  std::sort(ranges.begin(), ranges.end());
  for (size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i].first < ranges[i - 1].second) {
      fail(ErrorKind::data, name_, ": offset ", ranges[i].first, ": members overlap");
    }
  }
}

NpzFile::Entry NpzFile::read_entry(ByteReader& reader, uint64_t directory) const {
  if (reader.u32("a directory entry") != kCentralMagic) reader.fault("expected a directory entry");
  Entry e;
  reader.take(4, "versions");
  const uint16_t flags = reader.u16("flags");
  e.method = reader.u16("the method");
  reader.take(4, "the time");
  e.crc = reader.u32("the CRC");
  e.packed = reader.u32("the packed size");
  e.size = reader.u32("the size");
  const uint64_t name_length = reader.u16(""), extra = reader.u16(""), comment = reader.u16("");
  reader.take(8, "attributes");
  e.header = reader.u32("the header offset");
  const std::string name(as_text(reader.take(name_length, "the member's name")));
  reader.take(extra + comment, "extra fields");
  const auto require = [&](bool ok, const auto&... parts) {
    if (!ok) reader.fault("member '", printable(name), "': ", parts...);
  };
  require(!unsafe(name), "expected a relative name without '..'");
  require(name.ends_with(".npy"), "expected a name that ends in .npy", content_note(bytes_));
  require((flags & kEncrypted) == 0, "encrypted members are not supported");
  require(e.method == kStored || e.method == kDeflated, "unknown compression ", e.method);
  require(e.method != kStored || e.packed == e.size, "is stored, but its two sizes differ");
  constexpr uint64_t kZip64 = std::numeric_limits<uint32_t>::max();
  require(e.packed < kZip64 && e.size < kZip64 && e.header < kZip64,
          "members of 4 GB and more are not supported; use .npy");
  require(can_hold(e.packed, e.size), "expected a compression ratio of at most ", kDeflateRatio,
          ", ", e.packed, " bytes claim to hold ", e.size);
  e.name = name.substr(0, name.size() - 4);
  e.data = find_data(e, name, directory);
  return e;
}

// The local header repeats the name; its other fields may lawfully be blank and are not used.
uint64_t NpzFile::find_data(const Entry& e, const std::string& name, uint64_t directory) const {
  ByteReader at(std::span<const uint8_t>(bytes_).first(directory), name_);
  at.seek(e.header, "a local header");
  if (at.u32("a local header") != kLocalMagic) at.fault("expected a local header of '", name, "'");
  at.seek(e.header + kLocalSize - 4, "a local header");
  const uint64_t name_length = at.u16("the name's length"), extra = at.u16("the extra length");
  if (as_text(at.take(name_length, "the member's name")) != name) {
    at.fault("expected the local name to be '", name, "'");
  }
  at.take(extra, "extra fields");
  const uint64_t data = at.offset();
  at.take(e.packed, "the member's bytes");
  return data;
}

std::vector<std::string> NpzFile::names() const {
  std::vector<std::string> out;
  for (const Entry& e : entries_) out.push_back(e.name);
  return out;
}

bool NpzFile::contains(std::string_view name) const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [&](const Entry& e) { return e.name == name; });
}

Tensor NpzFile::read(std::string_view name) const {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& e) { return e.name == name; });
  if (found == entries_.end()) {
    std::string known;
    for (const Entry& e : entries_) known += (known.empty() ? "" : ", ") + e.name;
    fail(ErrorKind::data, name_, ": expected a member '", name, "', it has ", known);
  }
  const Entry& e = *found;
  const std::string label = str(name_, "(", e.name, ".npy)");
  auto packed = std::span<const uint8_t>(bytes_).subspan(e.data, e.packed);
  std::vector<uint8_t> inflated;
  if (e.method == kDeflated) {
    inflated.resize(e.size);
    if (!inflate_exactly(packed, inflated)) {
      fail(ErrorKind::data, label, ": offset ", e.data,
           ": the compressed bytes are damaged or do not", " inflate to ", e.size, " bytes");
    }
    packed = inflated;
  }
  if (const uint32_t crc = crc_of(packed); crc != e.crc) {
    fail(ErrorKind::data, label, ": offset ", e.data, ": expected the checksum ", e.crc, ", got ",
         crc, "; the file is damaged");
  }
  return parse_npy(packed, label);
}

std::vector<uint8_t> serialize_npz(const std::vector<std::pair<std::string, Tensor>>& arrays) {
  check(arrays.size() <= kEntryLimit, "write_npz: at most ", kEntryLimit, " arrays, got ",
        arrays.size());
  std::vector<uint8_t> out, directory;
  std::set<std::string> seen;
  for (const auto& [name, tensor] : arrays) {
    const std::string member = name + ".npy";
    check(!unsafe(member) && seen.insert(member).second,
          "write_npz: expected distinct relative names, got '", name, "'");
    const std::vector<uint8_t> body = serialize_npy(tensor);
    const uint64_t offset = out.size();
    check(offset + body.size() + member.size() + kLocalSize + directory.size() + kCentralSize <
              std::numeric_limits<uint32_t>::max(),
          "write_npz: '", name, "' makes the archive reach 4 GB; write single .npy files instead");
    const uint32_t crc = crc_of(body);
    put(out, kLocalMagic, 4);
    put_common(out, crc, body.size(), member.size());
    out.insert(out.end(), member.begin(), member.end());
    out.insert(out.end(), body.begin(), body.end());
    put(directory, kCentralMagic, 4);
    put(directory, 20, 2);  // made by
    put_common(directory, crc, body.size(), member.size());
    put(directory, 0, 2);                             // comment length
    put(directory, 0, 2), put(directory, 0, 2);       // disk, internal attributes
    put(directory, 0, 4), put(directory, offset, 4);  // external attributes, header offset
    directory.insert(directory.end(), member.begin(), member.end());
  }
  const uint64_t start = out.size();
  out.insert(out.end(), directory.begin(), directory.end());
  put(out, kEndMagic, 4);
  put(out, 0, 2), put(out, 0, 2);
  put(out, arrays.size(), 2), put(out, arrays.size(), 2);
  put(out, directory.size(), 4), put(out, start, 4), put(out, 0, 2);
  return out;
}

void write_npz(const fs::path& path, const std::vector<std::pair<std::string, Tensor>>& arrays) {
  write_file_atomic(path, serialize_npz(arrays));
}

}  // namespace basin
