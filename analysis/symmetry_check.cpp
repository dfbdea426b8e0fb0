// Measures before and after a symmetry, and the table of what moved.
#include "basin/analysis/symmetry_check.h"

#include <algorithm>
#include <cmath>
#include <iomanip>

#include "basin/core/error.h"

namespace basin {
namespace {

double relative_change(double before, double after) {
  const double size = std::max(std::abs(before), std::abs(after));
  return size == 0 ? 0 : (after - before) / size;
}

void check_symmetry(const Symmetry& s, const std::function<double(const ParamList&)>& loss,
                    const SymmetryTestOptions& options) {
  check(s.before.size() == s.after.size(), "symmetry '", s.name, "': ", s.before.size(),
        " parameters before and ", s.after.size(), " after");
  for (size_t i = 0; i < s.before.size(); ++i) {
    const Param &a = s.before[i], &b = s.after[i];
    check(a.name == b.name && a.value.shape() == b.value.shape(), "symmetry '", s.name,
          "': parameter ", i, " is '", a.name, "' ", a.value.shape(), " before and '", b.name, "' ",
          b.value.shape(), " after");
  }
  const double before = loss(s.before), after = loss(s.after);
  check(std::abs(relative_change(before, after)) <= options.loss_tolerance, "symmetry '", s.name,
        "' is none: the loss is ", before, " before and ", after, " after it");
}

SymmetryCell compare(const Measure& measure, const Symmetry& s,
                     const SymmetryTestOptions& options) {
  SymmetryCell cell{.before = measure.value(s.before), .after = measure.value(s.after)};
  const double a = cell.before.value, b = cell.after.value;
  if (!std::isfinite(a) || !std::isfinite(b)) {
    fail(ErrorKind::numerical, "symmetry_self_test: '", measure.name, "' is ", a, " before and ", b,
         " after '", s.name, "'");
  }
  cell.change = relative_change(a, b);
  const double error = std::hypot(cell.before.standard_error, cell.after.standard_error);
  cell.moved = std::abs(cell.change) > options.tolerance &&
               !(std::isfinite(error) && std::abs(b - a) <= 4 * error);
  return cell;
}

}  // namespace

Estimate exact_estimate(double value) {
  Estimate e;
  e.value = value;
  e.standard_error = 0;
  e.interval = {value, value, e.interval.level};
  e.method = "exact";
  return e;
}

SymmetryTable symmetry_self_test(const std::vector<Symmetry>& symmetries,
                                 const std::vector<Measure>& measures,
                                 const std::function<double(const ParamList&)>& loss,
                                 const SymmetryTestOptions& options) {
  SymmetryTable table;
  for (const Symmetry& s : symmetries) {
    check_symmetry(s, loss, options);
    table.symmetries.push_back(s.name);
  }
  for (const Measure& m : measures) {
    table.measures.push_back(m.name);
    for (const Symmetry& s : symmetries) table.cells.push_back(compare(m, s, options));
  }
  return table;
}

std::string SymmetryTable::text() const {
  size_t first = 7;  // "measure"
  for (const std::string& m : measures) first = std::max(first, m.size());
  TextWriter out;
  auto width = [&](size_t s) {
    return static_cast<int>(std::max<size_t>(symmetries[s].size(), 9));
  };
  out << std::left << std::setw(static_cast<int>(first)) << "measure";
  for (size_t s = 0; s < symmetries.size(); ++s) {
    out << "  " << std::right << std::setw(width(s)) << symmetries[s];
  }
  out << '\n';
  for (size_t m = 0; m < measures.size(); ++m) {
    out << std::left << std::setw(static_cast<int>(first)) << measures[m];
    for (size_t s = 0; s < symmetries.size(); ++s) {
      const SymmetryCell& cell = at(m, s);
      TextWriter word;
      if (cell.moved) {
        word << std::showpos << std::setprecision(3) << 100 * cell.change << " %";
      } else {
        word << "same";
      }
      out << "  " << std::right << std::setw(width(s)) << word.str();
    }
    out << '\n';
  }
  return out.str();
}

}  // namespace basin
