// Do 95 % intervals of the trace hold the truth in 95 % of all seeds? 10,000 seeded replications a
// row, binomial standard error 0.22 %, so that 94 to 96 % is more than four of them wide. Every row
// is printed.
#include <doctest/doctest.h>

#include <cstdio>
#include <functional>

#include "basin/analysis/statistics.h"
#include "basin/analysis/trace.h"
#include "known_spectra.h"

using namespace basin;
using namespace basin::known;

namespace {

constexpr int64_t kSize = 100;

struct Row {
  const char* estimator;
  const char* spectrum;
  std::function<TraceResult(const SymmetricOperator&, const TraceOptions&)> estimate;
  std::vector<double> eigenvalues;
  TraceOptions options;
};

struct Covered {
  double share = 0, width = 0, products = 0, naive = 0, reached = 0;
};

Covered coverage(const Row& row, int replications) {
  const auto a = operator_of(row.eigenvalues);
  const double truth = sum_of(row.eigenvalues);
  Covered c;
  for (int rep = 0; rep < replications; ++rep) {
    TraceOptions options = row.options;
    options.seed = static_cast<uint64_t>(rep) + 1;
    const TraceResult r = row.estimate(*a, options);
    c.share += r.estimate.interval.contains(truth);
    c.width += r.estimate.interval.high - r.estimate.interval.low;
    c.products += static_cast<double>(r.products);
    c.naive += mean_estimate(r.samples).interval.contains(truth);
    c.reached += r.reached;
  }
  const double each = 1.0 / replications;
  return {c.share * each, c.width * each, c.products * each, c.naive * each, c.reached * each};
}

void check_rows(const std::vector<Row>& rows, double low, double high) {
  std::printf("%-11s %-12s %9s %9s %9s %9s %9s\n", "estimator", "spectrum", "products", "coverage",
              "plain t", "width/tr", "reached");
  for (const Row& row : rows) {
    const Covered c = coverage(row, 10'000);
    std::printf("%-11s %-12s %9.1f %7.2f %% %7.2f %% %9.2g %7.1f %%\n", row.estimator, row.spectrum,
                c.products, 100 * c.share, 100 * c.naive,
                c.width / std::abs(sum_of(row.eigenvalues)), 100 * c.reached);
    std::fflush(stdout);
    INFO(row.estimator, " on ", row.spectrum);
    CHECK(c.share >= low);
    CHECK(c.share <= high);
  }
}

std::vector<Row> rows_of(const char* name, decltype(Row::estimate) estimate, TraceOptions options) {
  return {{name, "flat", estimate, even(kSize, 1, 3), options},
          {name, "indefinite", estimate, even(kSize, -1, 2), options},
          {name, "clustered", estimate, clustered(kSize), options},
          {name, "1/i", estimate, power_law(kSize, 1), options},
          {name, "outliers", estimate, outliers(kSize), options},
          {name, "one of 100", estimate, one_dominant(kSize), options}};
}

std::vector<Row> rows_to(const char* name, decltype(Row::estimate) estimate, int64_t products,
                         const std::vector<double>& relative) {
  std::vector<Row> rows = rows_of(name, std::move(estimate), {.products = products});
  rows.resize(relative.size());
  for (size_t i = 0; i < rows.size(); ++i) rows[i].options.relative = relative[i];
  return rows;
}

}  // namespace

TEST_CASE("trace coverage: Hutchinson, fixed number of probes") {
  check_rows(rows_of("hutchinson", hutchinson_trace, {.products = 60}), 0.94, 0.96);
}

TEST_CASE("trace coverage: Hutch++, fixed number of products") {
  check_rows(rows_of("hutch++", hutch_plus_plus_trace, {.products = 60}), 0.94, 0.96);
}

TEST_CASE("trace coverage: XTrace, fixed number of products, spread spectra") {
  std::vector<Row> rows = rows_of("xtrace", xtrace, {.products = 60});
  rows.resize(3);
  check_rows(rows, 0.94, 0.96);
}

TEST_CASE("trace coverage: XTrace, fixed number of products, decaying spectra") {
  std::vector<Row> rows = rows_of("xtrace", xtrace, {.products = 60});
  rows.erase(rows.begin(), rows.begin() + 3);
  check_rows(rows, 0.94, 0.96);
}

TEST_CASE("trace coverage: Hutchinson to a relative precision") {
  check_rows(rows_to("hutchinson", hutchinson_trace, 400, {0.02, 0.1, 0.08, 0.1, 0.2}), 0.94, 0.96);
}

TEST_CASE("trace coverage: Hutch++ to a relative precision") {
  check_rows(rows_to("hutch++", hutch_plus_plus_trace, 150, {0.03, 0.08, 0.06, 0.02, 0.02}), 0.94,
             0.96);
}

TEST_CASE("trace coverage: XTrace to a relative precision, spread spectra") {
  check_rows(rows_to("xtrace", xtrace, 150, {0.03, 0.15, 0.12}), 0.94, 0.96);
}

TEST_CASE("trace coverage: XTrace to a relative precision, decaying spectra") {
  std::vector<Row> rows = rows_to("xtrace", xtrace, 150, {0, 0, 0, 0.05, 0.05});
  rows.erase(rows.begin(), rows.begin() + 3);
  check_rows(rows, 0.94, 0.96);
}
