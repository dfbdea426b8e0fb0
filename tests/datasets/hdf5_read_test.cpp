// HDF5 clouds from where they are said to lie: two clouds of two points and their labels in a file
// of 50 bytes, and every way in which what was located can contradict the file or itself.
#include "basin/datasets/detail/hdf5_read.h"

#include <doctest/doctest.h>

#include <bit>
#include <cerrno>
#include <functional>

#include "basin/tests/core/faults.h"
#include "basin/tests/core/files.h"

using namespace basin;
using test::Call;
using test::check_error;
using test::Fault;

namespace {

constexpr uint64_t kMiB = 1 << 20;

using Clouds = LocatedClouds;

// What lies where: data [2, 2, 3] f32 with the values 0 to 11 at 0, label [2] u8 at 48.
Clouds located() {
  Clouds c;
  c.data = {7, 3,  {2, 2, 3}, {true, true, false, 4}, Hdf5Layout::contiguous, {}, {}, 48, 0,
            0, {}, {}};
  c.label = {9, 1, {2}, {false, false, false, 1}, Hdf5Layout::contiguous, {}, {}, 2, 48, 0, {}, {}};
  return c;
}

// The data in chunks of one cloud each.
Clouds chunked() {
  Clouds c = located();
  c.data.layout = Hdf5Layout::chunked;
  c.data.chunk = {1, 2, 3};
  c.data.chunk_count = 2;
  c.data.chunks = {{{1, 0, 0}, 0, 24, 24}, {{0, 0, 0}, 0, 0, 24}};
  return c;
}

class File {
 public:
  File() {
    std::vector<uint8_t> bytes;
    for (int i = 0; i < 12; ++i) {
      const auto bits = std::bit_cast<uint32_t>(static_cast<float>(i));
      for (int k = 0; k < 4; ++k) bytes.push_back(static_cast<uint8_t>(bits >> (8 * k)));
    }
    bytes.push_back(1), bytes.push_back(0);
    write_file_atomic(path(), bytes);
  }
  fs::path path() const { return dir_ / "f.h5"; }
  Hdf5Clouds read(Clouds c) const { return read_located_clouds(path(), std::move(c), 1 << 30); }
  void refuses(Clouds c, const std::function<void(Clouds&)>& spoil, const std::string& sentence,
               const std::string& dataset = "offset 7: dataset 'data': ") const {
    spoil(c);
    check_error(ErrorKind::data, {path().string() + ": " + dataset + sentence},
                [&] { read(std::move(c)); });
  }

 private:
  test::TempDir dir_;
};

const std::string kLabel = "offset 9: dataset 'label': ";

}  // namespace

TEST_CASE("hdf5_read: one block, chunks in any order, and chunks that reach beyond the array") {
  const File file;
  fs::resize_file(file.path(), 64);  // the chunks below overlap, but are no longer than the file
  Clouds wide = chunked();  // 2 x 2 x 2 values each, of the second chunk only the first columns
  wide.data.chunk = {2, 2, 2};
  wide.data.chunks = {{{0, 0, 0}, 0, 0, 32}, {{0, 0, 2}, 0, 16, 32}};
  const std::vector<float> ramp{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  const std::vector<float> parts{0, 1, 4, 2, 3, 6, 4, 5, 8, 6, 7, 10};
  for (const auto& [c, expected] :
       {std::pair(located(), ramp), std::pair(chunked(), ramp), std::pair(wide, parts)}) {
    const Hdf5Clouds got = file.read(c);
    CHECK(got.points.shape() == Shape{2, 2, 3});
    CHECK(got.points.to_vector<float>() == expected);
    CHECK(got.labels.to_vector<int64_t>() == std::vector<int64_t>{1, 0});
  }
}

TEST_CASE("hdf5_read: axes and elements") {
  const File file;
  const auto data = [&](const std::function<void(Hdf5Located&)>& spoil, const char* sentence) {
    file.refuses(
        located(), [&](Clouds& c) { spoil(c.data); }, sentence);
  };
  data([](auto& d) { d.shape = {}, d.rank = 4; }, "expected 1 to 3 axes, got 4");
  data([](auto& d) { d.shape = {1, 1, 1, 1}, d.rank = 4; }, "expected 1 to 3 axes, got 4");
  data([](auto& d) { d.rank = 2; }, "expected 1 to 3 axes, got 2");
  data([](auto& d) { d.shape[1] = (uint64_t{1} << 48) + 1; },
       "axis 1 is too long, 281474976710657");
  data([](auto& d) { d.element.width = 3; }, "expected f16, f32, f64 or integers of 1 to 8 bytes");
  data([](auto& d) { d.element.width = 1; }, "expected floats of 2, 4 or 8 bytes, got 1");
  data([](auto& d) { d.element.floating = false; }, "expected f16, f32 or f64 elements");
  data([](auto& d) { d.shape = {2, 6}, d.rank = 2; }, "expected shape [n, P, 3], got [2, 6]");
  const uint64_t most = uint64_t{1} << 48;
  check_error(ErrorKind::data, {"f.h5: offset 7: dataset 'data': ", "does not fit into 63 bits"},
              [&] {
                Clouds c = located();
                c.data.shape = {most, most, 3};
                file.read(c);
              });
  const auto label = [&](const std::function<void(Hdf5Located&)>& spoil, const char* sentence) {
    file.refuses(
        located(), [&](Clouds& c) { spoil(c.label); }, sentence, kLabel);
  };
  label(  // 1 and 2, 1 and a half
      [](auto& d) {
        d.element = {true, true, false, 4}, d.layout = Hdf5Layout::compact, d.stored = 8;
        d.compact = {0, 0, 0x80, 0x3F, 0, 0, 0xC0, 0x3F};
      },
      "expected integers or whole floats as labels, row 1 is 1.5");
  label([](auto& d) { d.layout = Hdf5Layout::compact, d.compact = {1}; },
        "expected 2 stored bytes, got 1");
  label([](auto& d) { d.shape = {3}; }, "expected shape [2] or [2, 1], got [3]");
  label(
      [](auto& d) {
        d.shape = {2, 1, 1}, d.rank = 3;
      },
      "expected shape [2] or [2, 1], got [2, 1, 1]");
}

TEST_CASE("hdf5_read: more points in a cloud than any network takes") {
  const File file;
  fs::resize_file(file.path(), 13 * kMiB);  // a hole: it takes no room
  file.refuses(
      located(),
      [](Clouds& c) {
        c.data.shape = {1, kMiB + 1, 3}, c.data.stored = 12 * (kMiB + 1);
      },
      "expected shape [n, P, 3], got [1, 1048577, 3]");
}

TEST_CASE("hdf5_read: storage that the file cannot hold") {
  const File file;
  const auto data = [&](const Clouds& from, const std::function<void(Hdf5Located&)>& spoil,
                        const char* sentence) {
    file.refuses(
        from, [&](Clouds& c) { spoil(c.data); }, sentence);
  };
  data(
      located(), [](auto& d) { d.layout = Hdf5Layout::other; },
      "expected storage inside the file as one block, chunks or compact, not external");
  data(
      located(),
      [](auto& d) {
        d.filters = {1, 4};
      },
      "expected gzip, shuffle or checksum filters, got filter 4");
  data(
      located(), [](auto& d) { d.stored = 51; },
      "expected 48 bytes of elements, the 51 bytes in a file of 50 cannot hold them");
  data(
      located(),
      [](auto& d) {
        d.shape = {2, 10'000, 3};
      },
      "expected 240000 bytes of elements, the 48 bytes in a file of 50 cannot hold them");
  data(
      located(), [](auto& d) { d.stored = 40; }, "expected 48 stored bytes, got 40");
  data(
      located(), [](auto& d) { d.address = 3; }, "expected 48 bytes at 3 of 50");
  data(
      located(), [](auto& d) { d.address = ~uint64_t{0}; },
      "expected 48 bytes at 18446744073709551615 of 50");
  data(
      chunked(),
      [](auto& d) {
        d.chunk = {2, 3};
      },
      "has chunks of 2 axes");
  data(
      chunked(),
      [](auto& d) {
        d.chunk = {1, 0, 3};
      },
      "has a chunk of 0");
  data(
      chunked(),
      [](auto& d) {
        d.chunk = {1, 256 * kMiB + 1, 3};
      },
      "has a chunk of 268435457");
  data(
      chunked(),
      [](auto& d) {
        d.chunk = {1 << 14, 1 << 14, 3};
      },
      "has chunks of 1073741824 bytes and more");
}

TEST_CASE("hdf5_read: chunks that are not those of the array") {
  const File file;
  const auto data = [&](const std::function<void(Hdf5Located&)>& spoil, const char* sentence) {
    file.refuses(
        chunked(), [&](Clouds& c) { spoil(c.data); }, sentence);
  };
  data([](auto& d) { d.chunks.pop_back(), d.chunk_count = 1; },
       "expected 2 chunks (at most 20000), got 1");
  data([](auto& d) { d.chunks.push_back(d.chunks[0]), d.chunk_count = 3; },
       "expected 2 chunks (at most 20000), got 3");
  data([](auto& d) { d.chunks.clear(), d.chunk_count = 20'001; },
       "expected 2 chunks (at most 20000), got 20001");
  data([](auto& d) { d.chunks[1].at = d.chunks[0].at; }, "stores a chunk twice");
  data(
      [](auto& d) {
        d.chunk = {1, 4 * kMiB, 16};
      },
      "chunk 0 has 24 bytes, which cannot hold 268435456");
  data([](auto& d) { d.chunks[1].mask = 2; }, "chunk 1 has 24 bytes, mask 2");
  data([](auto& d) { d.chunks[1].bytes = 51; }, "chunk 1 has 51 bytes, mask 0");
  data([](auto& d) { d.chunks[1].bytes = 27; }, "chunk 1 has 27 bytes, mask 0");  // of 26 left
  data([](auto& d) { d.chunks[0].at = {1, 0}; }, "chunk 0 has 2 axes");
  data([](auto& d) { d.chunks[0].at = {2, 0, 0}; }, "chunk 0 is misplaced");
  data([](auto& d) { d.chunks[0].at = {1, 1, 0}; }, "chunk 0 is misplaced");
  data([](auto& d) { d.chunks[0].address = 27; }, "expected 24 bytes at 27 of 50");
  file.refuses(
      chunked(), [](Clouds& c) { c.data.chunks[0].bytes = 23; },
      "expected a chunk of 24 bytes, got 23", "offset 24: dataset 'data': ");
}

TEST_CASE("hdf5_read: a device that fails") {
  const File file;
  {
    const Fault fault(Call::read, EIO);
    file.refuses(
        located(), [](Clouds&) {}, "cannot be read at 0");
    CHECK(fault.struck());
  }
  fs::remove(file.path());
  file.refuses(
      located(), [](Clouds&) {}, "cannot be opened", "");
}
