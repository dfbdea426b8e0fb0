// What tables, captions and verdicts of the parts share: one definition of a table serves the page,
// the terminal and the CSV.
#pragma once
#include <initializer_list>
#include <string>
#include <vector>

#include "basin/analysis/csv_table.h"
#include "basin/figures/report.h"
#include "basin/tools/landscape_probe/loaded.h"

namespace basin::tools {

struct NamedTable {
  std::string name;  // stem of the CSV
  ReportTable page;  // rounded for readers
  std::string csv;   // full precision
};

std::string text_table(const ReportTable& table);  // columns aligned, for the terminal

// Which of `count` columns hold numbers.
std::vector<bool> columns_of(size_t count, std::initializer_list<size_t> numeric);
std::string interval_text(const Estimate& e);  // "4.75 [4.1, 5.4]"
std::string share_text(double share);          // "12.5 %"
std::string metric_value_text(const Metric& metric, double value);
// value, standard error, low, high, level, samples, method.
void add_estimate(std::vector<CsvCell>& cells, const Estimate& e);

Estimate scaled_estimate(Estimate e, double by);

// Runs, seeds and command of figures about these probes.
FigureConditions conditions_of(const std::vector<LoadedProbe>& probes, const std::string& command);

}  // namespace basin::tools
