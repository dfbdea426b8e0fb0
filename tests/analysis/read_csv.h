// Reads the CSV beside a figure back into cells (RFC 4180).
#pragma once
#include <doctest/doctest.h>

#include <map>
#include <string>
#include <vector>

namespace basin::testing {

// One map per row: column -> cell.
inline std::vector<std::map<std::string, std::string>> read_csv(const std::string& text) {
  std::vector<std::vector<std::string>> rows{{""}};
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c != '"') {
        rows.back().back() += c;
      } else if (i + 1 < text.size() && text[i + 1] == '"') {
        rows.back().back() += text[++i];
      } else {
        quoted = false;
      }
    } else if (c == '"') {
      quoted = true;
    } else if (c == ',') {
      rows.back().emplace_back();
    } else if (c == '\n') {
      rows.push_back({""});
    } else {
      rows.back().back() += c;
    }
  }
  REQUIRE(!quoted);
  rows.pop_back();
  REQUIRE(rows.size() > 1);
  std::vector<std::map<std::string, std::string>> out;
  for (size_t r = 1; r < rows.size(); ++r) {
    REQUIRE(rows[r].size() == rows[0].size());
    out.emplace_back();
    for (size_t c = 0; c < rows[0].size(); ++c) out.back()[rows[0][c]] = rows[r][c];
  }
  return out;
}

}  // namespace basin::testing
