// bench compare: rows that two results share, their ratio, and when a ratio is a difference.
#include "basin/tools/bench/compare.h"

#include "basin/tests/tools/helpers.h"

namespace basin::tools {
namespace {

Record result(const char* cpu) { return Record().add("cpu", cpu).add("time", cpu); }
void add(Record& record, const std::string& name, double least, double median, double most) {
  record.add(name + ".median_ms", median).add(name + ".min_ms", least).add(name + ".max_ms", most);
}
RecordFields fields(const Record& record) { return parse_record(record.line(), "test"); }

}  // namespace

TEST_CASE("bench compare: shared rows, ranges, machines, and what only one has") {
  Record a = result("old"), b = result("new");
  add(a, "knn.d3.t1", 9, 10, 11);
  add(b, "knn.d3.t1", 4, 5, 6);
  add(a, "egnn.adam.t2", 90, 100, 130);
  add(b, "egnn.adam.t2", 95, 125, 140);
  add(a, "gine.adam.t1", 1, 1, 1);
  const std::string text = bench_comparison(fields(a), fields(b), "a.json", "b.json");
  CHECK(contains(text, "- cpu: old / new\n"));
  CHECK_FALSE(contains(text, "- time"));
  CHECK(contains(text, "| knn.d3.t1 | 10.000 | 5.000 | 2.00 | yes |"));
  CHECK(contains(text, "| egnn.adam.t2 | 100.000 | 125.000 | 0.80 | no |"));
  CHECK(contains(text, "over 2 measurements: 1.265"));  // sqrt(2 x 0.8)
  CHECK(contains(text, "only in a.json: gine.adam.t1"));
  CHECK_FALSE(contains(text, "only in b.json"));
}

TEST_CASE("bench compare: two results without a common measurement") {
  Record a = result("x"), b = result("x");
  add(a, "knn.d3.t1", 9, 10, 11);
  add(b, "knn.d64.t1", 9, 10, 11);
  const auto [kind, sentence] =
      test::error_of([&] { bench_comparison(fields(a), fields(b), "a.json", "b.json"); });
  CHECK(kind == ErrorKind::data);
  CHECK(sentence == "bench compare: a.json and b.json have no measurement in common");
}

}  // namespace basin::tools
