// Cells, captions and conditions.
#include "basin/tools/landscape_probe/tables.h"

#include <algorithm>
#include <cmath>

#include "basin/tools/shell/report.h"

namespace basin::tools {

std::string text_table(const ReportTable& table) {
  std::vector<std::vector<std::string>> rows{table.columns};
  for (const auto& row : table.rows) {
    rows.emplace_back();
    for (const ReportCell& cell : row) rows.back().push_back(cell.text);
  }
  return format_table(rows);
}

std::vector<bool> columns_of(size_t count, std::initializer_list<size_t> numeric) {
  std::vector<bool> out(count, false);
  for (size_t i : numeric) out[i] = true;
  return out;
}

std::string interval_text(const Estimate& e) {
  if (!std::isfinite(e.interval.low) && !std::isfinite(e.interval.high)) return readable(e.value);
  return str(readable(e.value), " [", readable(e.interval.low), ", ", readable(e.interval.high),
             "]");
}

std::string share_text(double share) { return readable(100 * share) + " %"; }

std::string metric_value_text(const Metric& metric, double value) {
  if (metric.unit == "%") return share_text(value);
  return readable(value) + (metric.unit.empty() ? "" : " " + metric.unit);
}

void add_estimate(std::vector<CsvCell>& cells, const Estimate& e) {
  cells.insert(cells.end(), {e.value, e.standard_error, e.interval.low, e.interval.high,
                             e.interval.level, e.samples, e.method});
}

Estimate scaled_estimate(Estimate e, double by) {
  e.value *= by;
  e.standard_error *= by;
  e.interval.low *= by;
  e.interval.high *= by;
  return e;
}

FigureConditions conditions_of(const std::vector<LoadedProbe>& probes, const std::string& command) {
  FigureConditions out;
  out.runs = 1;
  for (const LoadedProbe& p : probes) {
    if (!p.facts.has("train_seed")) continue;
    const auto seed = static_cast<uint64_t>(p.facts.integer("train_seed"));
    if (std::find(out.seeds.begin(), out.seeds.end(), seed) == out.seeds.end()) {
      out.seeds.push_back(seed);
    }
  }
  out.command = command;
  return out;
}

}  // namespace basin::tools
