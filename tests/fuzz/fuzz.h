// What every fuzz target shares. A reader may return, or throw basin::Error with ErrorKind::data
// (or `resource` for memory it refuses to ask for) and a sentence of one line; anything else,
// another kind, an exception of another type, a crash, a sanitizer report or a hang, is a finding.
//   build:  cmake --preset fuzz && cmake --build --preset fuzz       run: tools/fuzz.sh SECONDS
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "basin/core/error.h"
#include "basin/core/io.h"

namespace basin::fuzz {

// How many inputs were accepted, told when the program ends: a target that accepts none of its
// seeds fuzzes no more than the first refusal, and tools/fuzz.sh calls that a failure.
struct Accepted {
  uint64_t count = 0;
  ~Accepted() { std::fprintf(stderr, "accepted: %llu\n", static_cast<unsigned long long>(count)); }
};
inline Accepted accepted;

template <class Read>
int guarded(Read&& read) {
  try {
    read();
    ++accepted.count;
  } catch (const Error& e) {
    const bool kind = e.kind() == ErrorKind::data || e.kind() == ErrorKind::resource;
    if (!kind || std::strchr(e.what(), '\n') != nullptr || std::strlen(e.what()) > 2000) {
      std::fprintf(stderr, "not a data error of one line: %s\n", e.what());
      std::abort();
    }
  }
  return 0;
}

inline std::string_view text_of(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// The input as a file that never touches a disk.
class MemoryFile {
 public:
  MemoryFile(const uint8_t* data, size_t size) : fd_(::memfd_create("input", 0)) {
    if (fd_ < 0 || ::write(fd_, data, size) != static_cast<ssize_t>(size)) std::abort();
  }
  ~MemoryFile() { ::close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  fs::path path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_ = -1;
};

inline void write_file(const fs::path& path, std::string_view text) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr || std::fwrite(text.data(), 1, text.size(), file) != text.size()) {
    std::abort();
  }
  std::fclose(file);
}

// A folder of this process for readers that need more than a MemoryFile.
class Folder {
 public:
  explicit Folder(const std::string& name)
      : path_(fs::temp_directory_path() /
              ("basin_fuzz_" + name + "_" + std::to_string(::getpid()))) {
    fs::create_directories(path_);
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

}  // namespace basin::fuzz
