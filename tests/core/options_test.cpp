// Options: every typed access with its error sentences, the place that sentences name, --help.
#include "basin/core/options.h"

#include <doctest/doctest.h>

using namespace basin;

namespace {

const std::vector<OptionInfo> kDeclared = {
    {"rate", "0.5", "a share", OptionKind::number},
    {"count", "3", "how many", OptionKind::integer},
    {"quiet", "false", "says nothing", OptionKind::flag},
    {"widths", "4,5", "two sizes"},
    {"colour", "red", "red or green"},
};

OptionReader reader(const OptionValues& given) { return {"model mine", kDeclared, given}; }

template <class Read>
std::string refusal(Read&& read, ErrorKind kind = ErrorKind::usage) {
  try {
    read();
  } catch (const Error& e) {
    CHECK(e.kind() == kind);
    return e.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("options: defaults and given values in every type") {
  const OptionReader plain = reader({});
  CHECK(plain.number("rate") == 0.5);
  CHECK(plain.number_in("rate", 0, 0.5) == 0.5);
  CHECK(plain.integer_in("count", 3, 3) == 3);
  CHECK_FALSE(plain.flag("quiet"));
  CHECK(plain.sizes("widths", 2) == std::vector<int64_t>{4, 5});
  CHECK(plain.choice("colour", {"green", "red"}) == 1);
  CHECK(plain.values().size() == kDeclared.size());
  const OptionReader given = reader({{"widths", "1048576"}, {"quiet", "on"}, {"rate", "-1e-3"}});
  CHECK(given.sizes("widths", 1) == std::vector<int64_t>{1048576});
  CHECK(given.flag("quiet"));
  CHECK(given.number("rate") == -1e-3);
  CHECK(given.text("colour") == "red");
  for (const char* yes : {"true", "on", "1"}) CHECK(reader({{"quiet", yes}}).flag("quiet"));
  for (const char* no : {"false", "off", "0"}) CHECK_FALSE(reader({{"quiet", no}}).flag("quiet"));
}

TEST_CASE("options: error sentences name owner, option, value and expectation") {
  CHECK(refusal([] {
          reader({{"cuont", "1"}});
        }) == "model mine: no option 'cuont'; did you mean 'count'?");
  CHECK(refusal([] {
          reader({{"zzzzzzzz", "1"}});
        }) == "model mine: no option 'zzzzzzzz'; known: rate count quiet widths colour");
  CHECK(refusal([] { reader({}).text("other"); }, ErrorKind::internal) ==
        "model mine: reads the option 'other' that it does not declare");
  for (const char* bad : {"", "x", "1x", "nan", "inf", "1,5"}) {
    CHECK(refusal([&] {
            reader({{"rate", bad}}).number("rate");
          }) == str("model mine: option 'rate' must be a number, got '", bad, "'"));
  }
  CHECK(refusal([] {
          reader({{"rate", "0.6"}}).number_in("rate", 0, 0.5);
        }) == "model mine: option 'rate' must be from 0 to 0.5, got 0.6");
  for (const char* bad : {"0", "10", "2.5", "two"}) {
    CHECK(refusal([&] {
            reader({{"count", bad}}).integer_in("count", 1, 9);
          }) == str("model mine: option 'count' must be an integer from 1 to 9, got '", bad, "'"));
  }
  CHECK(refusal([] {
          reader({{"quiet", "maybe"}}).flag("quiet");
        }) == "model mine: option 'quiet' must be true or false, got 'maybe'");
  for (const char* bad : {"", "4", "4,5,6", "4,", ",4", "4,0", "4,-1", "4,1048577", "4 5"}) {
    CHECK(refusal([&] {
            reader({{"widths", bad}}).sizes("widths", 2);
          }) ==
          str("model mine: option 'widths' must be 2 positive integers separated by commas, of at "
              "most 1048576, got '",
              bad, "'"));
  }
  CHECK(refusal([] { reader({}).sizes("widths", 1); }) ==
        "model mine: option 'widths' must be a positive integer of at most 1048576, got '4,5'");
  CHECK(refusal([] {
          reader({{"colour", "gren"}}).choice("colour", {"green", "red"});
        }) == "model mine: option 'colour' has no choice 'gren'; did you mean 'green'?");
}

TEST_CASE("options: a program says where its user wrote the value") {
  OptionReader options = reader({{"count", "0"}});
  const auto own = [](const std::string& text) -> int64_t {
    check(text != "0", "expects more than ", text);
    return 7;
  };
  CHECK(refusal([&] { options.parsed("count", own); }) ==
        "model mine: option 'count': expects more than 0");
  CHECK(reader({}).parsed("count", own) == 7);
  options.set_place([](const std::string& name) { return "--" + name; });
  CHECK(refusal([&] { options.integer_in("count", 1, 9); }) ==
        "--count must be an integer from 1 to 9, got '0'");
  CHECK(refusal([&] { options.parsed("count", own); }) == "--count: expects more than 0");
}

TEST_CASE("options: help has a line per option, in columns") {
  CHECK(option_help({{"a", "1", "first"}, {"longer", "x", "second"}}) ==
        "  a=1       first\n  longer=x  second\n");
  CHECK(option_help({}).empty());
}
