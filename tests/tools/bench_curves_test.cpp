// bench --sweep: which sizes, the exponents of what was measured at them, the figure.
#include "basin/tools/bench/curves.h"

#include <cmath>

#include "basin/tests/tools/helpers.h"

namespace basin::tools {
namespace {

BenchRow row(const std::string& key, double seconds, double bytes) {
  Timing timing;
  timing.median = seconds;
  timing.peak_bytes = bytes;
  return {key, "label of " + key, timing};
}

}  // namespace

TEST_CASE("bench --sweep: sizes and exponents") {
  CHECK(sweep_from("", "--sweep").values.empty());
  const Sweep sweep = sweep_from("points=64,128,256,512", "--sweep");
  CHECK(sweep.variable == "points");
  CHECK(sweep.values == std::vector<int64_t>{64, 128, 256, 512});
  CHECK(at_value({}, sweep, 128).points == 128);
  CHECK(at_value({}, sweep_from("k=4,8", "--sweep"), 8).k == 8);
  CHECK(at_value({}, sweep_from("batch=4,8", "--sweep"), 4).batch == 4);
  CHECK(fitted_exponent({1, 2, 4}, {3, 12, 48}) == doctest::Approx(2).epsilon(1e-14));

  // Time 5 + n^2 and memory 3 n: the exponent is that of the last two sizes. The other rows are
  // missing at one of the sizes.
  std::vector<std::vector<BenchRow>> rows;
  for (const auto value : sweep.values) {
    const auto n = static_cast<double>(value);
    rows.push_back({row("step", 5 + n * n, 3 * n)});
    if (value > 64) rows.back().push_back(row("late", 1, 1));
  }
  rows.front().push_back(row("early", 1, 1));
  const std::vector<Curve> curves = curves_of(sweep, rows);
  REQUIRE(curves.size() == 1);
  CHECK(curves[0].key == "step");
  CHECK(curves[0].seconds[1] == 5 + 128. * 128);
  CHECK(curves[0].time_exponent ==
        doctest::Approx(std::log2((5 + 512. * 512) / (5 + 256. * 256))).epsilon(1e-14));
  CHECK(curves[0].memory_exponent == doctest::Approx(1).epsilon(1e-14));

  const Figure figure = curves_figure("pointnet", sweep, curves, "bench pointnet");
  CHECK(figure.name == "bench-pointnet-points");
  CHECK(contains(figure.svg, "label of step: 2.00, 1.00"));
  CHECK(contains(figure.alt, "memory with 1.00"));
  CHECK(contains(figure.csv, "512"));
}

TEST_CASE("bench --sweep: what is no sweep") {
  for (const char* text :
       {"points", "width=1,2", "points=4", "points=8,4", "points=0,4", "k=a,b"}) {
    CAPTURE(text);
    CHECK(test::error_of([&] { sweep_from(text, "--sweep"); }).first == ErrorKind::usage);
  }
}

}  // namespace basin::tools
