// Filters and elements of HDF5 chunks: see hdf5_decode.h. Shuffle stores byte 0 of all elements,
// then byte 1 of all, and so on; Fletcher-32 appends its sum, little endian.
#include "basin/datasets/detail/hdf5_decode.h"

#include <zlib.h>

#include <bit>

#include "basin/core/half.h"

namespace basin {
namespace {

std::vector<uint8_t> inflated(std::span<const uint8_t> stored, size_t room,
                              const std::string& where) {
  std::vector<uint8_t> out(room);
  uLongf got = static_cast<uLongf>(room);
  const int status =
      ::uncompress(out.data(), &got, stored.data(), static_cast<uLong>(stored.size()));
  if (status != Z_OK) {
    fail(ErrorKind::data, where, ": the gzip stream is damaged or unpacks to more than ", room,
         " bytes");
  }
  out.resize(got);
  return out;
}

std::vector<uint8_t> unshuffled(const std::vector<uint8_t>& in, size_t width) {
  const size_t n = in.size() / width;
  std::vector<uint8_t> out = in;  // bytes behind the last whole element stay where they are
  for (size_t byte = 0; byte < width; ++byte) {
    for (size_t i = 0; i < n; ++i) out[i * width + byte] = in[byte * n + i];
  }
  return out;
}

void strip_checksum(std::vector<uint8_t>& bytes, const std::string& where) {
  if (bytes.size() < 4)
    fail(ErrorKind::data, where, ": expected a checksum at the end of the chunk");
  const size_t n = bytes.size() - 4;
  uint32_t stored = 0;
  for (size_t i = 4; i-- > 0;) stored = stored << 8 | bytes[n + i];
  bytes.resize(n);
  if (const uint32_t sum = fletcher32(bytes); sum != stored) {
    fail(ErrorKind::data, where, ": expected the checksum ", stored, ", got ", sum);
  }
}

uint64_t bits_of(const uint8_t* p, const Hdf5Element& type) {
  uint64_t value = 0;
  for (size_t i = 0; i < type.width; ++i) value = value << 8 | p[type.big ? i : type.width - 1 - i];
  return value;
}

}  // namespace

uint32_t fletcher32(std::span<const uint8_t> bytes) {
  uint32_t a = 0, b = 0;
  for (size_t i = 0; i < bytes.size(); i += 2) {
    const uint32_t low = i + 1 < bytes.size() ? bytes[i + 1] : 0;
    a = a + (uint32_t{bytes[i]} << 8 | low);
    a = (a & 0xFFFF) + (a >> 16);
    b = b + a;
    b = (b & 0xFFFF) + (b >> 16);
  }
  a = (a & 0xFFFF) + (a >> 16);
  b = (b & 0xFFFF) + (b >> 16);
  return b << 16 | a;
}

std::vector<uint8_t> undo_filters(std::span<const uint8_t> stored,
                                  const std::vector<Hdf5Filter>& filters, size_t width, size_t size,
                                  const std::string& where) {
  std::vector<uint8_t> bytes(stored.begin(), stored.end());
  for (size_t i = filters.size(); i-- > 0;) {
    switch (filters[i]) {
      case Hdf5Filter::deflate:
        bytes = inflated(bytes, size + 4 * filters.size(), where);  // room for checksums inside
        break;
      case Hdf5Filter::shuffle: bytes = unshuffled(bytes, width); break;
      case Hdf5Filter::fletcher32: strip_checksum(bytes, where); break;
    }
  }
  if (bytes.size() != size) {
    fail(ErrorKind::data, where, ": expected a chunk of ", size, " bytes, got ", bytes.size());
  }
  return bytes;
}

template <class T>
void decode_floats(std::span<const uint8_t> bytes, const Hdf5Element& type, T* out) {
  for (size_t at = 0; at < bytes.size(); at += type.width) {
    const uint64_t bits = bits_of(&bytes[at], type);
    switch (type.width) {
      case 2: *out++ = static_cast<T>(half_to_float(static_cast<uint16_t>(bits))); break;
      case 4: *out++ = static_cast<T>(std::bit_cast<float>(static_cast<uint32_t>(bits))); break;
      default: *out++ = static_cast<T>(std::bit_cast<double>(bits));
    }
  }
}
template void decode_floats(std::span<const uint8_t>, const Hdf5Element&, float*);
template void decode_floats(std::span<const uint8_t>, const Hdf5Element&, double*);

size_t decode_integers(std::span<const uint8_t> bytes, const Hdf5Element& type, int64_t* out) {
  const int unused = 64 - 8 * static_cast<int>(type.width);
  for (size_t at = 0; at < bytes.size(); at += type.width) {
    const uint64_t bits = bits_of(&bytes[at], type);
    if (!type.is_signed && static_cast<int64_t>(bits) < 0) return at / type.width;
    *out++ = type.is_signed ? static_cast<int64_t>(bits << unused) >> unused
                            : static_cast<int64_t>(bits);
  }
  return bytes.size() / type.width;
}

}  // namespace basin
