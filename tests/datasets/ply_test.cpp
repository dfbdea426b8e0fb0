// PLY: ascii and both binary orders, odd types, other elements before and after, hostile headers.
#include "basin/datasets/ply.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "basin/tests/core/files.h"

using namespace basin;
using test::check_error;

namespace {

template <class T>
void put(std::string& out, T value, bool big) {
  auto raw = std::bit_cast<std::array<char, sizeof(T)>>(value);
  if (big) std::reverse(raw.begin(), raw.end());
  out.append(raw.data(), raw.size());
}

// Faces first, then vertices with z before x and a list-free extra, then a camera.
std::string binary_file(bool big) {
  std::string out =
      str("ply\nformat binary_", big ? "big" : "little",
          "_endian 1.0\ncomment c\nobj_info i\nelement face 2\n"
          "property list uchar int vertex_indices\nelement vertex 2\nproperty double z\n"
          "property uchar red\nproperty float x\nproperty short y\n"
          "element camera 1\nproperty float a\nproperty int b\nend_header\n");
  put<uint8_t>(out, 3, big);
  for (int i : {0, 1, 0}) put<int32_t>(out, i, big);
  put<uint8_t>(out, 0, big);
  for (int i : {1, 2}) {
    put<double>(out, 0.5 * i, big), put<uint8_t>(out, 7, big);
    put<float>(out, 2.25f * static_cast<float>(i), big),
        put<int16_t>(out, static_cast<int16_t>(-300 * i), big);
  }
  put<float>(out, 1, big), put<int32_t>(out, 2, big);
  return out;
}

PlyCloud cloud_of(const std::string& text) { return parse_ply(test::bytes_of(text), "t.ply"); }
Tensor parse(const std::string& text) { return cloud_of(text).points; }

void refused(const std::string& text, std::vector<std::string> words) {
  words.insert(words.begin(), "t.ply");
  INFO(text);
  check_error(ErrorKind::data, words, [&] { parse(text); });
}

// Three vertices, of which each has a list and an unused number in front, with every kind of line
// in the header; other elements before and behind.
std::string odd_file(const std::string& format, const std::string& end) {
  std::string text;
  const std::string lines[] = {"ply ",
                               "obj_info a",
                               "comment before the format",
                               "",
                               "format " + format + " 1.0",
                               "element nothing 7",
                               "element face 2",
                               "comment\tc",
                               "property list uchar int v",
                               "element vertex 3",
                               "property list int8 float32 weights",
                               "obj_info b",
                               "property uchar red",
                               "property float nz",
                               "property int32 z",
                               "property float ny",
                               "property short y",
                               "  property float nx",
                               "property\tdouble x",
                               "element edge 1",
                               "property char a",
                               "end_header"};
  for (const std::string& line : lines) text += line + end;
  if (format == "ascii") {
    for (const std::string line :
         {"2 5 6", "", "0", " 2 .5 .25 9 0 10 0.5 -300 1 1e6", "0 9 0 11 0.5 -301 1 1000001",
          "1 7 9 0 12 0.5 -302 1 1000002", "4"}) {
      text += line + end;
    }
    return text;
  }
  const bool big = format == "binary_big_endian";
  put<uint8_t>(text, 2, big), put<int32_t>(text, 10, big), put<int32_t>(text, 13, big);
  put<uint8_t>(text, 0, big);
  for (const int16_t i : {0, 1, 2}) {
    const auto n = static_cast<int8_t>(2 - i);
    put<int8_t>(text, n, big);
    for (int8_t k = 0; k < n; ++k) put<float>(text, 7, big);
    put<uint8_t>(text, 10, big), put<float>(text, 0, big), put<int32_t>(text, 10 + i, big);
    put<float>(text, 0.5f, big), put<int16_t>(text, static_cast<int16_t>(-300 - i), big);
    put<float>(text, 1, big), put<double>(text, 1e6 + i, big);
  }
  put<int8_t>(text, 4, big);
  return text;
}

const std::string kAscii =
    "ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\n"
    "property float y\nproperty float z\n";

}  // namespace

TEST_CASE("ply: binary in both byte orders with other elements around") {
  for (const bool big : {false, true}) {
    const Tensor t = parse(binary_file(big));
    CHECK(t.to_vector<float>() == std::vector<float>{2.25f, -300, 0.5f, 4.5f, -600, 1});
  }
}

TEST_CASE("ply: what one encoding allows, the other does") {
  for (const std::string end : {"\n", "\r\n", "\r"}) {
    for (const std::string mark : {"", "\xEF\xBB\xBF"}) {
      for (const std::string format : {"ascii", "binary_little_endian", "binary_big_endian"}) {
        INFO(format, " ", end.size(), " ", mark.size());
        const std::string text = mark + odd_file(format, end);
        for (const std::string behind : {"", "\n", "\r\n\r\n", "left over"}) {
          const PlyCloud cloud = cloud_of(text + behind);
          CHECK(cloud.points.to_vector<double>() ==
                std::vector<double>{1e6, -300, 10, 1000001, -301, 11, 1000002, -302, 12});
          CHECK(cloud.normals.to_vector<double>() ==
                std::vector<double>{1, 0.5, 0, 1, 0.5, 0, 1, 0.5, 0});
        }
        // What is announced must be there, behind the vertices too.
        const size_t last = format == "ascii" ? end.size() + 1 : 1;
        refused(text.substr(0, text.size() - last), {"element edge"});
      }
    }
  }
}

TEST_CASE("ply: a header of carriage returns before a line feed that is data") {
  std::string text =
      "ply\rformat binary_little_endian 1.0\relement vertex 1\rproperty uchar x\r"
      "property uchar y\rproperty uchar z\rend_header\r";
  CHECK(parse(text + "\n\x02\x03").to_vector<float>() == std::vector<float>{10, 2, 3});
  CHECK(parse(text + "\x01\n\x03").to_vector<float>() == std::vector<float>{1, 10, 3});
}

TEST_CASE("ply: the precision of the file is kept") {
  const auto type = [](const std::string& format, const std::string& x, const std::string& more) {
    std::string text = "ply\nformat " + format + " 1.0\nelement vertex 0\nproperty " + x +
                       " x\nproperty float y\nproperty uchar z\n" + more + "end_header\n";
    const PlyCloud cloud = cloud_of(text);
    CHECK(cloud.points.shape() == Shape{0, 3});
    if (cloud.normals.defined()) CHECK(cloud.normals.dtype() == cloud.points.dtype());
    return cloud.points.dtype();
  };
  const std::string normal = "property float nx\nproperty float ny\nproperty ";
  for (const std::string narrow : {"char", "uint8", "short", "ushort", "float", "float32"}) {
    CHECK(type("binary_little_endian", narrow, "") == DType::f32);
    CHECK(type("binary_big_endian", narrow, normal + "float nz\n") == DType::f32);
    CHECK(type("binary_big_endian", narrow, "property double nx\n") == DType::f32);
    CHECK(type("ascii", narrow, "") == DType::f64);
  }
  for (const std::string wide : {"int", "uint32", "double"}) {
    CHECK(type("binary_little_endian", wide, "") == DType::f64);
  }
  CHECK(type("binary_little_endian", "float", normal + "double nz\n") == DType::f64);
  CHECK(parse(kAscii + "end_header\n4600000.123 2 3\n4 5 1e300\n").at(0) == 4600000.123);
}

TEST_CASE("ply: normals are as they are stored") {
  const std::string header =
      kAscii + "property float nx\nproperty float ny\nproperty float nz\nend_header\n";
  const PlyCloud cloud = cloud_of(header + "1 2 3 0 0 2\n4 5 6 nan -1.#IND 1\n");
  CHECK(cloud.points.to_vector<double>() == std::vector<double>{1, 2, 3, 4, 5, 6});
  CHECK(cloud.normals.at(2) == 2);
  CHECK((std::isnan(cloud.normals.at(3)) && std::isnan(cloud.normals.at(4))));
  CHECK(
      !cloud_of(kAscii + "property float nx\nproperty float ny\nend_header\n1 2 3 0 0\n4 5 6 0 0\n")
           .normals.defined());
}

TEST_CASE("ply: a file of another kind is called by its name") {
  refused("OFF\n8 6 0\n", {"line 1", "the word ply", "this is an OFF mesh"});
  refused("\x1F\x8B\x08", {"this is a gzip file"});
  refused("version https://git-lfs.github.com/spec/v1\n", {"Git LFS"});
}

TEST_CASE("ply: every scalar type, by both of its names") {
  const char* names[][2] = {{"char", "int8"},     {"uchar", "uint8"},   {"short", "int16"},
                            {"ushort", "uint16"}, {"int", "int32"},     {"uint", "uint32"},
                            {"float", "float32"}, {"double", "float64"}};
  for (const bool big : {false, true}) {
    for (int type = 0; type < 8; ++type) {
      for (const char* name : names[type]) {
        INFO(name);
        std::string text = str("ply\nformat binary_", big ? "big" : "little",
                               "_endian 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"
                               "property ",
                               name, " z\nend_header\n");
        put<float>(text, 1, big), put<float>(text, 2, big);
        // The largest value of the type, and -5 where it has a sign.
        const double values[] = {-5, 255, -5, 65535, -5, 4294967295.0, -5, -5};
        switch (type) {
          case 0: put<int8_t>(text, -5, big); break;
          case 1: put<uint8_t>(text, 255, big); break;
          case 2: put<int16_t>(text, -5, big); break;
          case 3: put<uint16_t>(text, 65535, big); break;
          case 4: put<int32_t>(text, -5, big); break;
          case 5: put<uint32_t>(text, 4294967295u, big); break;
          case 6: put<float>(text, -5, big); break;
          default: put<double>(text, -5, big); break;
        }
        CHECK(parse(text).at(2) == values[type]);
      }
    }
  }
}

TEST_CASE("ply: elements without a use") {
  // Before the vertices: one without properties, whatever its count, and one of two lines.
  const std::string header =
      "element nothing 1000000\nelement face 2\nproperty list uchar int v\n"
      "element vertex 1\nproperty float x\nproperty float y\n"
      "property float z\nend_header\n";
  CHECK(parse("ply\nformat ascii 1.0\n\n" + header + "1 0\n0\n7 8 9\n").to_vector<float>() ==
        std::vector<float>{7, 8, 9});
  std::string binary = "ply\nformat binary_little_endian 1.0\n" + header;
  put<uint8_t>(binary, 1, false), put<int32_t>(binary, 0, false), put<uint8_t>(binary, 0, false);
  for (const float v : {7.0f, 8.0f, 9.0f}) put(binary, v, false);
  CHECK(parse(binary).to_vector<float>() == std::vector<float>{7, 8, 9});
}

TEST_CASE("ply: ascii") {
  const Tensor t = parse(kAscii +
                         "property uchar r\r\nelement face 1\nproperty list uchar int v\n"
                         "end_header\n1 2 3 9\n\n 4\t5 6e0 9\r\n3 0 1 0\n");
  CHECK(t.to_vector<float>() == std::vector<float>{1, 2, 3, 4, 5, 6});
}

TEST_CASE("ply: faults") {
  refused("", {"line 0", "word ply"});
  refused("plx\n", {"line 1", "word ply"});
  refused("ply\nformat ascii 2.0\n", {"line 2", "format"});
  refused("ply\nelement vertex 1\nproperty float x\nend_header\n", {"format line"});
  refused(kAscii, {"end_header"});
  refused(kAscii + "end_header\n1 2 3\n", {"line 8", "ends after 1"});
  refused(kAscii + "end_header\n1 2 3\n4 5\n", {"line 9", "3 numbers", "got 2"});
  refused(kAscii + "end_header\n1 2 3\n4 five 6\n", {"line 9", "'five'"});
  refused(kAscii + "end_header\n1 2 3\n4 nan 6\n", {"line 9", "nan"});
  const std::string list = kAscii + "property list uchar int n\nend_header\n";
  refused(list + "1 2 3 0\n4 5 6 1\n", {"line 10", "5 numbers of vertex 1, got 4"});
  refused(list + "1 2 3 -1\n", {"line 9", "length of a list", "'-1'"});
  refused(list + "1 2 3 9999999999\n", {"line 9", "of vertex 0, got 4"});
  refused(list + "1 2 3 2 1\n", {"line 9", "6 numbers of vertex 0, got 5"});
  refused(list + "1 2 3\n", {"line 9", "of vertex 0, got 3"});
  refused(list + "1 2 3 0 7\n", {"line 9", "4 numbers of vertex 0, got 5"});
  refused("ply\nformat ascii 1.0\nelement vertex -1\n", {"line 3", "count"});
  refused("ply\nformat ascii 1.0\nelement vertex 9999999999999999999999\n", {"line 3"});
  refused(
      "ply\nformat ascii 1.0\nelement vertex 1000000000000\nproperty float x\nproperty float y\n"
      "property float z\nend_header\n0 0 0\n",
      {"1000000000000"});
  refused("ply\nformat ascii 1.0\nproperty float x\n", {"unexpected 'property'"});
  refused("ply\nformat ascii 1.0\nelement vertex 1\nproperty half x\n", {"line 4", "property"});
  refused("ply\nformat ascii 1.0\nelement vertex 1\nproperty list float int x\n", {"line 4"});
  refused(
      "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nend_header\n1 "
      "2\n",
      {"property z"});
  refused("ply\nformat ascii 1.0\nelement face 0\nend_header\n", {"element vertex"});
  refused(kAscii + "format ascii 1.0\n", {"line 7", "unexpected 'format'"});
  refused("ply\nformat ascii\n", {"line 2", "format"});
  refused("ply\nformat ascii 1.0\nelement vertex\n", {"line 3", "element NAME COUNT"});
  refused("ply\nformat ascii 1.0\nelement vertex x\n", {"line 3", "element NAME COUNT"});
  refused("ply\nformat ascii 1.0\nelement vertex 1\nproperty x\n", {"line 4", "property"});
  refused("ply\nformat ascii 1.0\nelement vertex 1\nproperty many int int x\n", {"line 4"});
  refused("ply\nformat ascii 1.0\nelement vertex 1\nproperty list half int x\n", {"line 4"});
  refused("ply\nformat ascii 1.0\nelement vertex 1\nproperty list int half x\n", {"line 4"});
  refused(kAscii.substr(0, kAscii.find("property float z")) +
              "property list uchar float z\nend_header\n",
          {"property z"});
  refused(
      "ply\nformat ascii 1.0\nelement face 2\nproperty list uchar int v\nelement vertex 0\n"
      "property float x\nproperty float y\nproperty float z\nend_header\n1 0\n",
      {"2 entries of element face", "ends after 1"});
  std::string elements = "ply\nformat ascii 1.0\n", properties = elements + "element vertex 1\n";
  for (int i = 0; i < 65; ++i) elements += str("element e", i, " 1\n");
  refused(elements, {"line 67", "element NAME COUNT"});
  for (int i = 0; i < 1025; ++i) properties += str("property float p", i, "\n");
  refused(properties, {"line 1028", "too many properties"});
  refused("ply\ncomment " + std::string(1 << 20, 'x') + "\n", {"line 2", "longer than 1048576"});
  refused(
      "ply\nformat binary_little_endian 1.0\nelement vertex 4611686018427387904\nproperty float x\n"
      "property float y\nproperty float z\nend_header\n",
      {"offset", "4611686018427387904"});
}

TEST_CASE("ply: every truncation of a binary file is a data error") {
  const std::string good = binary_file(false);
  for (size_t n = 0; n < good.size(); ++n) refused(good.substr(0, n), {});
  std::string negative =
      "ply\nformat binary_little_endian 1.0\nelement face 1\nproperty list int int v\n"
      "element vertex 0\nproperty float x\nproperty float y\nproperty float z\nend_header\n";
  put<int32_t>(negative, -1, false);
  refused(negative, {"at least 0"});
  std::string infinite =
      "ply\nformat binary_little_endian 1.0\nelement vertex 1\nproperty float x\n"
      "property float y\nproperty float z\nend_header\n";
  put<float>(infinite, 1, false), put<float>(infinite, INFINITY, false),
      put<float>(infinite, 1, false);
  refused(infinite, {"offset", "vertex 0 is not finite"});
}

TEST_CASE("ply: a real cloud with a camera behind the vertices") {
  const fs::path dir = test::real_data("modelnet40/ply/airplane/train");
  if (dir.empty()) return;
  for (const auto& entry : fs::directory_iterator(dir)) {
    CHECK(read_ply(entry.path()).points.shape() == Shape{1024, 3});
  }
}
