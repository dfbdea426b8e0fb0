// File i/o when the system does not do what it was asked: calls interrupted by a signal, partial
// reads and writes, a full disk, a failing device. The calls of core/io.cpp arrive at the functions
// below, which pass them on unless a Fault lives.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "basin/core/io.h"
#include "basin/tests/core/files.h"

using namespace basin;
using test::check_error;

namespace {

enum class Call { fstat, read, write, fsync, close };

// While it lives: the call of this kind after the first `skip` ones fails once with `error`; with
// error 0 every call of the kind moves at most `at_most` bytes.
struct Fault {
  Fault(Call call, int error, size_t at_most, int skip = 0)
      : call(call), error(error), skip(skip), at_most(at_most) {
    current = this;
  }
  ~Fault() { current = nullptr; }
  Fault(const Fault&) = delete;
  Fault& operator=(const Fault&) = delete;

  static bool strikes(Call call) {
    if (current == nullptr || current->call != call || current->error == 0) return false;
    if (current->skip-- != 0) return false;
    errno = current->error;
    return true;
  }
  static size_t room(Call call, size_t n) {
    const bool bounded = current != nullptr && current->call == call && current->error == 0;
    return bounded ? std::min(n, current->at_most) : n;
  }

  Call call;
  int error, skip;
  size_t at_most;
  static inline Fault* current = nullptr;
};

Fault fails(Call call, int error, int skip = 0) { return {call, error, 0, skip}; }
Fault moves(Call call, size_t at_most) { return {call, 0, at_most}; }

size_t entries(const fs::path& dir) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(dir), fs::directory_iterator()));
}

}  // namespace

extern "C" {
ssize_t read(int fd, void* to, size_t n) {
  if (Fault::strikes(Call::read)) return -1;
  return ::syscall(SYS_read, fd, to, Fault::room(Call::read, n));
}
ssize_t write(int fd, const void* from, size_t n) {
  if (Fault::strikes(Call::write)) return -1;
  return ::syscall(SYS_write, fd, from, Fault::room(Call::write, n));
}
int fsync(int fd) {
  if (Fault::strikes(Call::fsync)) return -1;
  return static_cast<int>(::syscall(SYS_fsync, fd));
}
int close(int fd) {
  const int closed = static_cast<int>(::syscall(SYS_close, fd));
  return Fault::strikes(Call::close) ? -1 : closed;
}
int fstat(int fd, struct stat* info) noexcept {
  if (Fault::strikes(Call::fstat)) return -1;
  return ::fstatat(fd, "", info, AT_EMPTY_PATH);
}
}

TEST_CASE("io faults: an interrupted call is made again") {
  const test::TempDir dir;
  {
    const Fault fault = fails(Call::write, EINTR);
    write_file_atomic(dir / "a", "hello");
    CHECK(fault.skip == -2);  // struck once, then asked again
  }
  {
    const Fault fault = fails(Call::read, EINTR);
    CHECK(read_text_file(dir / "a") == "hello");
    CHECK(fault.skip == -2);
  }
  const Fault fault = fails(Call::read, EINTR);
  CHECK(sha256_hex_of_file(dir / "a") == sha256_hex(test::bytes_of("hello")));
}

TEST_CASE("io faults: partial reads and writes add up") {
  const test::TempDir dir;
  std::string text;
  for (int i = 0; i < 300; ++i) text += static_cast<char>('a' + i % 23);
  for (const size_t at_most : {size_t{1}, size_t{7}, size_t{100}}) {
    INFO(at_most);
    {
      const Fault fault = moves(Call::write, at_most);
      write_file_atomic(dir / "a", text);
    }
    CHECK(read_text_file(dir / "a") == text);
    const Fault fault = moves(Call::read, at_most);
    CHECK(read_text_file(dir / "a") == text);
    // The pieces are no multiples of SHA-256's block.
    CHECK(sha256_hex_of_file(dir / "a") == sha256_hex(test::bytes_of(text)));
  }
}

TEST_CASE("io faults: a read that fails is a data error with its offset") {
  const test::TempDir dir;
  write_file_atomic(dir / "a", "hello");
  const auto refused = [&](Fault&& fault, std::vector<std::string> words) {
    words.insert(words.begin(), (dir / "a").string());
    check_error(ErrorKind::data, words, [&] { read_file(dir / "a"); });
    CHECK(Fault::current == &fault);
  };
  refused(fails(Call::fstat, EIO), {"cannot be examined", "Input/output error"});
  refused(fails(Call::read, EIO), {"offset 0: cannot be read", "Input/output error"});
  refused(moves(Call::read, 0), {"offset 0: the file shrank from 5 bytes"});
  const Fault fault = fails(Call::read, EIO, 1);  // the second piece of the file
  check_error(ErrorKind::data, {"cannot be read"}, [&] { sha256_hex_of_file(dir / "a"); });
}

TEST_CASE("io faults: a write that fails keeps the old file and leaves no temporary") {
  const test::TempDir dir;
  write_file_atomic(dir / "a", "old");
  const auto refused = [&](Fault&& fault, const char* word) {
    check_error(ErrorKind::output, {"a.tmp-", word}, [&] { write_file_atomic(dir / "a", "new"); });
    CHECK(Fault::current == &fault);
    CHECK(read_text_file(dir / "a") == "old");
    CHECK(entries(dir.path()) == 1);
  };
  refused(fails(Call::write, ENOSPC), "offset 0: cannot be written: No space left");
  refused(fails(Call::fsync, EIO), "cannot be synchronised");
  refused(fails(Call::close, EIO), "cannot be closed");
  // The file is in place; that the folder's entry reached the disk is not certain.
  const Fault fault = fails(Call::fsync, EIO, 1);
  check_error(ErrorKind::output, {dir.path().string() + ": cannot be synchronised"},
              [&] { write_file_atomic(dir / "a", "newer"); });
  CHECK(read_text_file(dir / "a") == "newer");
}

TEST_CASE("io faults: what stands where the temporary file has to go") {
  const test::TempDir dir;
  fs::create_directory(dir / str("a.tmp-", ::getpid()));
  check_error(ErrorKind::output, {"a.tmp-", "cannot be created"},
              [&] { write_file_atomic(dir / "a", "x"); });
  CHECK_FALSE(fs::exists(dir / "a"));
  check_error(ErrorKind::output, {"none: cannot be synchronised"},
              [&] { fsync_path(dir / "none"); });
}

TEST_CASE("io faults: a file without a folder in its name lies in the current one") {
  const test::TempDir dir;
  const fs::path before = fs::current_path();
  fs::current_path(dir.path());
  write_file_atomic("plain", "x");
  fs::current_path(before);
  CHECK(read_text_file(dir / "plain") == "x");
}
