// The writer of comma-separated values: see csv.h.
#include "basin/analysis/csv.h"

#include <array>
#include <charconv>
#include <cmath>

#include "basin/core/error.h"

namespace basin {

CsvCell::CsvCell(double value) {
  if (!std::isfinite(value)) {
    text_ = std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
    return;
  }
  std::array<char, 40> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 std::chars_format::general, 17)
                       .ptr;
  text_.assign(buffer.data(), end);
}

CsvCell::CsvCell(std::string_view words) : text_(words) {
  if (words.find_first_of(",\"\r\n") == words.npos) return;
  text_ = "\"";
  for (const char c : words) text_ += c == '"' ? std::string("\"\"") : std::string(1, c);
  text_ += '"';
}

CsvWriter::CsvWriter(std::initializer_list<std::string_view> columns) : columns_(columns.size()) {
  for (const std::string_view c : columns) {
    text_ += str(text_.empty() ? "" : ",", CsvCell(c).text());
  }
  text_ += '\n';
}

void CsvWriter::row(const std::vector<CsvCell>& cells) {
  check(cells.size() == columns_, "csv: expects ", columns_, " cells in a row, given ",
        cells.size());
  for (size_t i = 0; i < cells.size(); ++i) text_ += str(i == 0 ? "" : ",", cells[i].text());
  text_ += '\n';
}

}  // namespace basin
