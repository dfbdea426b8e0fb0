// File i/o when the system does not do what it was asked: calls interrupted by a signal, partial
// reads and writes, a full disk, a failing device.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cerrno>

#include "basin/core/io.h"
#include "basin/tests/core/faults.h"
#include "basin/tests/core/files.h"

using namespace basin;
using test::Call;
using test::check_error;
using test::Fault;

namespace {

size_t entries(const fs::path& dir) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(dir), fs::directory_iterator()));
}

}  // namespace

TEST_CASE("io faults: an interrupted call is made again") {
  const test::TempDir dir;
  {
    const Fault fault(Call::write, EINTR);
    write_file_atomic(dir / "a", "hello");
    CHECK(fault.struck());
  }
  {
    const Fault fault(Call::read, EINTR);
    CHECK(read_text_file(dir / "a") == "hello");
    CHECK(fault.struck());
  }
  const Fault fault(Call::read, EINTR);
  CHECK(sha256_hex_of_file(dir / "a") == sha256_hex(test::bytes_of("hello")));
  CHECK(fault.struck());
}

TEST_CASE("io faults: partial reads and writes add up") {
  const test::TempDir dir;
  std::string text;
  for (int i = 0; i < 300; ++i) text += static_cast<char>('a' + i % 23);
  for (const size_t at_most : {size_t{1}, size_t{7}, size_t{100}}) {
    INFO(at_most);
    {
      const Fault fault(Call::write, 0, 0, at_most);
      write_file_atomic(dir / "a", text);
    }
    CHECK(read_text_file(dir / "a") == text);
    const Fault fault(Call::read, 0, 0, at_most);
    CHECK(read_text_file(dir / "a") == text);
    // The pieces are no multiples of SHA-256's block.
    CHECK(sha256_hex_of_file(dir / "a") == sha256_hex(test::bytes_of(text)));
  }
}

TEST_CASE("io faults: a read that fails is a data error with its offset") {
  const test::TempDir dir;
  write_file_atomic(dir / "a", "hello");
  const auto refused = [&](const Fault&, std::vector<std::string> words) {
    words.insert(words.begin(), (dir / "a").string());
    check_error(ErrorKind::data, words, [&] { read_file(dir / "a"); });
  };
  refused(Fault(Call::fstat, EIO), {"cannot be examined", "Input/output error"});
  refused(Fault(Call::read, EIO), {"offset 0: cannot be read", "Input/output error"});
  refused(Fault(Call::read, 0, 0, 0), {"offset 0: the file shrank from 5 bytes"});
  const Fault fault(Call::read, EIO, 1);  // the second piece of the file
  check_error(ErrorKind::data, {"cannot be read"}, [&] { sha256_hex_of_file(dir / "a"); });
}

TEST_CASE("io faults: a write that fails keeps the old file and leaves no temporary") {
  const test::TempDir dir;
  write_file_atomic(dir / "a", "old");
  const auto refused = [&](const Fault&, const char* word) {
    check_error(ErrorKind::output, {"a.tmp-", word}, [&] { write_file_atomic(dir / "a", "new"); });
    CHECK(read_text_file(dir / "a") == "old");
    CHECK(entries(dir.path()) == 1);
  };
  refused(Fault(Call::write, ENOSPC), "offset 0: cannot be written: No space left");
  refused(Fault(Call::write, ENOSPC, 1, 2), "offset 2: cannot be written: No space left");
  refused(Fault(Call::fsync, EIO), "cannot be synchronised");
  refused(Fault(Call::close, EIO), "cannot be closed");
  // The file is in place; that the folder's entry reached the disk is not certain.
  const Fault fault(Call::fsync, EIO, 1);
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
