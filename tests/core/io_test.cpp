// Files: size limits, atomic replacement, SHA-256 against FIPS 180-4 vectors, cursor and number
// parsing.
#include "basin/core/io.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include "basin/tests/core/files.h"

using namespace basin;
using test::check_error;

TEST_CASE("io: read_file returns the bytes and refuses what it must not read") {
  const test::TempDir dir;
  write_file_atomic(dir / "a", std::string_view("hello\0world", 11));
  CHECK(read_file(dir / "a").size() == 11);
  CHECK(read_text_file(dir / "a") == std::string("hello\0world", 11));
  write_file_atomic(dir / "empty", std::string_view());
  CHECK(read_file(dir / "empty").empty());
  check_error(ErrorKind::data, {"missing", "cannot be opened"},
              [&] { read_file(dir / "missing"); });
  check_error(ErrorKind::data, {"regular file", "folder"}, [&] { read_file(dir.path()); });
  check_error(ErrorKind::data, {"at most 10 bytes", "11"}, [&] { read_file(dir / "a", 10); });
  REQUIRE(::mkfifo((dir / "pipe").c_str(), 0600) == 0);
  check_error(ErrorKind::data, {"pipe", "regular file"}, [&] { read_file(dir / "pipe"); });
}

TEST_CASE("io: a text in UTF-16 is called so") {
  const test::TempDir dir;
  for (const std::string_view text : {std::string_view("\xFF\xFE"
                                                       "a\0",
                                                       4),
                                      std::string_view("\xFE\xFF\0a", 4)}) {
    write_file_atomic(dir / "a.txt", text);
    CHECK(read_file(dir / "a.txt").size() == 4);
    check_error(ErrorKind::data,
                {"a.txt: line 1", "expected a text in UTF-8", "this is a text in UTF-16"},
                [&] { read_text_file(dir / "a.txt"); });
  }
}

TEST_CASE("io: an atomic write replaces the file and leaves no temporary") {
  const test::TempDir dir;
  write_file_atomic(dir / "a", "old");
  write_file_atomic(dir / "a", "new");
  CHECK(read_text_file(dir / "a") == "new");
  const fs::path stale = dir / str("a.tmp-", ::getpid());
  write_file_atomic(dir / "victim", "untouched");
  fs::create_symlink(dir / "victim", stale);  // a planted link must not be followed
  write_file_atomic(dir / "a", "newer");
  CHECK(read_text_file(dir / "victim") == "untouched");
  CHECK(read_text_file(dir / "a") == "newer");
  size_t files = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(dir.path())) ++files;
  CHECK(files == 2);
}

TEST_CASE("io: a failed write is an output error and keeps the old file") {
  const test::TempDir dir;
  check_error(ErrorKind::output, {"cannot be created"},
              [&] { write_file_atomic(dir / "no/such/folder", "x"); });
  fs::create_directory(dir / "folder");
  write_file_atomic(dir / "folder/inside", "x");
  check_error(ErrorKind::output, {"cannot be replaced"},
              [&] { write_file_atomic(dir / "folder", "x"); });
  CHECK(read_text_file(dir / "folder/inside") == "x");
  CHECK_FALSE(fs::exists(dir / str("folder.tmp-", ::getpid())));
}

TEST_CASE("io: SHA-256 matches FIPS 180-4 vectors") {
  const auto hash = [](const std::string& s) { return sha256_hex(test::bytes_of(s)); };
  CHECK(hash("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  const std::string million(1'000'000, 'a');
  CHECK(hash(million) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  const test::TempDir dir;
  const std::string longer(3'000'001, 'b');  // several reads, none a multiple of the block
  write_file_atomic(dir / "m", longer);
  CHECK(sha256_hex_of_file(dir / "m") == hash(longer));
}

TEST_CASE("io: ByteReader reads little endian and names the offset of a fault") {
  const std::vector<uint8_t> bytes{1, 2, 0, 3, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 9};
  ByteReader in(bytes, "f.bin");
  CHECK(in.u8("a") == 1);
  CHECK(in.u16("b") == 2);
  CHECK(in.u32("c") == 3);
  CHECK(in.u64("d") == 4);
  CHECK(in.remaining() == 1);
  check_error(ErrorKind::data, {"f.bin", "offset 15", "count (4 bytes)", "1 bytes are left"},
              [&] { in.u32("count"); });
  check_error(ErrorKind::data, {"f.bin", "table", "17"}, [&] { in.seek(17, "table"); });
  check_error(ErrorKind::data, {"offset 15"}, [&] { in.take(~uint64_t{0}, "all"); });
}

TEST_CASE("io: checked_mul and number parsing") {
  CHECK(checked_mul(1 << 20, 1 << 20, "x") == int64_t{1} << 40);
  check_error(ErrorKind::data, {"shape", "63 bits"},
              [] { checked_mul(int64_t{1} << 40, int64_t{1} << 40, "shape"); });
  double d = 0;
  CHECK((parse_double("-1.5e3", d) && d == -1500));
  CHECK((parse_double("+2", d) && d == 2));
  for (const char* bad : {"", "1,5", "1.5x", " 1", "1 ", "+-1", "++1", "--1", "+", "0x10"}) {
    INFO(bad);
    CHECK_FALSE(parse_double(bad, d));
  }
  int64_t i = 0;
  CHECK((parse_int64("-9223372036854775808", i) && i == INT64_MIN));
  for (const char* bad : {"", "9223372036854775808", "1.0", "1e3", "0x1", "-"}) {
    INFO(bad);
    CHECK_FALSE(parse_int64(bad, i));
  }
}
