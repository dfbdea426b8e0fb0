#include "basin/core/text.h"

#include <doctest/doctest.h>

using namespace basin;

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
