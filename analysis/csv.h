// Comma-separated values (RFC 4180) beside every figure: the numbers as they were computed, with 17
// significant digits and a point whatever the locale, so that reading them back gives the same
// doubles. What is not a number is written nan, inf or -inf.
#pragma once
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace basin {

// One cell; a text is quoted where it must be.
class CsvCell {
 public:
  CsvCell(double value);
  CsvCell(int64_t value) : text_(std::to_string(value)) {}
  CsvCell(int value) : text_(std::to_string(value)) {}
  CsvCell(std::string_view words);
  CsvCell(const std::string& words) : CsvCell(std::string_view(words)) {}
  CsvCell(const char* words) : CsvCell(std::string_view(words)) {}
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

class CsvWriter {
 public:
  explicit CsvWriter(std::initializer_list<std::string_view> columns);
  void row(const std::vector<CsvCell>& cells);  // usage error unless one cell per column
  const std::string& text() const { return text_; }

 private:
  size_t columns_;
  std::string text_;
};

}  // namespace basin
