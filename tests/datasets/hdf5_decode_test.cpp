// HDF5 chunks: filters undone in reverse, sizes enforced, elements of every width and order.
#include "basin/datasets/detail/hdf5_decode.h"

#include <doctest/doctest.h>
#include <zlib.h>

#include "basin/tests/core/files.h"

using namespace basin;
using test::check_error;

namespace {

std::vector<uint8_t> packed(const std::vector<uint8_t>& in) {
  std::vector<uint8_t> out(compressBound(in.size()));
  uLongf n = out.size();
  REQUIRE(compress(out.data(), &n, in.data(), in.size()) == Z_OK);
  out.resize(n);
  return out;
}

}  // namespace

TEST_CASE("hdf5_decode: shuffle then gzip then checksum are undone") {
  const std::vector<uint8_t> plain{1, 2, 3, 4, 5, 6}, shuffled{1, 3, 5, 2, 4, 6};
  std::vector<uint8_t> stored = packed(shuffled);
  const uint32_t sum = fletcher32(stored);
  for (int i = 0; i < 4; ++i) stored.push_back(static_cast<uint8_t>(sum >> (8 * i)));
  const std::vector<Hdf5Filter> all{Hdf5Filter::shuffle, Hdf5Filter::deflate,
                                    Hdf5Filter::fletcher32};
  CHECK(undo_filters(stored, all, 2, 6, "f.h5") == plain);
  CHECK(fletcher32(std::vector<uint8_t>{1, 2, 3}) == 0x05040402);  // an odd byte is the high one
  stored[3] ^= 1;
  check_error(ErrorKind::data, {"f.h5", "checksum"},
              [&] { undo_filters(stored, all, 2, 6, "f.h5"); });
}

TEST_CASE("hdf5_decode: a chunk must have exactly its size") {
  const auto fault = [](const std::vector<uint8_t>& stored, std::vector<Hdf5Filter> filters,
                        const char* word) {
    check_error(ErrorKind::data, {"f.h5", word},
                [&] { undo_filters(stored, filters, 4, 8, "f.h5"); });
  };
  fault({1, 2, 3}, {}, "chunk of 8 bytes, got 3");
  fault(packed({1, 2, 3, 4}), {Hdf5Filter::deflate}, "got 4");
  fault(packed(std::vector<uint8_t>(1'000'000)), {Hdf5Filter::deflate}, "more than");
  fault({9, 9, 9}, {Hdf5Filter::deflate}, "damaged");
  fault({1, 2}, {Hdf5Filter::fletcher32}, "checksum");
}

TEST_CASE("hdf5_decode: elements") {
  const std::vector<uint8_t> bytes{0xFF, 0xFE, 0x00, 0x01};
  std::vector<int64_t> out(2);
  CHECK(decode_integers(bytes, {false, true, true, 2}, out.data()) == 2);
  CHECK(out == std::vector<int64_t>{-2, 1});
  CHECK(decode_integers(bytes, {false, false, false, 2}, out.data()) == 2);
  CHECK(out == std::vector<int64_t>{0xFEFF, 0x0100});
  float value = 0;
  decode_floats(std::vector<uint8_t>{0xC0, 0x20, 0, 0}, {true, true, true, 4}, &value);
  CHECK(value == -2.5f);
  decode_floats(std::vector<uint8_t>{0, 0, 0, 0, 0, 0, 0xF8, 0x3F}, {true, true, false, 8}, &value);
  CHECK(value == 1.5f);
  double wide = 0;
  decode_floats(std::vector<uint8_t>{0, 0, 0, 0, 0x80, 0x84, 0x2E, 0x41}, {true, true, false, 8},
                &wide);
  CHECK(wide == 1e6);
  decode_floats(std::vector<uint8_t>{0xC1, 0x00}, {true, true, true, 2}, &value);
  CHECK(value == -2.5f);
  // Of u64 the numbers that i64 holds: the second one is 2^63.
  const std::vector<uint8_t> large{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80};
  CHECK(decode_integers(large, {false, false, false, 8}, out.data()) == 1);
  CHECK(decode_integers(large, {false, true, false, 8}, out.data()) == 2);
  CHECK(out == std::vector<int64_t>{1, INT64_MIN});
}
