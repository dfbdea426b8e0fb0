// Row by row: the cheapest augmenting path from the new row to a free column, by Dijkstra's
// algorithm on costs reduced by the dual prices, which stay at least 0.
#include "basin/analysis/assignment.h"

#include <cmath>
#include <limits>

#include "basin/core/error.h"

namespace basin {
namespace {

constexpr int64_t kFree = -1;

class Augmenter {
 public:
  Augmenter(const double* value, int64_t n)
      : value_(value),
        n_(n),
        of_row_(static_cast<size_t>(n), 0),
        of_column_(static_cast<size_t>(n), 0),
        row_of_(static_cast<size_t>(n), kFree) {}

  void add_row(int64_t first) {
    std::vector<double> distance(static_cast<size_t>(n_), std::numeric_limits<double>::infinity());
    std::vector<int64_t> before(static_cast<size_t>(n_), kFree);  // the column before, on the path
    std::vector<bool> done(static_cast<size_t>(n_), false);
    std::vector<int64_t> scanned;
    int64_t row = first, at = kFree;
    double reached = 0;
    do {
      int64_t nearest = kFree;
      for (int64_t j = 0; j < n_; ++j) {
        const auto c = static_cast<size_t>(j);
        if (done[c]) continue;
        const double through = reached + cost(row, j);
        if (through < distance[c]) {
          distance[c] = through;
          before[c] = at;
        }
        if (nearest == kFree || distance[c] < distance[static_cast<size_t>(nearest)]) nearest = j;
      }
      at = nearest;
      reached = distance[static_cast<size_t>(at)];
      done[static_cast<size_t>(at)] = true;
      scanned.push_back(at);
      row = row_of_[static_cast<size_t>(at)];
    } while (row != kFree);
    of_row_[static_cast<size_t>(first)] += reached;
    for (const int64_t j : scanned) {
      const double gain = reached - distance[static_cast<size_t>(j)];
      of_column_[static_cast<size_t>(j)] -= gain;
      const int64_t owner = row_of_[static_cast<size_t>(j)];
      if (owner != kFree) of_row_[static_cast<size_t>(owner)] += gain;
    }
    while (at != kFree) {
      const int64_t previous = before[static_cast<size_t>(at)];
      row_of_[static_cast<size_t>(at)] =
          previous == kFree ? first : row_of_[static_cast<size_t>(previous)];
      at = previous;
    }
  }

  const std::vector<int64_t>& row_of_column() const { return row_of_; }

 private:
  double cost(int64_t row, int64_t column) const {
    return -value_[row * n_ + column] - of_row_[static_cast<size_t>(row)] -
           of_column_[static_cast<size_t>(column)];
  }

  const double* value_;
  int64_t n_;
  std::vector<double> of_row_, of_column_;  // dual prices
  std::vector<int64_t> row_of_;             // of each column, or kFree
};

}  // namespace

Assignment best_assignment(const Tensor& value) {
  check(value.dtype() == DType::f64 && value.rank() == 2 && value.size(0) == value.size(1),
        "best_assignment: expects a square matrix f64, given ", name_of(value.dtype()), " ",
        value.shape());
  const int64_t n = value.size(0);
  const double* v = value.data<double>();
  for (int64_t i = 0; i < n * n; ++i) {
    if (std::isfinite(v[i])) continue;
    fail(ErrorKind::numerical, "best_assignment: the value of row ", i / n, " and column ", i % n,
         " is ", v[i]);
  }
  Augmenter augmenter(v, n);
  for (int64_t row = 0; row < n; ++row) augmenter.add_row(row);
  Assignment out;
  out.column.resize(static_cast<size_t>(n));
  for (int64_t j = 0; j < n; ++j) {
    out.column[static_cast<size_t>(augmenter.row_of_column()[static_cast<size_t>(j)])] = j;
  }
  for (int64_t i = 0; i < n; ++i) out.total += v[i * n + out.column[static_cast<size_t>(i)]];
  return out;
}

}  // namespace basin
