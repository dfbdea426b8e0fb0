#include "basin/tools/bench/compare.h"

#include <cmath>
#include <vector>

#include "basin/core/error.h"
#include "basin/core/text.h"

namespace basin::tools {
namespace {

constexpr std::string_view kMedian = ".median_ms";

// Names of the measurements, as the record has them.
std::vector<std::string> measurements(const RecordFields& record) {
  std::vector<std::string> out;
  for (const auto& [key, value] : record.values()) {
    if (key.ends_with(kMedian)) out.push_back(key.substr(0, key.size() - kMedian.size()));
  }
  return out;
}

// "cpu: X / Y", where the two differ.
std::string machine_difference(const RecordFields& a, const RecordFields& b) {
  std::string out;
  for (const auto& [key, value] : a.values()) {
    if (key == "command" || key == "time" || key.find('.') != key.npos || !b.has(key)) continue;
    if (value != b.text(key)) out += str("- ", key, ": ", value, " / ", b.text(key), "\n");
  }
  return out;
}

std::string only_in(const RecordFields& a, const RecordFields& b, const std::string& name) {
  std::string out;
  for (const std::string& m : measurements(a)) {
    if (!b.has(m + std::string(kMedian))) out += (out.empty() ? "" : ", ") + m;
  }
  return out.empty() ? out : str("\nonly in ", name, ": ", out, "\n");
}

}  // namespace

std::string bench_comparison(const RecordFields& a, const RecordFields& b,
                             const std::string& name_a, const std::string& name_b) {
  std::string rows;
  double logs = 0;
  int64_t count = 0;
  for (const std::string& m : measurements(a)) {
    if (!b.has(m + std::string(kMedian))) continue;
    const double ours = a.number(m + std::string(kMedian)),
                 theirs = b.number(m + std::string(kMedian)), ratio = ours / theirs;
    const bool apart = a.number(m + ".min_ms") > b.number(m + ".max_ms") ||
                       b.number(m + ".min_ms") > a.number(m + ".max_ms");
    rows += str("| ", m, " | ", fixed_text(ours, 3), " | ", fixed_text(theirs, 3), " | ",
                fixed_text(ratio, 2), " | ", apart ? "yes" : "no", " |\n");
    logs += std::log(ratio);
    ++count;
  }
  if (count == 0) {
    fail(ErrorKind::data, "bench compare: ", name_a, " and ", name_b,
         " have no measurement in common");
  }
  return str(machine_difference(a, b), "\n| measurement | A, ms | B, ms | A / B | ranges apart |\n",
             "|---|---|---|---|---|\n", rows, "\nA is ", name_a, ", B is ", name_b,
             "; geometric mean of A / B over ", count,
             count == 1 ? " measurement: " : " measurements: ",
             fixed_text(std::exp(logs / static_cast<double>(count)), 3), "\n",
             only_in(a, b, name_a), only_in(b, a, name_b));
}

}  // namespace basin::tools
