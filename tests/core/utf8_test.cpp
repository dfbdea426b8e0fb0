// Bytes as UTF-8 and back, and the records that carry them.
#include "basin/core/utf8.h"

#include <doctest/doctest.h>

#include "basin/core/random.h"
#include "basin/core/record.h"
#include "basin/core/safetensors.h"
#include "basin/tests/core/files.h"

using namespace basin;

namespace {

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace

TEST_CASE("utf8: what is UTF-8 stays as it is, every other byte is written out") {
  const std::pair<const char*, const char*> cases[] = {
      {"", ""},
      {"runs/a b", "runs/a b"},
      {"d\xC3\xA9j\xC3\xA0/\xE6\x97\xA5/\xF0\x9F\x99\x82",
       "d\xC3\xA9j\xC3\xA0/\xE6\x97\xA5/\xF0\x9F\x99\x82"},
      {"caf\xE9", "caf\\xE9"},
      {"\xFF\xFE", "\\xFF\\xFE"},
      {"\xC3", "\\xC3"},           // cut short
      {"\xC0\xAF", "\\xC0\\xAF"},  // overlong
      {"\xE0\x80\xAF", "\\xE0\\x80\\xAF"},
      {"\xED\xA0\x80", "\\xED\\xA0\\x80"},  // a surrogate
      {"\xF4\x90\x80\x80", "\\xF4\\x90\\x80\\x80"},
      {"\xC3\xA9\xE9", "\xC3\xA9\\xE9"},
      {"a\\b", "a\\b"},      // a backslash alone
      {"a\\xe9", "a\\xe9"},  // no escape: lower case
      {"a\\xE9", "a\\x5CxE9"},
      {"a\\\xE9", "a\\\\xE9"},
      {"\\x4\xE9", "\\x4\\xE9"},
  };
  for (const auto& [bytes, text] : cases) {
    CHECK(to_utf8(bytes) == text);
    CHECK(from_utf8(text) == bytes);
  }
  CHECK(utf8_length("") == 0);
  CHECK(to_utf8(std::string_view("\0\x01", 2)) == std::string_view("\0\x01", 2));
}

TEST_CASE("utf8: any bytes come back, through the text itself, a record and its file") {
  Rng rng(7, 0);
  constexpr std::string_view kLikely = "\\xE9\"%/\xC3\xA9\xF0\x9F";
  for (int round = 0; round < 3000; ++round) {
    std::string bytes;
    for (int i = 0; i < 12; ++i) {
      const auto pick = static_cast<size_t>(rng.uniform() * 2 * kLikely.size());
      bytes += pick < kLikely.size() ? kLikely[pick]
                                     : static_cast<char>(1 + static_cast<int>(rng.uniform() * 255));
    }
    const std::string text = to_utf8(bytes);
    REQUIRE(is_utf8(text));
    REQUIRE(from_utf8(text) == bytes);
    const std::string line = Record().add("path", std::string_view(bytes)).line();
    REQUIRE(is_utf8(line));
    REQUIRE(parse_record(line, "r").text("path") == bytes);
  }
}

TEST_CASE("utf8: a name of a tensor that other programs read is refused instead") {
  SafetensorsFile file;
  file.tensors.emplace_back("caf\xE9", Tensor::zeros({1}, DType::f32));
  test::check_error(ErrorKind::usage, {"write_safetensors", "is not UTF-8"},
                    [&] { serialize_safetensors(file); });
}
