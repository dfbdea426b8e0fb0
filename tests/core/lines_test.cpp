// Lines of every end, byte-order marks, and where a reader of lines stands.
#include "basin/core/lines.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace basin;

namespace {

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> out;
  LineReader lines(text);
  for (std::string_view line; lines.next(line);) {
    out.emplace_back(line);
    CHECK(lines.number() == static_cast<int64_t>(out.size()));
  }
  CHECK(lines.offset() == text.size());
  std::string_view behind = "old";
  CHECK(!lines.next(behind));
  CHECK(behind.empty());
  return out;
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("lines: every end of a line gives the same lines") {
  for (const std::string end : {"\n", "\r\n", "\r"}) {
    INFO(end.size());
    CHECK(lines_of("a b" + end + end + "c" + end) == Lines{"a b", "", "c"});
    CHECK(lines_of("a b" + end + end + "c") == Lines{"a b", "", "c"});
    CHECK(lines_of(end) == Lines{""});
    CHECK(lines_of("\xEF\xBB\xBF" + end + "x") == Lines{"", "x"});
  }
  CHECK(lines_of("a\rb\nc\r\nd\n\re") == Lines{"a", "b", "c", "d", "", "e"});
  CHECK(lines_of("a\r\r\nb") == Lines{"a", "", "b"});
  CHECK(lines_of("") == Lines{});
  CHECK(lines_of("\xEF\xBB\xBF") == Lines{});
}

TEST_CASE("lines: offsets count the mark and the ends") {
  LineReader lines(
      "\xEF\xBB\xBF"
      "ab\r\nc\rd");
  std::string_view line;
  CHECK(lines.offset() == 3);
  for (const size_t offset : {7, 9, 10}) {
    REQUIRE(lines.next(line));
    CHECK(lines.offset() == offset);
  }
}

TEST_CASE("lines: a mark is passed over once, and only in front") {
  CHECK(without_byte_order_mark("\xEF\xBB\xBFx") == "x");
  CHECK(without_byte_order_mark("\xEF\xBB\xBF\xEF\xBB\xBFx") == "\xEF\xBB\xBFx");
  CHECK(without_byte_order_mark("\xEF\xBBx") == "\xEF\xBBx");
  CHECK(without_byte_order_mark("x\xEF\xBB\xBF") == "x\xEF\xBB\xBF");
  CHECK(without_byte_order_mark("") == "");
}

TEST_CASE("lines: a long text of carriage returns alone is read in time") {
  std::string text;
  for (int i = 0; i < 2'000'000; ++i) text += "1\r";
  LineReader lines(text);
  int64_t sum = 0;
  for (std::string_view line; lines.next(line);) sum += line[0] - '0';
  CHECK(sum == 2'000'000);
}

TEST_CASE("split: n separators make n + 1 pieces; a comma list without text is empty") {
  using Views = std::vector<std::string_view>;
  using Strings = std::vector<std::string>;
  CHECK(split("a:bc:d", ':') == Views{"a", "bc", "d"});
  CHECK(split(":a:", ':') == Views{"", "a", ""});
  CHECK(split("", ',') == Views{""});
  CHECK(comma_list("a, b,,c") == Strings{"a", " b", "", "c"});
  CHECK(comma_list("a,") == Strings{"a", ""});
  CHECK(comma_list("") == Strings{});
}
