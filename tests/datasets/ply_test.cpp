// PLY: ascii and both binary orders, odd types, other elements before and after, hostile headers.
#include "basin/datasets/ply.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>

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

Tensor parse(const std::string& text) { return parse_ply(test::bytes_of(text), "t.ply"); }

void refused(const std::string& text, std::vector<std::string> words) {
  words.insert(words.begin(), "t.ply");
  INFO(text);
  check_error(ErrorKind::data, words, [&] { parse(text); });
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
  refused(kAscii + "property list uchar int n\nend_header\n1 2 3 0\n", {"list"});
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
  refused(
      "ply\nformat binary_little_endian 1.0\nelement vertex 4611686018427387904\nproperty float x\n"
      "property float y\nproperty float z\nend_header\n",
      {"offset", "4611686018427387904"});
}

TEST_CASE("ply: every truncation of a binary file and trailing bytes are data errors") {
  const std::string good = binary_file(false);
  for (size_t n = 0; n < good.size(); ++n) refused(good.substr(0, n), {});
  refused(good + "x", {"offset", "1 bytes follow"});
  std::string negative =
      "ply\nformat binary_little_endian 1.0\nelement face 1\nproperty list int int v\n"
      "element vertex 0\nproperty float x\nproperty float y\nproperty float z\nend_header\n";
  put<int32_t>(negative, -1, false);
  refused(negative, {"at least 0"});
}

TEST_CASE("ply: a real cloud with a camera behind the vertices") {
  const fs::path dir = test::real_data("modelnet40/ply/airplane/train");
  if (dir.empty()) return;
  for (const auto& entry : fs::directory_iterator(dir)) {
    CHECK(read_ply(entry.path()).shape() == Shape{1024, 3});
  }
}
