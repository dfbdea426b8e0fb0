// Contours: a circle within the tolerance of its grid, closed and open curves, saddles, holes; and
// the figure of them: what is drawn, what is hatched, what is counted.
#include "basin/figures/contour.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "basin/core/error.h"
#include "basin/tests/analysis/read_csv.h"
#include "basin/tests/analysis/xml.h"
#include "basin/tests/core/files.h"

namespace basin {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::vector<double> sampled(const SliceGrid& g, double (*f)(double, double)) {
  std::vector<double> out;
  for (int64_t i = 0; i < g.size(); ++i) out.push_back(f(g.x.at(g.ix(i)), g.y.at(g.iy(i))));
  return out;
}

double bowl(double x, double y) { return x * x + y * y; }
double length_of(const ContourLine& line) {
  double sum = 0;
  for (size_t i = 1; i < line.size(); ++i) {
    sum += std::hypot(line[i].first - line[i - 1].first, line[i].second - line[i - 1].second);
  }
  return sum;
}

TEST_CASE("contours: a circle on a grid that is not square") {
  const SliceGrid g{{"x", -1, 1.2, 41}, {"y", -1.1, 1, 31}};
  const double r = 0.6, h = 0.07;  // the wider of the two spacings, 2.1 / 30
  const auto lines = contour_lines(g, sampled(g, bowl), r * r);
  REQUIRE(lines.size() == 1);
  const ContourLine& line = lines[0];
  CHECK(line.front() == line.back());
  CHECK(line.size() > 60);
  // Linear interpolation of x^2 between neighbours is off by at most h^2 / 4, the radius by
  // h^2 / (8 r), always inwards.
  for (const auto& [x, y] : line) {
    CHECK(std::hypot(x, y) <= r + 1e-12);
    CHECK(std::hypot(x, y) >= r - 1.05 * h * h / (8 * r));
  }
  CHECK(length_of(line) == doctest::Approx(2 * std::acos(-1.0) * r).epsilon(0.005));
}

TEST_CASE("contours: open curves end at the frame, two hills are two curves") {
  const SliceGrid g{{"x", -2, 2, 33}, {"y", -1, 1, 17}};
  const auto open = contour_lines(g, sampled(g, bowl), 2.25);  // cut by y = -1 and 1
  REQUIRE(open.size() == 2);
  for (const ContourLine& line : open) {
    CHECK(std::abs(line.front().second) == 1);
    CHECK(std::abs(line.back().second) == 1);
    CHECK(line.front() != line.back());
  }
  const auto hills = [](double x, double y) { return (x * x - 1) * (x * x - 1) + y * y; };
  const auto two = contour_lines(g, sampled(g, hills), 0.25);
  REQUIRE(two.size() == 2);
  for (const ContourLine& line : two) CHECK(line.front() == line.back());
  CHECK(two[0][0].first * two[1][0].first < 0);
  CHECK(contour_lines(g, sampled(g, hills), -1).empty());
  CHECK(contour_lines(g, sampled(g, hills), 100).empty());
}

TEST_CASE("contours: a level that meets values of the grid") {
  const SliceGrid g{{"x", -2, 2, 9}, {"y", -2, 2, 9}};
  const auto circle = contour_lines(g, sampled(g, bowl), 1);  // (1, 0) and three more are points
  REQUIRE(circle.size() == 1);
  CHECK(circle[0].front() == circle[0].back());
  const auto has = [&](double x, double y) {
    return std::count(circle[0].begin(), circle[0].end(), std::pair(x, y)) > 0;
  };
  CHECK(has(1, 0));
  CHECK(has(0, -1));
  const auto line = contour_lines(g, sampled(g, [](double x, double) { return x; }), 0.5);
  REQUIRE(line.size() == 1);
  CHECK(line[0].size() == 9);
  for (const auto& [x, y] : line[0]) CHECK(x == 0.5);
  CHECK(contour_lines(g, std::vector<double>(81, 3.0), 3).empty());
}

TEST_CASE("contours: a saddle is cut as the mean of its corners says") {
  const SliceGrid g{{"x", -1, 1, 2}, {"y", -1, 1, 2}};
  const auto values = sampled(g, [](double x, double y) { return x * y; });
  // Above the mean the two high corners (-1, -1) and (1, 1) lie apart.
  for (const double level : {0.1, -0.1}) {
    const auto lines = contour_lines(g, values, level);
    REQUIRE(lines.size() == 2);
    for (const ContourLine& line : lines) {
      REQUIRE(line.size() == 2);
      for (const auto& [x, y] : line) CHECK(x * y == doctest::Approx(level));
      // Both ends lie on the sides of one corner, whose product has the sign of the level.
      const double x = line[0].first + line[1].first, y = line[0].second + line[1].second;
      CHECK(std::abs(x) == doctest::Approx(1.1));
      CHECK(std::abs(y) == doctest::Approx(1.1));
      CHECK(x * y * level > 0);
    }
  }
}

TEST_CASE("contours: a point without a value leaves a gap of its four cells") {
  const SliceGrid g{{"x", -1, 1, 5}, {"y", -1, 1, 5}};
  auto values = sampled(g, [](double x, double) { return x; });
  values[static_cast<size_t>(g.index(2, 2))] = kNaN;
  const auto lines = contour_lines(g, values, 0.3);
  REQUIRE(lines.size() == 2);
  double lowest = 1, highest = -1;
  for (const ContourLine& line : lines) {
    REQUIRE(line.size() == 2);
    for (const auto& [x, y] : line) {
      CHECK(x == doctest::Approx(0.3));
      CHECK(std::abs(y) >= 0.5);
      lowest = std::min(lowest, y), highest = std::max(highest, y);
    }
    CHECK(line[0].second * line[1].second > 0);
  }
  CHECK(lowest == -1);
  CHECK(highest == 1);
  CHECK(contour_lines(g, std::vector<double>(25, kNaN), 0).empty());
  test::check_error(ErrorKind::usage, {"25 values, given 24"},
                    [&] { contour_lines(g, std::vector<double>(24, 0.0), 0); });
  const SliceGrid flat{{"x", -1, 1, 5}};
  test::check_error(ErrorKind::usage, {"2 x 2", "5 x 1"},
                    [&] { contour_lines(flat, std::vector<double>(5, 0.0), 0); });
}

TEST_CASE("contour levels: even, on a log scale where the losses span more than a decade") {
  const std::vector<double> wide{0.01, 3, kNaN, 10}, narrow{-1, 0.5, 3}, none{kNaN, 2, 2};
  const auto log = contour_levels({&wide}, 6);
  REQUIRE(log.size() == 6);
  for (size_t i = 1; i < 6; ++i) CHECK(log[i] / log[i - 1] == doctest::Approx(std::sqrt(10)));
  CHECK(log[0] == doctest::Approx(0.01 * std::pow(10, 0.25)));
  CHECK(log[5] < 10);
  const auto linear = contour_levels({&narrow, &none}, 4);
  REQUIRE(linear.size() == 4);
  CHECK(linear[0] == doctest::Approx(-0.5));
  CHECK(linear[3] == doctest::Approx(2.5));
  CHECK(contour_levels({&none}).empty());
  CHECK(contour_levels({}).empty());
}

Slice measured(const SliceGrid& g, const LocalQuadratic& q, double fourth) {
  Slice s(g, {});
  for (int64_t i = 0; i < g.size(); ++i) {
    const double x = g.x.at(g.ix(i)), y = g.y.at(g.iy(i));
    s.loss[static_cast<size_t>(i)] = q.at(x, y) + fourth * (x * x * x * x);
    s.state[static_cast<size_t>(i)] = PointState::done;
  }
  return s;
}

ContourPlot two_panels() {
  const SliceGrid g{{"first", -1, 1, 7}, {"second", 0, 2, 5}};
  const LocalQuadratic q{0.5, 0.1, -0.2, 4, 0.5, 1};
  ContourPlot plot;
  plot.title = "Loss of pointnet";
  plot.panels = {{"adamw", measured(g, q, 1), q}, {"muon", measured(g, q, 0), std::nullopt}};
  Slice& s = plot.panels[0].slice;
  for (const int64_t i : {9, 10}) {
    s.state[static_cast<size_t>(i)] = PointState::failed;
    s.reasons[i] = "the loss is <nan>";
    s.loss[static_cast<size_t>(i)] = kNaN;
  }
  s.state[34] = PointState::missing;
  s.loss[34] = kNaN;
  return plot;
}

TEST_CASE("contour figure: shared levels, hatched holes that are counted, the model dashed") {
  const ContourPlot plot = two_panels();
  const Figure f = contour_figure(plot);
  const auto all = testing::parse_xml(f.svg);
  const auto paths = testing::hints_of(all, "path");
  CHECK(paths.size() > 20);
  const auto levels = contour_levels({&plot.panels[0].slice.loss, &plot.panels[1].slice.loss});
  int dashed = 0, full = 0;
  for (const auto& e : all) {
    if (e.name != "path") continue;
    ++(e.attributes.count("stroke-dasharray") ? dashed : full);
  }
  CHECK(dashed > 0);
  CHECK(full > dashed);
  for (const std::string& hint : paths) {
    const bool known = std::any_of(levels.begin(), levels.end(), [&](double level) {
      return hint == "loss " + readable(level) || hint == "quadratic " + readable(level);
    });
    CHECK_MESSAGE(known, hint);
  }
  const auto cells = testing::hints_of(all, "rect");
  CHECK(std::count(cells.begin(), cells.end(), "failed: the loss is <nan>") == 2);
  CHECK(std::count(cells.begin(), cells.end(), "not computed") == 1);
  CHECK(std::count_if(cells.begin(), cells.end(), [](const std::string& hint) {
          return hint.starts_with("loss ");
        }) == 2 * 35 - 3);
  int hatched = 0;
  for (const auto& e : all)
    hatched += e.name == "rect" && e.attributes.count("fill") > 0 &&
               e.attributes.at("fill").starts_with("url");
  CHECK(hatched == 3);
  CHECK(f.holes == 3);
  CHECK(f.caption.find("Hatched: 2 points failed, 1 was not computed.") != std::string::npos);
  CHECK(f.alt.find("muon: loss from ") != std::string::npos);
  CHECK(f.alt.find("adamw: loss from ") != std::string::npos);
  CHECK(f.alt.find("2 points failed") != std::string::npos);

  const auto rows = testing::read_csv(f.csv);
  REQUIRE(rows.size() == 70);
  CHECK(rows[9].at("loss") == "nan");
  CHECK(rows[9].at("state") == "failed: the loss is <nan>");
  CHECK(rows[34].at("state") == "missing");
  CHECK(std::stod(rows[8].at("loss")) == plot.panels[0].slice.loss[8]);
  CHECK(std::stod(rows[8].at("quadratic")) ==
        plot.panels[0].model->at(std::stod(rows[8].at("x")), std::stod(rows[8].at("y"))));
  CHECK(rows[43].at("quadratic") == "nan");
}

TEST_CASE("contour figure: without a model there are no dashes and no word of them") {
  ContourPlot plot = two_panels();
  plot.panels.erase(plot.panels.begin());
  const Figure f = contour_figure(plot);
  CHECK(f.svg.find("stroke-dasharray") == std::string::npos);
  CHECK(f.svg.find("quadratic") == std::string::npos);
  CHECK(f.caption.find("Hatched") == std::string::npos);
  testing::parse_xml(f.svg);
}

TEST_CASE("contour figure: named points and a trail, in the picture and in the CSV") {
  ContourPlot plot = two_panels();
  plot.panels.erase(plot.panels.begin());
  ContourPanel& panel = plot.panels[0];
  panel.marks = {{"A & B", 0.25, 0.5}};
  panel.trails = {{"run", {-0.5, 0, 0.5}, {0, 0.5, 0}}};
  plot.caption = "A plane of its own.";
  plot.panel = 420;
  const Figure f = contour_figure(plot);
  const auto all = testing::parse_xml(f.svg);
  CHECK(f.caption.starts_with("A plane of its own."));
  CHECK(f.svg.find("A &amp; B") != std::string::npos);
  // A dot for every checkpoint; the path twice, once as a white rim.
  const auto dots = testing::hints_of(all, "circle");
  for (int i = 1; i <= 3; ++i) {
    CHECK(std::count(dots.begin(), dots.end(), str("run, checkpoint ", i)) == 1);
  }
  const auto lines = testing::hints_of(all, "path");
  CHECK(std::count(lines.begin(), lines.end(), "run") == 2);
  const auto rows = testing::read_csv(f.csv);
  REQUIRE(rows.size() == 35 + 1 + 3);
  CHECK(rows[35].at("state") == "A & B");
  CHECK(std::stod(rows[35].at("x")) == 0.25);
  CHECK(rows[38].at("state") == "run, checkpoint 3");
  CHECK(std::stod(rows[38].at("x")) == 0.5);
}
TEST_CASE("contour figure: every point failed is a figure too") {
  ContourPlot plot = two_panels();
  plot.panels.pop_back();
  Slice& s = plot.panels[0].slice;
  for (int64_t i = 0; i < 35; ++i) {
    s.state[static_cast<size_t>(i)] = PointState::failed;
    s.loss[static_cast<size_t>(i)] = kNaN;
    s.reasons[i] = "the loss is inf";
  }
  const Figure f = contour_figure(plot);
  testing::parse_xml(f.svg);
  CHECK(f.holes == 35);
  CHECK(f.alt.find("adamw: no loss") != std::string::npos);
}

TEST_CASE("contour figure: panels that do not compare are refused") {
  ContourPlot plot = two_panels();
  plot.panels[1].slice = Slice(SliceGrid{{"first", -1, 1, 7}, {"second", 0, 2.5, 5}}, {});
  test::check_error(ErrorKind::usage, {"'muon'", "another grid"}, [&] { contour_figure(plot); });
  plot.panels.clear();
  test::check_error(ErrorKind::usage, {"expects panels"}, [&] { contour_figure(plot); });
  plot.panels.push_back({"line", Slice(SliceGrid{{"x", -1, 1, 7}}, {}), std::nullopt});
  test::check_error(ErrorKind::usage, {"two directions"}, [&] { contour_figure(plot); });
}

}  // namespace
}  // namespace basin
