// HDF5 clouds: the fixtures (gzip + shuffle + u8 labels, big endian + checksum, superblock 0 and 2,
// f64, f16, compact, float labels) hold data[i][p][c] = (first + i) + p / 16 + c / 4 and label
// (first + i) % 3. Hostile fixtures name their fault.
#include "basin/datasets/hdf5.h"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <cstdio>
#include <fstream>

#include "basin/tests/core/files.h"
#include "basin/tests/datasets/hdf5_skip.h"

using namespace basin;
using test::check_error;

namespace {

const fs::path kGood = test::fixtures() / "hdf5_layout", kBad = test::fixtures() / "hdf5_hostile",
               kForms = test::fixtures() / "hdf5_forms";

void check_file(const fs::path& path, int64_t n, int64_t first, DType dtype = DType::f32) {
  INFO(path.string());
  const Hdf5Clouds clouds = read_hdf5_clouds(path);
  CHECK(clouds.points.dtype() == dtype);
  CHECK(!clouds.normals.defined());
  REQUIRE(clouds.points.shape() == Shape{n, 16, 3});
  REQUIRE(clouds.labels.shape() == Shape{n});
  for (int64_t i = 0; i < n * 48; ++i) {
    const double expected = static_cast<double>(first + i / 48) + i % 48 / 3 / 16.0 + i % 3 / 4.0;
    REQUIRE(clouds.points.at(i) == expected);
  }
  for (int64_t i = 0; i < n; ++i) CHECK(clouds.labels.at(i) == (first + i) % 3);
}

}  // namespace

TEST_CASE("hdf5: reads gzip and shuffle and both byte orders and f64") {
  if (!hdf5_available()) {
    check_error(ErrorKind::resource, {"libhdf5-dev"},
                [] { read_hdf5_clouds(kGood / "ply_data_train0.h5"); });
  }
  if (test::skip_without_hdf5()) return;
  check_file(kGood / "ply_data_train0.h5", 4, 0);
  check_file(kGood / "ply_data_train1.h5", 3, 4, DType::f64);
  check_file(kGood / "ply_data_test0.h5", 3, 0);
}

TEST_CASE("hdf5: compact storage, half precision and labels of every type") {
  if (test::skip_without_hdf5()) return;
  check_file(kForms / "compact.h5", 3, 0);
  check_file(kForms / "compact_latest.h5", 3, 0, DType::f64);
  check_file(kForms / "half.h5", 3, 0);
  check_file(kForms / "half_big.h5", 3, 0);
  for (const char* type : {"f2", "big_f2", "f4", "f8"}) {
    check_file(kForms / str("float_label_", type, ".h5"), 3, 0);
  }
  for (const char* type : {"i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"}) {
    check_file(kForms / str("label_", type, ".h5"), 3, 0);
  }
}

TEST_CASE("hdf5: normals are read when asked for") {
  if (test::skip_without_hdf5()) return;
  for (const char* name : {"normal.h5", "normal_v110.h5"}) {
    check_file(kForms / name, 3, 0);
    const Hdf5Clouds clouds = read_hdf5_clouds(kForms / name, {.normals = true});
    REQUIRE(clouds.normals.shape() == clouds.points.shape());
    CHECK(clouds.normals.dtype() == DType::f64);
    for (int64_t i = 0; i < clouds.points.numel(); ++i) {
      REQUIRE(clouds.normals.at(i) == -clouds.points.at(i));
    }
  }
  CHECK(!read_hdf5_clouds(kForms / "half.h5", {.normals = true}).normals.defined());
}

TEST_CASE("hdf5: what packs well is no bomb") {
  if (test::skip_without_hdf5()) return;
  const Hdf5Clouds sorted = read_hdf5_clouds(kForms / "sorted_labels.h5");
  REQUIRE(sorted.labels.numel() == 1200);
  for (int64_t i = 0; i < 1200; ++i) CHECK(sorted.labels.at(i) == static_cast<double>(i / 400));
  const Hdf5Clouds flat = read_hdf5_clouds(kForms / "flat.h5");
  CHECK(flat.points.shape() == Shape{100, 1024, 3});
  CHECK(flat.points.at(100 * 1024 * 3 - 1) == 0);
}

TEST_CASE("hdf5: truncated and garbage files are refused by the frame check") {
  const test::TempDir dir;
  for (const char* name : {"ply_data_train0.h5", "ply_data_train1.h5"}) {
    const auto bytes = read_file(kGood / name);
    const auto cut = [&](size_t n) {
      write_file_atomic(dir / "cut.h5", std::span(bytes).first(n));
      read_hdf5_clouds(dir / "cut.h5");
    };
    for (size_t n : {size_t{100}, bytes.size() / 2, bytes.size() - 1}) {
      check_error(ErrorKind::data,
                  {"cut.h5", str("ends at byte ", n), str("superblock says ", bytes.size())},
                  [&] { cut(n); });
    }
    for (size_t n = 0; n < 40; ++n) {
      check_error(ErrorKind::data, {"cut.h5", "offset"}, [&] { cut(n); });
    }
  }
  write_file_atomic(dir / "garbage.h5", "this is not HDF5 at all, but a line of text\n");
  check_error(ErrorKind::data, {"garbage.h5", "offset 0", "expected HDF5 signature", "44 bytes"},
              [&] { read_hdf5_clouds(dir / "garbage.h5"); });
  write_file_atomic(dir / "packed.h5", std::string_view("\x1F\x8B\x08\x00\x00\x00\x00\x00", 8));
  check_error(ErrorKind::data, {"packed.h5", "HDF5 signature", "this is a gzip file"},
              [&] { read_hdf5_clouds(dir / "packed.h5"); });
  check_error(ErrorKind::data, {"none.h5"}, [&] { read_hdf5_clouds(dir / "none.h5"); });
  check_error(ErrorKind::data, {"regular file"}, [&] { read_hdf5_clouds(dir.path()); });
}

TEST_CASE("hdf5: a file that cannot be opened") {
#ifdef __SANITIZE_ADDRESS__
  std::printf("SKIPPED: the sanitizers need file descriptors of their own\n");
#else
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit none{0, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  check_error(ErrorKind::data, {"ply_data_train0.h5: cannot be opened"},
              [] { check_hdf5_frame(kGood / "ply_data_train0.h5"); });
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
#endif
}

TEST_CASE("hdf5: the frame check reads every version and both widths of the superblock") {
  const test::TempDir dir;
  // A file of 200 bytes whose superblock says that it ends at `end`.
  const auto check_frame = [&](int version, int width, uint64_t base, uint64_t end) {
    std::vector<uint8_t> bytes{0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
    const auto skip = [&](size_t n) { bytes.insert(bytes.end(), n, uint8_t{0}); };
    bytes.push_back(static_cast<uint8_t>(version));
    skip(version < 2 ? 4 : 0);
    bytes.push_back(static_cast<uint8_t>(width));
    skip(version == 0 ? 10 : version == 1 ? 14 : 2);
    for (const uint64_t address : {base, ~uint64_t{0}, end}) {
      for (int i = 0; i < width; ++i) bytes.push_back(static_cast<uint8_t>(address >> (8 * i)));
    }
    bytes.resize(200);
    write_file_atomic(dir / "frame.h5", bytes);
    check_hdf5_frame(dir / "frame.h5");
  };
  for (int version = 0; version <= 3; ++version) {
    for (const int width : {4, 8}) {
      INFO(version, " ", width);
      CHECK_NOTHROW(check_frame(version, width, 0, 200));
      check_error(ErrorKind::data, {"frame.h5: offset 200", "superblock says 201"},
                  [&] { check_frame(version, width, 0, 201); });
      check_error(ErrorKind::data, {"base address 0", "got 512"},
                  [&] { check_frame(version, width, 512, 200); });
    }
    check_error(ErrorKind::data, {"4 or 8 bytes", "got 2"}, [&] { check_frame(version, 2, 0, 9); });
  }
  check_error(ErrorKind::data, {"version 0 to 3", "got 4", "newer HDF5 format"},
              [&] { check_frame(4, 8, 0, 200); });
}

TEST_CASE("hdf5: hostile datasets are refused before they are read") {
  if (test::skip_without_hdf5()) return;
  const auto bad = [](const std::string& name, std::vector<std::string> words) {
    words.insert(words.begin(), {name, "offset"});
    check_error(ErrorKind::data, words, [&] { read_hdf5_clouds(kBad / name, {.normals = true}); });
  };
  bad("no_label.h5", {"a dataset 'label'", "there is none"});
  bad("two_axes.h5", {"[n, P, 3]", "[3, 3]"});
  bad("four_columns.h5", {"[n, P, 3]", "[3, 16, 4]"});
  bad("label_count.h5", {"'label'", "[3]", "[4]"});
  bad("fraction_label.h5", {"'label'", "integers or whole floats", "row 2 is 1.5"});
  bad("nan_label.h5", {"'label'", "row 1 is nan"});
  bad("vast_label.h5", {"'label'", "row 2", "2^63"});
  bad("normal_count.h5", {"'normal'", "[3, 16, 3], got [2, 16, 3]"});
  bad("normal_axes.h5", {"'normal'", "[3, 16, 3], got [3, 16]"});
  bad("normal_type.h5", {"'normal'", "f16, f32 or f64"});
  bad("newer_layout.h5", {"'data'", "version", "newer HDF5 format", "libver='earliest'"});
  bad("text_label.h5", {"'label'", "integers of 1 to 8"});
  bad("int_points.h5", {"f16, f32 or f64"});
  bad("vlen_label.h5", {"'label'"});
  bad("huge.h5", {"cannot hold"});
  bad("huge_chunk.h5", {"chunk"});
  bad("external_link.h5", {"link"});
  bad("soft_link.h5", {"link"});
  bad("external_storage.h5", {"inside the file"});
  bad("virtual.h5", {"inside the file"});
  bad("lzf.h5", {"filter"});
  bad("group.h5", {"'data'"});
  bad("scalar.h5", {"'data'", "1 to 3 axes, got 0"});
  bad("four_axes.h5", {"'data'", "1 to 3 axes, got 4"});
  bad("four_axes_in_chunks.h5", {"'data'", "1 to 3 axes, got 4"});
  bad("null.h5", {"'data'", "1 to 3 axes, got 0"});
  bad("many_chunks.h5", {"'label'", "expected 20001 chunks (at most 20000), got 20001"});
  bad("missing_chunk.h5", {"'data'", "expected 2 chunks", "got 1"});
  bad("unwritten.h5", {"'data'", "72 stored bytes, got 0"});
  bad("two_labels.h5", {"'label'", "[3] or [3, 1], got [3, 2]"});
  bad("no_clouds.h5", {"[n, P, 3]", "[0, 2, 3]"});
  bad("no_points.h5", {"[n, P, 3]", "[3, 0, 3]"});
  check_error(ErrorKind::data, {"limit is 100"},
              [] { read_hdf5_clouds(kGood / "ply_data_train0.h5", {.max_bytes = 100}); });
}

TEST_CASE("hdf5: flipped bytes give a data error or a well-formed result") {
  if (test::skip_without_hdf5()) return;
  const test::TempDir dir;
  const auto good = read_file(kGood / "ply_data_train0.h5");
  int refused = 0;
  for (size_t at = 0; at < good.size(); at += 7) {
    auto bytes = good;
    bytes[at] ^= 0x5A;
    std::ofstream(dir / "flip.h5", std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    try {
      const Hdf5Clouds clouds = read_hdf5_clouds(dir / "flip.h5");
      CHECK(clouds.points.rank() == 3);
    } catch (const Error& error) {
      const std::string text = error.what();
      INFO(at, " ", text);
      CHECK(error.kind() == ErrorKind::data);
      CHECK(text.find("offset") != text.npos);
      CHECK(text.find('\n') == text.npos);
      ++refused;
    }
  }
  CHECK(refused > 20);
}
