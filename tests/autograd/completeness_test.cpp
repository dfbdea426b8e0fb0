// Every function that autograd/ops.h declares has a row in the op table, and no row is without an
// op.
#include <doctest/doctest.h>

#include <algorithm>
#include <regex>
#include <set>
#include <string>

#include "basin/core/io.h"
#include "basin/tests/autograd/op_table.h"

using namespace basin;

namespace {

// A declaration starts its line with [inline] type name( ; operators have no such name.
std::set<std::string> declared_functions(std::string text) {
  text = std::regex_replace(text, std::regex("//[^\n]*"), "");
  const std::regex declaration("(^|\n)(inline )?[A-Za-z_][A-Za-z_0-9:<>]* ([a-z_][a-z_0-9]*)\\(");
  std::set<std::string> names;
  for (std::sregex_iterator it(text.begin(), text.end(), declaration), end; it != end; ++it) {
    names.insert((*it)[3]);
  }
  return names;
}

std::string not_in(const std::set<std::string>& names, const std::set<std::string>& list) {
  std::string missing;
  for (const std::string& n : names) {
    if (!list.contains(n)) missing += " " + n;
  }
  return missing;
}

std::set<std::string> rows() {
  std::set<std::string> names;
  for (const table::Row& row : table::op_table()) names.insert(row.name);
  return names;
}

std::set<std::string> ops() {
  return declared_functions(read_text_file(BASIN_SOURCE_DIR "/autograd/ops.h"));
}

}  // namespace

TEST_CASE("completeness: every op of ops.h has a row") {
  const std::set<std::string> declared = ops();
  CHECK(declared.size() >= 71);
  CHECK_MESSAGE(not_in(declared, rows()).empty(), "ops without a row:", not_in(declared, rows()));
  CHECK_MESSAGE(not_in(rows(), declared).empty(), "rows without an op:", not_in(rows(), declared));
  CHECK(rows().size() == table::op_table().size());
}

TEST_CASE("completeness: a missing row is named") {
  const std::set<std::string> declared = ops();
  for (const std::string& victim : declared) {
    std::set<std::string> fewer = declared;
    fewer.erase(victim);
    CHECK(not_in(declared, fewer) == " " + victim);
  }
}

TEST_CASE("completeness: how declarations are read") {
  const std::string text =
      "Tensor neg(const Tensor& x);   // Tensor no(x)\n"
      "inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }\n"
      "BatchNormResult batch_norm(const Tensor& x,\n"
      "                           double eps = f(1));\n"
      "struct Thing {\n  Tensor y;  // [rows]\n};\n"
      "inline Tensor twice(const Tensor& x) { return x + x; }\n";
  CHECK(declared_functions(text) == std::set<std::string>{"neg", "batch_norm", "twice"});
}
