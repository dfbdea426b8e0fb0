// Tables of comma-separated values beside figures: named columns, rows of numbers and texts, every
// number with all the digits that it takes to read it back to the same bits (csv.h).
#pragma once
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "basin/analysis/csv.h"
#include "basin/core/error.h"

namespace basin {

class CsvCell {
 public:
  CsvCell(double value) : text_(csv_number(value)) {}
  CsvCell(int64_t value) : text_(str(value)) {}
  CsvCell(int value) : text_(str(value)) {}
  CsvCell(std::string_view words) : text_(csv_text(words)) {}
  CsvCell(const std::string& words) : CsvCell(std::string_view(words)) {}
  CsvCell(const char* words) : CsvCell(std::string_view(words)) {}
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

class CsvTable {
 public:
  explicit CsvTable(std::initializer_list<std::string_view> columns);
  void row(const std::vector<CsvCell>& cells);  // usage error unless one cell per column
  const std::string& text() const { return text_; }

 private:
  size_t columns_;
  std::string text_;
};

}  // namespace basin
