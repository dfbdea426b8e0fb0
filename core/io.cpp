// Files: see io.h. The write protocol (temporary beside the target, fsync, rename, fsync of the
// folder) leaves either the old or the new content on the disk, whatever happens in between.
// SHA-256 is FIPS 180-4. Numbers are parsed by std::from_chars, which knows no locale.
#include "basin/core/io.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <utility>

namespace basin {
namespace {

// Closes on every way out; -1 means nothing to close.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// Opens a regular file and checks its size.
std::pair<int, uint64_t> open_regular(const fs::path& path, uint64_t max_bytes) {
  // O_NONBLOCK: opening a named pipe must not wait for its writer.
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) fail(ErrorKind::data, path.string(), ": cannot be opened: ", error_text(errno));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) {
    fail(ErrorKind::data, path.string(), ": cannot be examined: ", error_text(errno));
  }
  if (!S_ISREG(info.st_mode)) {
    fail(ErrorKind::data, path.string(), ": expected a regular file, it is ",
         S_ISDIR(info.st_mode) ? "a folder" : "a device, pipe or socket");
  }
  const auto size = static_cast<uint64_t>(info.st_size);
  if (size > max_bytes) {
    fail(ErrorKind::data, path.string(), ": expected at most ", max_bytes, " bytes, the file has ",
         size);
  }
  return {fd.release(), size};
}

template <class Buffer>
Buffer read_whole(const fs::path& path, uint64_t max_bytes) {
  const auto [raw, size] = open_regular(path, max_bytes);
  const Descriptor fd(raw);
  Buffer bytes;
  bytes.resize(size);
  uint64_t done = 0;
  while (done < size) {
    const ssize_t n = ::read(fd.get(), bytes.data() + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      fail(ErrorKind::data, path.string(), ": offset ", done,
           ": cannot be read: ", error_text(errno));
    }
    if (n == 0) {
      fail(ErrorKind::data, path.string(), ": offset ", done, ": the file shrank from ", size,
           " bytes while it was read");
    }
    done += static_cast<uint64_t>(n);
  }
  return bytes;
}

void write_all(int fd, std::span<const uint8_t> bytes, const fs::path& path) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      fail(ErrorKind::output, path.string(), ": offset ", done,
           ": cannot be written: ", error_text(errno));
    }
    done += static_cast<size_t>(n);
  }
}

// O_EXCL refuses to follow a planted link; what an earlier process of our id left behind is
// removed.
int open_temporary(const fs::path& path) {
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  int fd = ::open(path.c_str(), kFlags, 0666);
  if (fd < 0 && errno == EEXIST && ::unlink(path.c_str()) == 0) {
    fd = ::open(path.c_str(), kFlags, 0666);
  }
  if (fd < 0) fail(ErrorKind::output, path.string(), ": cannot be created: ", error_text(errno));
  return fd;
}

class Sha256 {
 public:
  void update(std::span<const uint8_t> bytes) {
    length_ += bytes.size();
    if (filled_ > 0) {
      const size_t n = std::min(bytes.size(), block_.size() - filled_);
      std::copy_n(bytes.begin(), n, block_.begin() + static_cast<ptrdiff_t>(filled_));
      filled_ += n;
      bytes = bytes.subspan(n);
      if (filled_ < block_.size()) return;
      compress(block_.data());
      filled_ = 0;
    }
    for (; bytes.size() >= block_.size(); bytes = bytes.subspan(block_.size())) {
      compress(bytes.data());
    }
    std::copy(bytes.begin(), bytes.end(), block_.begin());
    filled_ = bytes.size();
  }

  std::string finish() {
    const uint64_t bits = length_ * 8;
    block_[filled_++] = 0x80;
    if (filled_ > 56) {
      std::fill(block_.begin() + static_cast<ptrdiff_t>(filled_), block_.end(), uint8_t{0});
      compress(block_.data());
      filled_ = 0;
    }
    std::fill(block_.begin() + static_cast<ptrdiff_t>(filled_), block_.end(), uint8_t{0});
    for (int i = 0; i < 8; ++i) block_[63 - i] = static_cast<uint8_t>(bits >> (8 * i));
    compress(block_.data());
    std::string hex;
    for (uint32_t word : state_) {
      for (int shift = 28; shift >= 0; shift -= 4) hex += "0123456789abcdef"[(word >> shift) & 15];
    }
    return hex;
  }

 private:
  void compress(const uint8_t* block) {
    uint32_t w[64];
    for (int i = 0; i < 16; ++i) {
      w[i] = uint32_t{block[4 * i]} << 24 | uint32_t{block[4 * i + 1]} << 16 |
             uint32_t{block[4 * i + 2]} << 8 | uint32_t{block[4 * i + 3]};
    }
    for (int i = 16; i < 64; ++i) {
      const uint32_t a = w[i - 15], b = w[i - 2];
      w[i] = w[i - 16] + w[i - 7] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ (a >> 3)) +
             (std::rotr(b, 17) ^ std::rotr(b, 19) ^ (b >> 10));
    }
    auto [a, b, c, d, e, f, g, h] = state_;
    for (int i = 0; i < 64; ++i) {
      const uint32_t t1 = h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) +
                          ((e & f) ^ (~e & g)) + kRound[i] + w[i];
      const uint32_t t2 =
          (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
    }
    const std::array<uint32_t, 8> add{a, b, c, d, e, f, g, h};
    for (size_t i = 0; i < 8; ++i) state_[i] += add[i];
  }

  // Fractional parts of the cube roots of the first 64 primes.
  static constexpr uint32_t kRound[64] = {
      0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
      0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
      0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
      0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
      0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
      0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
      0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
      0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
      0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
      0xc67178f2};
  std::array<uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<uint8_t, 64> block_{};
  size_t filled_ = 0;
  uint64_t length_ = 0;
};

// from_chars knows no leading plus; some text files write one.
std::string_view without_plus(std::string_view text) {
  const bool plus = text.size() > 1 && text[0] == '+' && text[1] != '-' && text[1] != '+';
  return plus ? text.substr(1) : text;
}

template <class T>
bool parse_number(std::string_view text, T& out) {
  text = without_plus(text);
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, out);
  return error == std::errc() && stop == end;  // an empty text is an error
}

}  // namespace

std::vector<uint8_t> read_file(const fs::path& path, uint64_t max_bytes) {
  return read_whole<std::vector<uint8_t>>(path, max_bytes);
}

std::string read_text_file(const fs::path& path, uint64_t max_bytes) {
  return read_whole<std::string>(path, max_bytes);
}

void fsync_path(const fs::path& path) {
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0 || ::fsync(fd.get()) != 0) {
    fail(ErrorKind::output, path.string(), ": cannot be synchronised: ", error_text(errno));
  }
}

void write_file_atomic(const fs::path& path, std::span<const uint8_t> bytes) {
  fs::path temporary = path;
  temporary += str(".tmp-", ::getpid());
  Descriptor fd(open_temporary(temporary));
  try {
    write_all(fd.get(), bytes, temporary);
    if (::fsync(fd.get()) != 0) {
      fail(ErrorKind::output, temporary.string(), ": cannot be synchronised: ", error_text(errno));
    }
    if (::close(fd.release()) != 0) {
      fail(ErrorKind::output, temporary.string(), ": cannot be closed: ", error_text(errno));
    }
    if (::rename(temporary.c_str(), path.c_str()) != 0) {
      fail(ErrorKind::output, path.string(), ": cannot be replaced: ", error_text(errno));
    }
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  fsync_path(path.has_parent_path() ? path.parent_path() : fs::path("."));
}

void write_file_atomic(const fs::path& path, std::string_view text) {
  write_file_atomic(path, std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

std::string sha256_hex(std::span<const uint8_t> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

std::string sha256_hex_of_file(const fs::path& path) {
  const auto [raw, size] = open_regular(path, ~uint64_t{0});
  const Descriptor fd(raw);
  std::vector<uint8_t> buffer(size_t{1} << 20);
  Sha256 hash;
  for (;;) {
    const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(ErrorKind::data, path.string(), ": cannot be read: ", error_text(errno));
    if (n == 0) return hash.finish();
    hash.update(std::span(buffer.data(), static_cast<size_t>(n)));
  }
}

void ByteReader::seek(uint64_t offset, std::string_view what) {
  if (offset > bytes_.size()) {
    fault("expected ", what, " at offset ", offset, ", the file has ", bytes_.size(), " bytes");
  }
  offset_ = offset;
}

std::span<const uint8_t> ByteReader::take(uint64_t n, std::string_view what) {
  if (n > remaining()) {
    fault("expected ", what, " (", n, " bytes), ", remaining(), " bytes are left");
  }
  const auto result = bytes_.subspan(offset_, n);
  offset_ += n;
  return result;
}

uint64_t ByteReader::little_endian(std::span<const uint8_t> b) {
  uint64_t value = 0;
  for (size_t i = b.size(); i-- > 0;) value = value << 8 | b[i];
  return value;
}

int64_t checked_mul(int64_t a, int64_t b, std::string_view where) {
  int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) {
    fail(ErrorKind::data, where, ": ", a, " x ", b, " does not fit into 63 bits");
  }
  return product;
}

bool parse_double(std::string_view text, double& out) { return parse_number(text, out); }
bool parse_int64(std::string_view text, int64_t& out) { return parse_number(text, out); }

}  // namespace basin
