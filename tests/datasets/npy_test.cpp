// .npy: bytes as numpy writes them, both byte orders, Fortran order, and hostile headers.
#include "basin/datasets/npy.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "basin/tests/core/files.h"

using namespace basin;
using test::check_error;

namespace {

std::vector<uint8_t> npy_of(const std::string& header, const std::vector<uint8_t>& data,
                            int version = 1) {
  std::vector<uint8_t> out = test::bytes_of("\x93NUMPY");
  out.push_back(static_cast<uint8_t>(version));
  out.push_back(0);
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i) {
    out.push_back(static_cast<uint8_t>(header.size() >> (8 * i)));
  }
  out.insert(out.end(), header.begin(), header.end());
  out.insert(out.end(), data.begin(), data.end());
  return out;
}

std::string header_of(const std::string& descr, const std::string& shape, bool fortran = false) {
  return "{'descr': '" + descr + "', 'fortran_order': " + (fortran ? "True" : "False") +
         ", 'shape': " + shape + ", }\n";
}

void refused(const std::vector<uint8_t>& bytes, std::vector<std::string> words) {
  words.insert(words.begin(), {"bad.npy", "offset"});
  check_error(ErrorKind::data, words, [&] { parse_npy(bytes, "bad.npy"); });
}

}  // namespace

TEST_CASE("npy: round trip of the four types and of odd shapes") {
  const test::TempDir dir;
  const auto same = [&](const Tensor& t) {
    write_npy(dir / "t.npy", t);
    const Tensor back = read_npy(dir / "t.npy");
    CHECK(back.shape() == t.shape());
    CHECK(back.dtype() == t.dtype());
    const auto* a = static_cast<const uint8_t*>(t.raw());
    CHECK(std::equal(a, a + t.bytes(), static_cast<const uint8_t*>(back.raw())));
  };
  same(Tensor::from(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3}));
  same(Tensor::from(std::vector<double>{1e300}, {}));
  same(Tensor::from(std::vector<int32_t>{-1}, {1}));
  same(Tensor::from(std::vector<int64_t>{INT64_MIN, 5}, {1, 2, 1}));
  same(Tensor::empty({0, 3}, DType::f32));
}

TEST_CASE("npy: the writer gives the bytes that numpy gives") {
  const auto bytes = serialize_npy(Tensor::from(std::vector<float>{1.5f, -2}, {2}));
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
  header += std::string(117 - header.size(), ' ') + "\n";
  CHECK(bytes == npy_of(header, {0, 0, 0xC0, 0x3F, 0, 0, 0, 0xC0}));
  CHECK((bytes.size() - 8) % 64 == 0);
}

TEST_CASE("npy: byte orders and small integers and versions 2 and 3") {
  for (int version : {1, 2, 3}) {
    const Tensor t =
        parse_npy(npy_of(header_of(">i4", "(2,)"), {0, 0, 1, 2, 255, 255, 255, 255}, version), "t");
    CHECK(t.to_vector<int32_t>() == std::vector<int32_t>{258, -1});
  }
  const Tensor d = parse_npy(npy_of(header_of(">f8", "()"), {0x3F, 0xF8, 0, 0, 0, 0, 0, 0}), "t");
  CHECK(d.item() == 1.5);
  const Tensor b = parse_npy(npy_of(header_of("|b1", "(3,)"), {1, 0, 1}), "t");
  CHECK((b.dtype() == DType::i32 && b.to_vector<int32_t>() == std::vector<int32_t>{1, 0, 1}));
  const Tensor u = parse_npy(npy_of(header_of("|u1", "(1, 2)"), {200, 7}), "t");
  CHECK(u.to_vector<int32_t>() == std::vector<int32_t>{200, 7});
}

TEST_CASE("npy: every number type in both byte orders") {
  const auto read = [](std::string descr, std::vector<uint8_t> big, double expected, DType dtype) {
    for (const char order : {'>', '<'}) {
      INFO(order, descr);
      const Tensor t = parse_npy(npy_of(header_of(order + descr, "(2,)"), big), "t");
      CHECK(t.dtype() == dtype);
      CHECK(t.at(0) == 1);
      CHECK(t.at(1) == expected);
      const auto half = static_cast<ptrdiff_t>(big.size() / 2);
      std::reverse(big.begin(), big.begin() + half), std::reverse(big.begin() + half, big.end());
    }
  };
  read("i1", {1, 0x80}, -128, DType::i32);
  read("u1", {1, 0xFF}, 255, DType::i32);
  read("b1", {1, 0}, 0, DType::i32);
  read("i2", {0, 1, 0x80, 0}, -32768, DType::i32);
  read("u2", {0, 1, 0xFF, 0xFE}, 65534, DType::i32);
  read("i4", {0, 0, 0, 1, 0x80, 0, 0, 0}, -2147483648.0, DType::i32);
  read("u4", {0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFE}, 4294967294.0, DType::i64);
  read("i8", {0, 0, 0, 0, 0, 0, 0, 1, 0x80, 0, 0, 0, 0, 0, 0, 0}, -9223372036854775808.0,
       DType::i64);
  read("u8", {0, 0, 0, 0, 0, 0, 0, 1, 0x7F, 0, 0, 0, 0, 0, 0, 0}, 0x7Fp56, DType::i64);
  read("f2", {0x3C, 0, 0xC1, 0}, -2.5, DType::f32);
  read("f4", {0x3F, 0x80, 0, 0, 0xC0, 0x20, 0, 0}, -2.5, DType::f32);
  read("f8", {0x3F, 0xF0, 0, 0, 0, 0, 0, 0, 0xC0, 4, 0, 0, 0, 0, 0, 0}, -2.5, DType::f64);
  const Tensor f = parse_npy(npy_of(header_of("|i1", "(2, 2)", true), {1, 2, 0xFD, 4}), "t");
  CHECK(f.to_vector<int32_t>() == std::vector<int32_t>{1, -3, 2, 4});
}

TEST_CASE("npy: halves: the smallest, the largest, infinities and signed zeros") {
  const Tensor t = parse_npy(npy_of(header_of("<f2", "(7,)"),
                                    {1, 0, 0xFF, 3, 0, 4, 0xFF, 0x7B, 0, 0x7C, 0, 0x80, 1, 0x7C}),
                             "t");
  CHECK(t.at(0) == 0x1p-24);
  CHECK(t.at(1) == 0x3FFp-24);
  CHECK(t.at(2) == 0x1p-14);
  CHECK(t.at(3) == 65504);
  CHECK(std::isinf(t.at(4)));
  CHECK((t.at(5) == 0 && std::signbit(t.at(5))));
  CHECK(std::isnan(t.at(6)));
}

TEST_CASE("npy: Fortran order is transposed") {
  // a[i][j][k] = 6 i + 3 j + k, shape [2, 2, 3], first axis fastest in the file.
  std::vector<uint8_t> data;
  for (int k = 0; k < 3; ++k)
    for (int j = 0; j < 2; ++j)
      for (int i = 0; i < 2; ++i) data.push_back(static_cast<uint8_t>(6 * i + 3 * j + k));
  const Tensor t = parse_npy(npy_of(header_of("|u1", "(2, 2, 3)", true), data), "t");
  for (int i = 0; i < 12; ++i) CHECK(t.at(i) == i);
}

TEST_CASE("npy: other spellings of the header, and what the writer refuses") {
  // Double quotes, another order of the keys, no comma behind the last one, a scalar's shape.
  const Tensor t = parse_npy(npy_of("{\"shape\":(1,2) , \"fortran_order\":False,\"descr\":\">f4\"}",
                                    {0x3F, 0x80, 0, 0, 0xC0, 0, 0, 0}),
                             "t");
  CHECK(t.shape() == Shape{1, 2});
  CHECK(t.to_vector<float>() == std::vector<float>{1, -2});
  const Tensor f = parse_npy(npy_of(header_of("<f8", "(2,1)", true),
                                    {0, 0, 0, 0, 0, 0, 0xF0, 0x3F, 0, 0, 0, 0, 0, 0, 0, 0x40}),
                             "t");
  CHECK(f.to_vector<double>() == std::vector<double>{1, 2});
  check_error(ErrorKind::usage, {"write_npy", "tensor"}, [] { serialize_npy(Tensor()); });
}

TEST_CASE("npy: hostile files") {
  const std::vector<uint8_t> eight(8);
  refused({}, {"signature"});
  refused(test::bytes_of("PK\x03\x04garbage"), {"offset 0", "NUMPY", "this is a zip archive"});
  refused(test::bytes_of("\x89HDF\r\n\x1A\n"), {"offset 0", "NUMPY", "this is an HDF5 file"});
  refused(npy_of(header_of("<f4", "(2,)"), eight, 4), {"version 1, 2 or 3", "got 4"});
  refused(npy_of(header_of("|O", "(1,)"), eight), {"pickle"});
  for (const char* type :
       {"<f16", "<c8", "<U2", "|S8", "<M8[s]", "|V8", "<i3", "<b1x", "|i2", "<f1"}) {
    refused(npy_of(header_of(type, "(1,)"), eight), {str("'", type, "'")});
  }
  refused(npy_of(header_of("<u8", "(2,)"), {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80}),
          {"below 2^63, element 1 is 9223372036854775808"});
  refused(npy_of(header_of("|f4", "(2,)"), eight), {"'|f4'"});
  refused(npy_of("{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (2,), }", eight),
          {"structured"});
  refused(npy_of(header_of("<f4", "(3,)"), eight), {"12 bytes", "[3]", "8 are left"});
  refused(npy_of(header_of("<f4", "(1,)"), eight), {"4 bytes"});
  refused(npy_of(header_of("<f4", "(-2,)"), eight), {"size from 0"});
  refused(npy_of(header_of("<f4", "(99999999999999999999,)"), eight), {"size from 0"});
  refused(npy_of(header_of("<f4", "(4294967296, 4294967296)"), eight), {"63 bits"});
  refused(npy_of(header_of("<f8", "(2305843009213693952,)"), {}), {"63 bits"});
  refused(npy_of(header_of("<f4", "(0, 4294967296, 4294967296)"), {}), {"63 bits"});
  refused(npy_of(header_of("<f4", "(1,1,1,1,1,1,1,1,2)"), eight), {"at most 8 axes"});
  refused(npy_of(header_of("<f4", "(2,") + "x", eight), {"expected"});
  refused(npy_of("{'descr': '<f4', 'descr': '<f4'}", eight), {"once", "descr"});
  refused(npy_of("{'fortran_order': True, 'fortran_order': True}", eight),
          {"fortran_order", "once"});
  refused(npy_of("{'shape': (2,), 'shape': (2,)}", eight), {"once", "'shape'"});
  refused(npy_of("{'descr': '<f4'}", eight), {"expected the keys"});
  refused(npy_of("{'descr': '<f4', 'fortran_order': False}", eight), {"expected the keys"});
  refused(npy_of("{'descr': '<f4', 'shape': (2,)}", eight), {"expected the keys"});
  refused(npy_of("{'fortran_order': False, 'shape': (2,)}", eight), {"expected the keys"});
  refused(npy_of("{", eight), {"quoted string"});
  refused(npy_of("{'descr': ", eight), {"quoted string"});
  refused(npy_of(header_of("", "(2,)"), eight), {"got ''"});
  refused(npy_of(header_of("f", "(2,)"), eight), {"got 'f'"});
  refused(npy_of(header_of("=f4", "(2,)"), eight), {"got '=f4'"});
  refused(npy_of(header_of("<f4 ", "(2,)"), eight), {"got '<f4 '"});
  refused(npy_of(header_of("<f4", "2"), eight), {"expected '('"});
  refused(npy_of(header_of("<f4", "(/)"), eight), {"size from 0"});
  refused(npy_of(header_of("<f4", "(:)"), eight), {"size from 0"});
  refused(npy_of(header_of("<f4", "(2 2)"), eight), {"expected ')'"});
  refused(npy_of("{'descr': '<f4', 'fortran_order': 0}", eight), {"True or False"});
  refused(npy_of("{'descr': '<f4' 'fortran_order': True}", eight), {"expected '}'"});
  refused(npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (", eight), {"size from 0"});
  refused(npy_of("__import__('os')", eight), {"expected '{'"});
  refused(npy_of("{'descr", eight), {"string to end"});
  refused(npy_of(header_of("<f4", "(2,)") + "1", eight), {"blanks"});
  refused(npy_of(std::string(20'000, ' '), eight), {"10000", "20000"});
  std::vector<uint8_t> twelve = npy_of("", {}, 2);  // a 12-byte file whose length says 4 GB
  std::fill(twelve.begin() + 8, twelve.end(), uint8_t{0xFF});
  refused(twelve, {"10000", "4294967295"});
  const auto good = serialize_npy(Tensor::zeros({2, 2}, DType::f64));
  for (size_t n = 0; n < good.size(); ++n) {
    refused({good.begin(), good.begin() + static_cast<ptrdiff_t>(n)}, {});
  }
}
