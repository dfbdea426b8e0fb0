// The table of targets, atom references, scales.
#include "basin/datasets/qm9_target.h"

#include <algorithm>
#include <cmath>

#include "basin/core/error.h"
#include "basin/core/options.h"
#include "basin/datasets/detail/qm9_atoms.h"

namespace basin {
namespace {

constexpr std::array<int64_t, 5> kElements{1, 6, 7, 8, 9};
struct ReferenceRow {
  std::string_view target;
  std::array<double, kElements.size()> values;  // H, C, N, O, F
};
constexpr std::array<ReferenceRow, 5> kReferences{
    {{"u0", {-0.500273, -37.846772, -54.583861, -75.064579, -99.718730}},
     {"u", {-0.498857, -37.845355, -54.582445, -75.063163, -99.717314}},
     {"h", {-0.497912, -37.844411, -54.581501, -75.062219, -99.716370}},
     {"g", {-0.510927, -37.861317, -54.598897, -75.079532, -99.733544}},
     {"cv", {2.981, 2.981, 2.981, 2.981, 2.981}}}};

// Solves a x = b, a symmetric and not negative, by elimination with diagonal pivots; a row that the
// ones before it determine gets x = 0. a [n, n], b [n].
std::vector<double> solved(std::vector<double> a, std::vector<double> b) {
  constexpr double kSmallest = 1e-9;  // pivot, of the diagonal entry it began as
  const size_t n = b.size();
  std::vector<double> start(n), x(n, 0.0);
  for (size_t i = 0; i < n; ++i) start[i] = a[i * n + i];
  std::vector<size_t> order;
  std::vector<bool> used(n);
  for (size_t round = 0; round < n; ++round) {
    size_t best = n;
    for (size_t i = 0; i < n; ++i) {
      if (!used[i] && (best == n || a[i * n + i] > a[best * n + best])) best = i;
    }
    if (!(a[best * n + best] > kSmallest * start[best])) break;
    used[best] = true;
    order.push_back(best);
    for (size_t i = 0; i < n; ++i) {
      if (used[i]) continue;
      const double share = a[i * n + best] / a[best * n + best];
      for (size_t j = 0; j < n; ++j) a[i * n + j] -= share * a[best * n + j];
      b[i] -= share * b[best];
    }
  }
  for (size_t k = order.size(); k-- > 0;) {
    const size_t row = order[k];
    double rest = b[row];
    for (size_t later = k + 1; later < order.size(); ++later) {
      rest -= a[row * n + order[later]] * x[order[later]];
    }
    x[row] = rest / a[row * n + row];
  }
  return x;
}

std::span<const int64_t> numbers_of(const Qm9Set& set, int64_t row) {
  return std::span(set.z).subspan(static_cast<size_t>(set.offsets[static_cast<size_t>(row)]),
                                  static_cast<size_t>(set.atoms(row)));
}

}  // namespace

const std::array<Qm9Target, 12>& qm9_targets() {
  constexpr double kMilli = 1000;  // meV per eV
  static const std::array<Qm9Target, 12> all = [] {
    std::array<Qm9Target, 12> table{{{"mu", "D", 0, 1, 1.530},
                                     {"alpha", "bohr^3", 0, 1, 8.19},
                                     {"homo", "meV", 0, kMilliHartree, 0.601 * kMilli},
                                     {"lumo", "meV", 0, kMilliHartree, 1.277 * kMilli},
                                     {"gap", "meV", 0, kMilliHartree, 1.293 * kMilli},
                                     {"r2", "bohr^2", 0, 1, 279.8},
                                     {"zpve", "meV", 0, kMilliHartree, 0.905 * kMilli},
                                     {"u0", "meV", 0, kMilliHartree, 10.32 * kMilli, true},
                                     {"u", "meV", 0, kMilliHartree, 10.40 * kMilli, true},
                                     {"h", "meV", 0, kMilliHartree, 10.45 * kMilli, true},
                                     {"g", "meV", 0, kMilliHartree, 9.60 * kMilli, true},
                                     {"cv", "cal/(mol K)", 0, 1, 4.06, true}}};
    for (Qm9Target& t : table) t.property = qm9_property(t.name);
    return table;
  }();
  return all;
}

const Qm9Target& qm9_target(const std::string& name) {
  std::vector<std::string> known;
  for (const Qm9Target& t : qm9_targets()) {
    if (t.name == name) return t;
    known.emplace_back(t.name);
  }
  fail(ErrorKind::usage, "no target of QM9 is called '", name, "'", name_suggestion(name, known));
}

AtomReferences published_references(const Qm9Target& target) {
  AtomReferences out;
  for (const ReferenceRow& row : kReferences) {
    if (row.target != target.name) continue;
    for (size_t i = 0; i < kElements.size(); ++i) out[kElements[i]] = target.factor * row.values[i];
  }
  return out;
}

AtomReferences fitted_references(const Qm9Set& set, const Qm9Target& target) {
  const std::vector<double> values = target_values(set, target);
  std::map<int64_t, size_t> place;
  for (const int64_t z : set.z) place.emplace(z, 0);
  size_t n = 0;
  for (auto& [z, at] : place) at = n++;
  std::vector<double> products(n * n, 0.0), right(n, 0.0), count(n);
  for (int64_t row = 0; row < set.size(); ++row) {
    std::fill(count.begin(), count.end(), 0.0);
    for (const int64_t z : numbers_of(set, row)) count[place.at(z)] += 1;
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j) products[i * n + j] += count[i] * count[j];
      right[i] += count[i] * values[static_cast<size_t>(row)];
    }
  }
  const std::vector<double> x = solved(std::move(products), std::move(right));
  AtomReferences out;
  for (const auto& [z, at] : place) out[z] = x[at];
  return out;
}

double reference_sum(const AtomReferences& references, std::span<const int64_t> z) {
  if (references.empty()) return 0;
  double sum = 0;
  for (const int64_t number : z) {
    const auto found = references.find(number);
    if (found == references.end()) {
      fail(ErrorKind::data, "atom references: there is none for ", element_symbol(number),
           ", which no molecule that they were fitted to holds");
    }
    sum += found->second;
  }
  return sum;
}

std::vector<double> target_values(const Qm9Set& set, const Qm9Target& target) {
  std::vector<double> out;
  out.reserve(static_cast<size_t>(set.size()));
  for (int64_t row = 0; row < set.size(); ++row) {
    const double value = set.property(row, target.property);
    if (!std::isfinite(value)) {
      fail(ErrorKind::data, set.source, ": molecule ", kIdentifier,
           set.ids[static_cast<size_t>(row)], ": expected a value of ", target.name,
           ", found none");
    }
    out.push_back(target.factor * value);
  }
  return out;
}

TargetScale fit_scale(const Qm9Set& train, const Qm9Target& target, AtomReferences references,
                      bool centred, Spread spread) {
  std::vector<double> values = target_values(train, target);
  check(!values.empty(), "fit_scale: expected molecules to fit ", target.name, " to, got none");
  const auto n = static_cast<double>(values.size());
  double sum = 0, absolute = 0, square = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] -= reference_sum(references, numbers_of(train, static_cast<int64_t>(i)));
    sum += values[i];
  }
  const double mean = sum / n;
  for (const double v : values) {
    absolute += std::abs(v - mean);
    square += (v - mean) * (v - mean);
  }
  TargetScale out{centred ? mean : 0, 1, std::move(references)};
  const double found =
      spread == Spread::absolute ? absolute / n : std::sqrt(square / std::max(n - 1, 1.0));
  if (found > 0) out.spread = found;  // else all values are equal
  return out;
}

MaeSummary summarize_mae(std::span<const std::pair<std::string, double>> target_and_mae) {
  MaeSummary out;
  const auto n = static_cast<double>(target_and_mae.size());
  for (const auto& [name, mae] : target_and_mae) {
    const double ratio = mae / qm9_target(name).sigma;
    out.standard += ratio / n;
    out.logarithmic += std::log(ratio) / n;
  }
  return out;
}

}  // namespace basin
