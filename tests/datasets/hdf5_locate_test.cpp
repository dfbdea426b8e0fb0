// The answer of the process that calls libhdf5: whole ones, and what is no such list of numbers.
#include "basin/datasets/detail/hdf5_locate.h"

#include <doctest/doctest.h>

#include "basin/tests/core/files.h"

using namespace basin;
using test::check_error;

namespace {

using Numbers = std::vector<uint64_t>;

std::optional<Hdf5Located> take_any(const Numbers& numbers) {
  std::vector<uint8_t> bytes;
  for (const uint64_t n : numbers) {
    for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<uint8_t>(n >> (8 * i)));
  }
  ByteReader in(bytes, "f.h5");
  return take_located(in);
}

Hdf5Located take(const Numbers& numbers) {
  const std::optional<Hdf5Located> d = take_any(numbers);
  REQUIRE(d.has_value());
  return *d;
}

// It is there, at offset 800, [4, 5] of big-endian i16, chunks of [4, 3] with filters 2 and 1, two
// of them, and three bytes of its own.
const Numbers kWhole{1,  800, 2, 2, 4, 5, 0, 1,   1,  2, 1, 2, 2, 1,   2,  4, 3,       60,
                     99, 2,   2, 2, 0, 0, 0, 900, 30, 2, 0, 3, 0, 930, 30, 3, 0x060504};

}  // namespace

TEST_CASE("hdf5_locate: an answer") {
  const Hdf5Located d = take(kWhole);
  CHECK((d.offset == 800 && d.rank == 2 && d.shape == Numbers{4, 5}));
  CHECK((!d.element.floating && d.element.is_signed && d.element.big && d.element.width == 2));
  CHECK(d.layout == Hdf5Layout::chunked);
  CHECK((d.filters == Numbers{2, 1} && d.chunk == Numbers{4, 3}));
  CHECK((d.stored == 60 && d.address == 99 && d.chunk_count == 2));
  REQUIRE(d.chunks.size() == 2);
  CHECK((d.chunks[1].at == Numbers{0, 3} && d.chunks[1].mask == 0));
  CHECK((d.chunks[1].address == 930 && d.chunks[1].bytes == 30));
  CHECK(d.compact == std::vector<uint8_t>{4, 5, 6});
  CHECK(!take_any({0}).has_value());
}

TEST_CASE("hdf5_locate: an answer that is cut short, or whose lists have no end") {
  for (size_t n = 0; n < kWhole.size(); ++n) {
    check_error(ErrorKind::data, {str("f.h5: offset ", 8 * n, ": expected "), "0 bytes are left"},
                [&] {
                  take({kWhole.begin(), kWhole.begin() + static_cast<ptrdiff_t>(n)});
                });
  }
  Numbers axes = kWhole;
  axes[3] = 33;
  check_error(ErrorKind::data, {"f.h5: offset 32: expected a short list, got 33"},
              [&] { take(axes); });
  Numbers chunks = kWhole;
  chunks[20] = 20'001;
  check_error(ErrorKind::data, {"f.h5: offset 168: expected fewer chunks than 20001"},
              [&] { take(chunks); });
  Numbers bytes = kWhole;
  bytes[33] = 65'537;
  check_error(ErrorKind::data, {"f.h5: offset 272: expected at most 65536 bytes, got 65537"},
              [&] { take(bytes); });
}
