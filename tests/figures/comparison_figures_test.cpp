// Figures of optimizers over seeds, of SpecMuon's modes and of learned fields: means and intervals
// against closed forms, what cannot be drawn is a hole, the CSV holds the numbers.
#include <doctest/doctest.h>

#include <cmath>

#include "basin/figures/field_maps.h"
#include "basin/figures/mode_figures.h"
#include "basin/figures/optimizer_figures.h"
#include "basin/tests/analysis/xml.h"
#include "basin/tests/core/errors.h"

namespace basin {
namespace {

using test::error_of;
using testing::parse_xml;

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != text.npos;
}

OptimizerComparison two_optimizers() {
  OptimizerComparison data;
  data.quantities = {{"training loss",
                      true,
                      {{"adam", {{{1, 2}, {0.5, 1}, {1, 0.01}}, {{1, 2}, {1.5, 2}, {1, NAN}}}},
                       {"muon", {{{1, 2}, {1, 2}, {2, 1}}}}}}};
  return data;
}

MatrixModes three_modes() {
  MatrixModes m{"w", {1, 2}, {}, {}, {}, {}};
  m.r = {{1, 2}, {2, 2}, {3, 2}};
  m.r_over_e = m.s = m.scale = m.r;
  return m;
}

FieldMaps ramp() {
  FieldMaps data;
  data.x_name = "x", data.y_name = "t";
  data.x = {0, 1, 2}, data.y = {0, 1};
  data.maps = {{"truth", {0, 1, 2, 3, 4, 5}}, {"|error|", {0, 1, 2, 3, NAN, 5}}};
  data.maps[1].log_colour = true;
  return data;
}

}  // namespace

TEST_CASE("optimizer comparison: arithmetic and geometric t intervals over the drawable runs") {
  const std::vector<double> values{1, 3, NAN};
  const Estimate mean = mean_of_runs(values, false);
  CHECK(mean.value == doctest::Approx(2));
  CHECK(mean.samples == 2);
  // Of two: standard error 1, quantile of one degree of freedom tan(0.475 pi).
  const double t = std::tan(0.475 * 3.14159265358979323846);
  CHECK(mean.interval.high == doctest::Approx(2 + t));
  const std::vector<double> decades{0.1, 10, 0, -1};
  const Estimate geometric = mean_of_runs(decades, true);
  CHECK(geometric.value == doctest::Approx(1));
  CHECK(geometric.samples == 2);
  CHECK(geometric.interval.low == doctest::Approx(std::exp(-t * std::log(10.0))));
  CHECK(mean_of_runs(std::vector<double>{NAN}, true).samples == 0);
  CHECK(std::isnan(mean_of_runs(std::vector<double>{7}, false).interval.low));
}

TEST_CASE("optimizer comparison: steps and seconds, a failed run leaves the mean and is counted") {
  const Figure f = optimizer_comparison_figure(two_optimizers());
  CHECK(f.name == "optimizers");
  CHECK(f.holes == 1);
  CHECK_NOTHROW(parse_xml(f.svg));
  CHECK(holds(f.csv, "training loss,adam,geometric mean,1,1,1,1,1,2"));  // at 0.5 s and 1.5 s
  CHECK(holds(f.csv, "training loss,adam,geometric mean,2,1,0.01,nan,nan,1"));
  CHECK(holds(f.csv, "training loss,adam,run 2,2,2,nan,,,"));
  CHECK(holds(f.caption, "geometric on logarithmic axes"));
  OptimizerComparison wrong = two_optimizers();
  wrong.quantities[0].optimizers[1].runs[0].seconds.pop_back();
  CHECK(holds(error_of([&] { optimizer_comparison_figure(wrong); }).second,
              "a run of training loss, muon has 2 values and 1 times for 2 steps"));
  CHECK(error_of([] { optimizer_comparison_figure({}); }).first == ErrorKind::usage);
}

TEST_CASE("modes: the spread is the range over the mean, and a line per mode and matrix") {
  const MatrixModes m = three_modes();
  CHECK(mode_spread(m.r, 2) == std::vector<double>{1, 0});
  CHECK(std::isnan(mode_spread({{1.0}}, 1)[0]));  // one mode has nothing to differ from
  const Figure modes = modes_figure({"specmuon", {m}, {}});
  CHECK_NOTHROW(parse_xml(modes.svg));
  CHECK(holds(modes.csv, "w,1,3,3,3,3,3\n"));
  const Figure spread = mode_spread_figure({{{"squared", {m}}}, {}});
  CHECK_NOTHROW(parse_xml(spread.svg));
  CHECK(spread.csv == "run,matrix,step,r_spread,scale_spread\nsquared,w,1,1,1\nsquared,w,2,0,0\n");
  MatrixModes wrong = m;
  wrong.s[1].pop_back();
  CHECK(holds(error_of([&] {
                modes_figure({"specmuon", {wrong}, {}});
              }).second,
              "modes: w has a curve of 1 values for 2 steps"));
  CHECK(error_of([] { mode_spread_figure({}); }).first == ErrorKind::usage);
}

TEST_CASE("field maps: cells of the grid, a colour bar each, holes hatched and counted") {
  const Figure f = field_maps_figure(ramp());
  CHECK_NOTHROW(parse_xml(f.svg));
  CHECK(f.holes == 2);  // the zero and the NaN of the logarithmic map
  CHECK(holds(f.csv, "x,t,truth,|error|\n0,0,0,0\n"));
  CHECK(holds(f.csv, "1,1,4,nan\n"));
  CHECK(holds(f.alt, "truth: from 0 to 5."));
  CHECK(holds(f.alt, "|error|: from 1 to 5."));
  FieldMaps fixed = ramp();
  fixed.maps[0].low = -5;
  CHECK(holds(field_maps_figure(fixed).alt, "truth: from -5 to 5."));
  FieldMaps wrong = ramp();
  wrong.maps[0].values.pop_back();
  CHECK(holds(error_of([&] { field_maps_figure(wrong); }).second,
              "truth has 5 values for a grid of 2 x 3"));
  wrong = ramp();
  wrong.x = {0, 2, 1};
  CHECK(error_of([&] { field_maps_figure(wrong); }).first == ErrorKind::usage);
}

TEST_CASE("field lines: the nearest row of each place") {
  const Figure f = field_lines_figure(ramp(), {0.1, 0.9});
  CHECK_NOTHROW(parse_xml(f.svg));
  CHECK(holds(f.csv, "t = 0,truth,2,2,,"));
  CHECK(holds(f.csv, "t = 1,truth,2,5,,"));
  CHECK(f.holes == 1);
  CHECK(error_of([] { field_lines_figure(ramp(), {}); }).first == ErrorKind::usage);
}

}  // namespace basin
