// Rows of cells joined by commas, their number checked against the columns.
#include "basin/analysis/csv_table.h"

#include "basin/core/error.h"

namespace basin {

CsvTable::CsvTable(std::initializer_list<std::string_view> columns) : columns_(columns.size()) {
  for (const std::string_view c : columns) {
    text_ += str(text_.empty() ? "" : ",", CsvCell(c).text());
  }
  text_ += '\n';
}

void CsvTable::row(const std::vector<CsvCell>& cells) {
  check(cells.size() == columns_, "csv: expects ", columns_, " cells in a row, given ",
        cells.size());
  for (size_t i = 0; i < cells.size(); ++i) text_ += str(i == 0 ? "" : ",", cells[i].text());
  text_ += '\n';
}

}  // namespace basin
