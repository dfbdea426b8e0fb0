// Flat records: writing, reading back, and every way in which a text is none.
#include "basin/core/record.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <limits>
#include <locale>

#include "basin/tests/core/files.h"

using namespace basin;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::string refusal(std::string_view text) {
  try {
    parse_record(text, "f.json");
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::data);
    return e.what();
  }
  return "accepted";
}

template <class Read>
std::string sentence(Read&& read) {
  try {
    read();
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::data);
    return e.what();
  }
  return "no error";
}

std::string value_of(const std::string& json) {
  return parse_record("{\"a\": " + json + "}", "f.json").text("a");
}

}  // namespace

TEST_CASE("record: 17 digits, NaN as null with a flag, round trip") {
  Record record;
  CHECK(record.empty());
  record.add("third", 1.0 / 3)
      .add("loss", std::nan(""))
      .add("low", -kInfinity)
      .add("big", int64_t{9007199254740993})
      .add("text", "a \"quoted\"\nline \x01")
      .add("yes", true);
  CHECK_FALSE(record.empty());
  CHECK(record.line().find("\"third\": 0.33333333333333331") != std::string::npos);
  CHECK(record.line().find("\"loss\": null, \"loss_non_finite\": \"nan\"") != std::string::npos);
  CHECK(record.line().find('\n') == std::string::npos);
  Record copy;
  copy.append(record);
  CHECK(copy.line() == record.line());
  for (const std::string& text : {record.line(), record.pretty()}) {
    const RecordFields fields = parse_record(text, "x");
    CHECK(fields.number("third") == 1.0 / 3);
    CHECK(std::isnan(fields.number("loss")));
    CHECK(fields.number("low") == -kInfinity);
    CHECK(fields.integer("big") == 9007199254740993);
    CHECK(fields.text("text") == "a \"quoted\"\nline \x01");
    CHECK(fields.flag("yes"));
  }
  for (const double x :
       {0.1, -1e-310, 1e22, 123456789012345678.0, 5e-324, 1.7976931348623157e308}) {
    std::array<char, 40> printed{};
    std::snprintf(printed.data(), printed.size(), "%.17g", x);
    CHECK(number_text(x) == printed.data());
    CHECK(parse_record(Record().add("x", x).line(), "x").number("x") == x);
  }
  CHECK(number_text(std::nan("")) == "nan");
  CHECK(number_text(-kInfinity) == "-inf");
  for (const double x : {0.1, 1e-4, 2.0 / 3, 20000.0, 1e23, -kInfinity}) {
    const std::string text = shortest_text(x);
    double back = 0;
    CHECK(parse_double(text, back));
    CHECK(back == x);
    CHECK(text.size() <= number_text(x).size());
  }
  CHECK(shortest_text(0.1) == "0.1");
  CHECK(shortest_text(1e-4) == "1e-04");
  CHECK(shortest_text(20000) == "20000");
  CHECK(json_string("\"\\\n\t\r\x1f\x7f") == R"("\"\\\n\t\r\u001f\u007f")");
}

TEST_CASE("record: what the fields say when they are asked for another type") {
  const RecordFields fields = parse_record(
      R"({"up": null, "up_non_finite": "inf", "none": null, "no": false, "half": 0.5, "n": 7})",
      "f.json");
  CHECK(fields.number("up") == kInfinity);
  CHECK(std::isnan(fields.number("none")));
  CHECK(!fields.flag("no"));
  CHECK(fields.number("half") == 0.5);
  CHECK(fields.number("n") == 7);
  CHECK(sentence([&] { fields.integer("half"); }) ==
        "f.json: 'half' is expected to be an integer, it is '0.5'");
  CHECK(sentence([&] { fields.flag("n"); }) ==
        "f.json: 'n' is expected to be true or false, it is '7'");
  CHECK(sentence([&] { fields.number("no"); }) ==
        "f.json: 'no' is expected to be a number, it is 'false'");
  CHECK(sentence([&] { fields.text("b"); }) == "f.json: the key 'b' is missing");
}

TEST_CASE("record: numbers in every form of the grammar") {
  CHECK(value_of("0") == "0");
  CHECK(value_of("-0") == "0");
  CHECK(value_of("-0.0") == "-0");
  CHECK(value_of("9223372036854775807") == "9223372036854775807");
  CHECK(value_of("-9223372036854775808") == "-9223372036854775808");
  CHECK(value_of("18446744073709551615") == "18446744073709551615");
  CHECK(value_of("18446744073709551616") == "1.8446744073709552e+19");
  CHECK(value_of("-9223372036854775809") == "-9.2233720368547758e+18");
  CHECK(value_of("0.1") == "0.10000000000000001");
  CHECK(value_of("1e2") == "100");
  CHECK(value_of("1E+2") == "100");
  CHECK(value_of("-25e-1") == "-2.5");
  for (const char* bad : {"01", "-", "-x", "1.", "1.e3", ".5", "1e", "1e+", "+1", "0x1", "1e999",
                          "-1e999", "NaN", "Infinity", "1,5", "--1", "1 2"}) {
    CHECK_MESSAGE(
        refusal(std::string("{\"a\": ") + bad + "}").find("not valid JSON") != std::string::npos,
        bad);
  }
}

TEST_CASE("record: escapes, UTF-8, blanks, and the last of two equal keys") {
  CHECK(value_of(R"("\"\\\/\b\f\n\r\t")") == "\"\\/\b\f\n\r\t");
  CHECK(value_of(R"("A\u00e9\u20AC\ud83d\ude00\u0000")") ==
        std::string("A\u00e9\u20ac\U0001f600\0", 11));
  CHECK(value_of("\"\u00e9\u20ac\U0001f600\x7f\"") == "\u00e9\u20ac\U0001f600\x7f");
  const RecordFields fields =
      parse_record("\r\n\t {\t\"a\" : 1 ,\n\"a\":null,\"a_non_finite\":\"-inf\" } \n", "x");
  CHECK(fields.number("a") == -kInfinity);
  CHECK(parse_record(R"({"a": null, "a": 2, "a_non_finite": "inf"})", "x").number("a") == 2);
  CHECK(parse_record(" {} ", "x").values().empty());
  CHECK(parse_record("\xef\xbb\xbf{\"a\": 7}", "x").integer("a") == 7);
  for (const std::string& bad :
       {std::string("\"\xff\""), std::string("\"\xc0\x80\""), std::string("\"\xed\xa0\x80\""),
        std::string("\"\xf4\x90\x80\x80\""), std::string("\"\xe2\x82\""), std::string("\"\n\""),
        std::string("\"\0\"", 3), std::string(R"("\x41")"), std::string(R"("\u12g4")"),
        std::string(R"("\ud800")"), std::string(R"("\ud800A")"), std::string(R"("\udc00")"),
        std::string("'a'")}) {
    CHECK_MESSAGE(refusal("{\"a\": " + bad + "}").find("not valid JSON") != std::string::npos, bad);
  }
}

TEST_CASE("record: what is no flat object is refused at its place") {
  CHECK(refusal("{\"a\": }") == "f.json: offset 7: not valid JSON");
  CHECK(refusal("") == "f.json: offset 1: not valid JSON");
  CHECK(refusal("{\"a\": tru") == "f.json: offset 10: not valid JSON");
  CHECK(refusal("{\"a\": trux}") == "f.json: offset 10: not valid JSON");
  CHECK(refusal("{\"a\": 1} x") == "f.json: offset 10: not valid JSON");
  CHECK(refusal("\xef\xbb\xbf{\"a\": 1} x") == "f.json: offset 13: not valid JSON");
  for (const char* bad :
       {"{", "{\"a\": 1", "{\"a\": 1,}", "{,}", "{\"a\" 1}", "{a: 1}", "{\"a\": 1 \"b\": 2}",
        "{\"a\": 1}{}", "{\"a\": \"x", "{\"a\": \"x\\", "{\"a\": nul}", "{\"a\": Null}",
        "{\"a\": 1 /* one */}", "\xef\xbb\xbf\xef\xbb\xbf{}", "{}\xef\xbb\xbf", "}", "\x7f",
        "{\"a\": 1}\x7f"}) {
    CHECK_MESSAGE(refusal(bad).find("not valid JSON") != std::string::npos, bad);
  }
  CHECK(refusal(std::string_view("{}\0", 3)) == "f.json: offset 3: not valid JSON");
  for (const char* bad : {"[null, [null], {}]", "[1]", "5", "-1", "\"a\"", "true", "null"}) {
    CHECK_MESSAGE(refusal(bad) == "f.json: expected one JSON object", bad);
  }
  for (const char* bad : {R"({"a": {"b": null}, "c": [null]})", R"({"a": [1]})", R"({"a": {}})"}) {
    CHECK(refusal(bad) == "f.json: 'a' is expected to be one value, it is a list");
  }
  CHECK(refusal("{\"a\": " + std::string(1 << 20, '[')) ==
        "f.json: 'a' is expected to be one value, it is a list");
  CHECK(refusal("{\"a\\nb\": [1]}") == "f.json: 'a?b' is expected to be one value, it is a list");
  CHECK(refusal(R"({"a": null, "a_non_finite": 5})") ==
        "f.json: 'a_non_finite' is expected to be nan, inf or -inf, it is '5'");
}

TEST_CASE("record: the global C++ locale has no say") {
  struct Comma : std::numpunct<char> {
    char do_decimal_point() const override { return ','; }
    char do_thousands_sep() const override { return '.'; }
    std::string do_grouping() const override { return "\3"; }
  };
  const std::locale before = std::locale::global(std::locale(std::locale(), new Comma));
  const std::string line = Record().add("x", 1234.5).add("n", int64_t{1234567}).line();
  const double back = parse_record(line, "x").number("x");
  std::locale::global(before);
  CHECK(line == "{\"x\": 1234.5, \"n\": 1234567}");
  CHECK(back == 1234.5);
}
