// safetensors: round trips, bit-exact values, alignment, and every hostile header that the format
// forbids.
#include "basin/core/safetensors.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "basin/tests/core/files.h"

using namespace basin;
using test::check_error;

namespace {

std::vector<uint8_t> file_of(const std::string& header, size_t data_bytes) {
  std::vector<uint8_t> out;
  for (int i = 0; i < 8; ++i)
    out.push_back(static_cast<uint8_t>(uint64_t{header.size()} >> (8 * i)));
  out.insert(out.end(), header.begin(), header.end());
  for (size_t i = 0; i < data_bytes; ++i) out.push_back(static_cast<uint8_t>(i));
  return out;
}

std::string entry(const std::string& name, const std::string& rest) {
  return "\"" + name + "\":{\"dtype\":\"F32\"," + rest + "}";
}

void refused(const std::string& header, size_t data_bytes, std::vector<std::string> words) {
  words.insert(words.begin(), {"bad.safetensors", "offset"});
  INFO(header);
  check_error(ErrorKind::data, words,
              [&] { parse_safetensors(file_of(header, data_bytes), "bad.safetensors"); });
}

}  // namespace

TEST_CASE("safetensors: round trip of types names metadata scalars and empty tensors") {
  SafetensorsFile file;
  const float nan = std::bit_cast<float>(0x7FC12345u);
  file.tensors.emplace_back("a.weight", Tensor::from(std::vector<float>{1, nan, -0.0f}, {3, 1}));
  file.tensors.emplace_back("quote\"\\\n\x01 \xC3\xA9",
                            Tensor::from(std::vector<double>{M_PI}, {}));
  file.tensors.emplace_back("i32", Tensor::from(std::vector<int32_t>{-1, 7}, {2}));
  file.tensors.emplace_back("empty", Tensor::empty({0, 5}, DType::f64));
  file.tensors.emplace_back("i64", Tensor::from(std::vector<int64_t>{INT64_MIN}, {1}));
  file.metadata = {{"format", "basin"}, {"note", "tab\t"}};
  const test::TempDir dir;
  write_safetensors(dir / "m.safetensors", file);
  const SafetensorsFile back = read_safetensors(dir / "m.safetensors");
  CHECK(back.metadata == file.metadata);
  REQUIRE(back.tensors.size() == 5);
  for (size_t i = 0; i < 5; ++i) {
    CHECK(back.tensors[i].first == file.tensors[i].first);
    CHECK(back.tensors[i].second.shape() == file.tensors[i].second.shape());
    CHECK(back.tensors[i].second.dtype() == file.tensors[i].second.dtype());
  }
  CHECK(std::bit_cast<uint32_t>(back.find("a.weight")->data<float>()[1]) == 0x7FC12345u);
  CHECK(std::signbit(back.find("a.weight")->data<float>()[2]));
  CHECK(back.find("i64")->data<int64_t>()[0] == INT64_MIN);
  CHECK(back.find("nothing") == nullptr);
  const auto bytes = serialize_safetensors(file);
  CHECK(bytes == serialize_safetensors(back));
  CHECK((8 + ByteReader(bytes, "m").u64("length")) % 64 == 0);
}

TEST_CASE("safetensors: half precision becomes f32") {
  const auto load = [](const std::string& dtype, std::vector<uint16_t> values) {
    std::vector<uint8_t> bytes =
        file_of("{\"x\":{\"dtype\":\"" + dtype + "\",\"shape\":[" + std::to_string(values.size()) +
                    "],\"data_offsets\":[0," + std::to_string(2 * values.size()) + "]}}",
                0);
    for (uint16_t v : values) {
      bytes.push_back(static_cast<uint8_t>(v));
      bytes.push_back(static_cast<uint8_t>(v >> 8));
    }
    return parse_safetensors(bytes, "half").tensors.at(0).second;
  };
  const Tensor half = load("F16", {0x3C00, 0xC000, 0x0001, 0x8000, 0x7BFF, 0x7C00, 0x7E00, 0x0400});
  CHECK(half.dtype() == DType::f32);
  CHECK(half.at(0) == 1);
  CHECK(half.at(1) == -2);
  CHECK(half.at(2) == std::ldexp(1.0, -24));
  CHECK((half.at(3) == 0 && std::signbit(half.at(3))));
  CHECK(half.at(4) == 65504);
  CHECK(half.at(5) == std::numeric_limits<double>::infinity());
  CHECK(std::isnan(half.at(6)));
  CHECK(half.at(7) == std::ldexp(1.0, -14));
  const Tensor brain = load("BF16", {0x3F80, 0xC049});
  CHECK(brain.at(0) == 1);
  CHECK(brain.at(1) == -3.140625);
}

TEST_CASE("safetensors: every integer type and BOOL") {
  const auto load = [](const std::string& dtype, const std::vector<uint8_t>& data) {
    const std::string size = std::to_string(data.size());
    auto bytes = file_of(
        "{\"x\":{\"dtype\":\"" + dtype + "\",\"shape\":[2],\"data_offsets\":[0," + size + "]}}", 0);
    bytes.insert(bytes.end(), data.begin(), data.end());
    return parse_safetensors(bytes, "t").tensors.at(0).second;
  };
  const auto check_type = [&](const std::string& dtype, const std::vector<uint8_t>& data,
                              DType memory, double first, double second) {
    INFO(dtype);
    const Tensor t = load(dtype, data);
    CHECK(t.dtype() == memory);
    CHECK((t.at(0) == first && t.at(1) == second));
  };
  check_type("BOOL", {1, 0}, DType::i32, 1, 0);
  check_type("I8", {0x80, 127}, DType::i32, -128, 127);
  check_type("U8", {0, 255}, DType::i32, 0, 255);
  check_type("I16", {0, 0x80, 1, 2}, DType::i32, -32768, 513);
  check_type("U16", {0xFF, 0xFF, 1, 0}, DType::i32, 65535, 1);
  check_type("I32", {0, 0, 0, 0x80, 1, 0, 0, 0}, DType::i32, -2147483648.0, 1);
  check_type("U32", {0xFF, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0}, DType::i64, 4294967295.0, 1);
  check_type("U64", {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40}, DType::i64, 1, 0x1p62);
  check_error(ErrorKind::data, {"t: offset", "\"x\"", "below 2^63", "9223372036854775808"}, [&] {
    load("U64", {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80});
  });
}

TEST_CASE("safetensors: escapes and blanks and key order are read as JSON says") {
  const std::string header =
      " \n{ \"\\u0041\\ud83d\\ude00\" : { \"shape\" : [ 2 ] , \"data_offsets\" : [ 0 , 8 ] , "
      "\"dtype\" : \"I32\" } }  ";
  check_error(ErrorKind::data, {"'{' as the first byte"},
              [&] { parse_safetensors(file_of(header, 8), "x"); });
  const auto file = parse_safetensors(file_of(header.substr(2), 8), "x");
  CHECK(file.tensors.at(0).first == "A\xF0\x9F\x98\x80");
  CHECK(file.tensors[0].second.data<int32_t>()[1] == 0x07060504);
  CHECK(parse_safetensors(file_of("{}", 0), "x").tensors.empty());
  // Code points of one to four bytes, escaped (hexadecimal digits in both cases) and as they are.
  const std::string names = "\x24\xC3\xA9\xE0\xA4\xB9\xED\x9F\xBF\xF0\x90\x8D\x88\xF4\x8F\xBF\xBF";
  for (const std::string& text :
       {names, std::string("\\u0024\\u00e9\\u0939\\uD7fF\\ud800\\uDf48\\uDBFF\\udfff")}) {
    const auto read = parse_safetensors(file_of("{" +
                                                    entry(text,
                                                          "\"shape\":[0],\"data_offsets\":"
                                                          "[0,0]") +
                                                    "}",
                                                0),
                                        "x");
    CHECK(read.tensors.at(0).first == names);
  }
}

TEST_CASE("safetensors: hostile ranges") {
  const std::string one = entry("a", "\"shape\":[2],\"data_offsets\":[0,8]");
  refused("{" + one + "}", 9, {"trailing"});
  refused("{" + one + "}", 7, {"8 bytes within 7"});
  refused("{" + one + "," + one + "}", 8, {"\"a\"", "twice"});
  refused("{" + one + "," + entry("b", "\"shape\":[2],\"data_offsets\":[12,20]") + "}", 20,
          {"hole"});
  refused("{" + one + "," + entry("b", "\"shape\":[2],\"data_offsets\":[4,12]") + "}", 12,
          {"overlap"});
  refused("{" + one + "," + entry("b", "\"shape\":[2],\"data_offsets\":[0,8]") + "}", 8,
          {"overlap"});
  refused("{" + entry("a", "\"shape\":[2],\"data_offsets\":[4,12]") + "}", 12, {"hole"});
  refused("{" + entry("a", "\"shape\":[3],\"data_offsets\":[0,8]") + "}", 8, {"range of 12 bytes"});
  refused("{" + entry("a", "\"shape\":[2],\"data_offsets\":[8,0]") + "}", 8, {"range"});
  refused("{" + entry("a", "\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]") + "}", 0,
          {"63 bits"});
  refused("{" + entry("a", "\"shape\":[4611686018427387904],\"data_offsets\":[0,0]") + "}", 0,
          {"63 bits"});
  refused("{" + entry("a", "\"shape\":[0,4294967296,4294967296],\"data_offsets\":[0,0]") + "}", 0,
          {"63 bits"});
  refused("{" + entry("a", "\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]") + "}", 4,
          {"more than 8"});
}

TEST_CASE("safetensors: hostile headers") {
  const std::string offsets = "\"data_offsets\":[0,4]";
  refused("{" + entry("a", "\"shape\":[-1]," + offsets) + "}", 4, {"whole number"});
  refused("{" + entry("a", "\"shape\":[1.0]," + offsets) + "}", 4, {"expected"});
  refused("{" + entry("a", "\"shape\":[01]," + offsets) + "}", 4, {"whole number"});
  refused("{" + entry("a", "\"shape\":[99999999999999999999]," + offsets) + "}", 4,
          {"whole number"});
  refused("{" + entry("a", offsets) + "}", 4, {"needs dtype, shape"});
  refused("{" + entry("a", "\"shape\":[1],\"data_offsets\":[0]") + "}", 4, {"needs"});
  refused("{" + entry("a", "\"shape\":[1],\"data_offsets\":[0,4,4]") + "}", 4, {"more than 2"});
  refused("{" + entry("a", "\"shape\":[1]," + offsets + ",\"shape\":[1]") + "}", 4,
          {"\"shape\" twice"});
  refused("{" + entry("a", "\"shape\":[1]," + offsets + ",\"evil\":[]") + "}", 4, {"unknown key"});
  refused("{\"a\":{\"dtype\":\"U4\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
          {"from F16 to F64", "U4"});
  refused("{\"a\":[]}", 0, {"expected '{'"});
  refused("{\"a\":{\"dtype\":{}}}", 0, {"expected '\"'"});
  refused("{\"__metadata__\":{\"k\":1}}", 0, {"expected '\"'"});
  refused("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, {"twice"});
  refused("{\"__metadata__\":{},\"__metadata__\":{}}", 0, {"twice"});
  refused("{\"a", 0, {"inside a string"});
  refused("{\"a\\", 0, {"inside a string"});
  refused("{\"\\q\":1}", 0, {"escape"});
  refused("{\"\\ud800\":1}", 0, {"surrogate"});
  refused("{\"\\udc00\":1}", 0, {"surrogate"});
  refused("{\"\\u12g4\":1}", 0, {"hexadecimal"});
  refused("{\"\xFF\":1}", 0, {"UTF-8"});
  refused("{\"\\ud800\\u0041\":1}", 0, {"surrogate"});
  refused("{\"\\ud800\\ue000\":1}", 0, {"surrogate"});
  refused("{\"\\ud800\\", 0, {"surrogate"});
  refused("{\"\\ud800x\":1}", 0, {"surrogate"});
  refused("{\"\\ud800\\n\":1}", 0, {"surrogate"});
  refused("{\"\\u12", 0, {"hexadecimal"});
  refused("{\"\xC0\x80\":1}", 0, {"UTF-8"});
  refused("{\"\xE0\x9F\xBF\":1}", 0, {"UTF-8"});      // overlong
  refused("{\"\xF0\x8F\xBF\xBF\":1}", 0, {"UTF-8"});  // overlong
  refused("{\"\xF4\x90\x80\x80\":1}", 0, {"UTF-8"});  // beyond U+10FFFF
  refused("{\"\xF5\x80\x80\x80\":1}", 0, {"UTF-8"});
  refused("{\"\xC3(\":1}", 0, {"UTF-8"});
  refused("{\"\xE2\x82", 0, {"UTF-8"});  // the header ends within it
  refused("{\"\xED\xA0\x80\":1}", 0, {"UTF-8"});
  refused("{\"\t\":1}", 0, {"control"});
  refused("{} x", 0, {"blanks"});
  refused("{},", 0, {"blanks"});
  refused("", 0, {"'{'"});
  refused("[]", 0, {"'{'"});
  refused(std::string(100'000, '{'), 0, {"expected '\"'"});
}

TEST_CASE("safetensors: hostile lengths and every truncation") {
  const auto parse = [](const std::vector<uint8_t>& b) { parse_safetensors(b, "t.safetensors"); };
  check_error(ErrorKind::data, {"t.safetensors", "offset 0", "header length"}, [&] {
    parse({1, 2, 3});
  });
  std::vector<uint8_t> huge(16, 0xFF);
  check_error(ErrorKind::data, {"offset 0", "100000000", "18446744073709551615"},
              [&] { parse(huge); });
  huge.assign({0, 0, 1, 0, 0, 0, 0, 0, '{', '}'});
  check_error(ErrorKind::data, {"offset 8", "65536 bytes", "2 bytes are left"},
              [&] { parse(huge); });
  SafetensorsFile file;
  file.tensors.emplace_back("a", Tensor::from(std::vector<float>{1, 2, 3}, {3}));
  const auto good = serialize_safetensors(file);
  for (size_t n = 0; n < good.size(); ++n) {
    check_error(ErrorKind::data, {"t.safetensors", "offset"}, [&] {
      parse({good.begin(), good.begin() + static_cast<ptrdiff_t>(n)});
    });
  }
}

TEST_CASE("safetensors: the writer refuses what the reader would") {
  SafetensorsFile file;
  const Tensor t = Tensor::zeros({1}, DType::f32);
  file.tensors = {{"a", t}, {"a", t}};
  check_error(ErrorKind::usage, {"\"a\"", "twice"}, [&] { serialize_safetensors(file); });
  file.tensors = {{"__metadata__", t}};
  check_error(ErrorKind::usage, {"reserved"}, [&] { serialize_safetensors(file); });
  file.tensors = {};
  file.metadata["k"] = std::string(100'000'000, 'x');
  check_error(ErrorKind::usage, {"the header has 100000", "at most 100000000"},
              [&] { serialize_safetensors(file); });
  file.metadata = {};
  file.tensors = {{"u", Tensor()}};
  check_error(ErrorKind::usage, {"\"u\""}, [&] { serialize_safetensors(file); });
}
