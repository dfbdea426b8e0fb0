// Line plots: values stand where the axes say, what cannot be drawn breaks the line and is counted,
// series stay apart without colour, the CSV carries every number, ticks stand at round values.
#include "basin/figures/line_plot.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <sstream>

#include "basin/core/error.h"
#include "basin/tests/analysis/read_csv.h"
#include "basin/tests/analysis/xml.h"
#include "basin/tests/core/files.h"

namespace basin {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

PlotSeries series_of(const std::string& name, std::vector<double> x, std::vector<double> y,
                     int style = 0) {
  PlotSeries s;
  s.name = name, s.x = std::move(x), s.y = std::move(y), s.style = series_style(style);
  return s;
}

LinePlot plot_of(std::vector<PlotSeries> series) {
  LinePlot plot;
  plot.title = "Loss & <more>";
  PlotPanel panel;
  panel.title = "pointnet";
  panel.x.label = "step";
  panel.y.label = "loss";
  panel.series = std::move(series);
  plot.panels.push_back(std::move(panel));
  return plot;
}

// The points of each polyline.
std::vector<std::vector<std::pair<double, double>>> polylines(const std::string& svg) {
  std::vector<std::vector<std::pair<double, double>>> out;
  for (const auto& e : testing::parse_xml(svg)) {
    if (e.name != "polyline") continue;
    std::string text = e.attributes.at("points");
    std::replace(text.begin(), text.end(), ',', ' ');
    std::istringstream in(text);
    out.emplace_back();
    for (double x = 0, y = 0; in >> x >> y;) out.back().emplace_back(x, y);
  }
  return out;
}

std::set<std::string> texts(const std::string& svg) {
  std::set<std::string> out;
  for (const auto& e : testing::parse_xml(svg)) {
    if (e.name == "text") out.insert(e.text);
  }
  return out;
}

TEST_CASE("line plot: values stand where linear axes say") {
  const std::string svg = line_plot_svg(plot_of({series_of("a", {0, 1, 4}, {0, 10, 5})}));
  const auto lines = polylines(svg);
  REQUIRE(lines.size() == 1);
  REQUIRE(lines[0].size() == 3);
  const auto& [p, q, r] = std::tie(lines[0][0], lines[0][1], lines[0][2]);
  CHECK((q.first - p.first) / (r.first - p.first) == doctest::Approx(0.25).epsilon(1e-3));
  CHECK((p.second - r.second) / (p.second - q.second) == doctest::Approx(0.5).epsilon(1e-3));
  CHECK(q.second < p.second);  // up is more
  const auto words = texts(svg);
  for (const char* word : {"Loss & <more>", "pointnet", "step", "loss", "a", "0", "5", "10"}) {
    CHECK_MESSAGE(words.count(word) == 1, word);
  }
}

TEST_CASE("line plot: a log axis spaces decades evenly, drops what is not positive and counts it") {
  LinePlot plot = plot_of({series_of("a", {0, 1, 2, 3, 4, 5, 6}, {1, 10, 100, 0, -3, 1e3, kNaN})});
  plot.panels[0].y.scale = AxisScale::log;
  const std::string svg = line_plot_svg(plot);
  const auto lines = polylines(svg);
  REQUIRE(lines.size() == 1);  // 1, 10, 100; the fourth stands alone, as a dot
  REQUIRE(lines[0].size() == 3);
  CHECK(lines[0][0].second - lines[0][1].second ==
        doctest::Approx(lines[0][1].second - lines[0][2].second).epsilon(1e-3));
  CHECK(texts(svg).count("3 of 7 values not drawn: not finite or not positive on a log axis") == 1);
}

TEST_CASE("line plot: NaN breaks a line, values outside a fixed axis are counted, none is moved") {
  LinePlot plot = plot_of({series_of("a", {0, 1, 2, 3, 4, 5}, {1, 2, kNaN, 2, 1, 50})});
  plot.panels[0].y.high = 3;
  const std::string svg = line_plot_svg(plot);
  const auto lines = polylines(svg);
  REQUIRE(lines.size() == 2);
  CHECK(lines[0].size() == 2);
  CHECK(lines[1].size() == 3);
  CHECK(lines[1][2].second < 0);  // beyond the top of the picture, where 50 is; clipped
  CHECK(texts(svg).count("1 of 6 values not drawn: not finite; 1 of 6 outside") == 1);
  // The marker of the value outside is left out, those inside are drawn.
  CHECK(testing::hints_of(testing::parse_xml(svg), "circle").size() == 4);
}

TEST_CASE("line plot: bands, bars, references and a rug") {
  LinePlot plot = plot_of({series_of("a", {1, 2, 3}, {2, 4, 8})});
  PlotSeries& s = plot.panels[0].series[0];
  s.low = {1, 3, kNaN}, s.high = {3, 5, kNaN};
  plot.panels[0].references = {{4, false, "bound"}, {2.5, true, "here"}};
  plot.panels[0].rug = {1.5, 2.5};
  const std::string svg = line_plot_svg(plot);
  const auto lines = polylines(svg);
  REQUIRE(lines.size() == 2);
  CHECK(lines[0].size() == 4);  // the outline of two points
  CHECK(lines[0][0].second < lines[1][0].second);
  CHECK(lines[0][3].second > lines[1][0].second);
  CHECK(texts(svg).count("bound") == 1);
  CHECK(texts(svg).count("here") == 1);
  s.bars = true;
  CHECK(polylines(line_plot_svg(plot)).size() == 1);
}

TEST_CASE("line plot: series differ in colour, dash and marker; optimizers keep theirs") {
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < i; ++j) {
      const SeriesStyle a = series_style(i), b = series_style(j);
      CHECK(colour_of(a) != colour_of(b));
      CHECK(dash_of(a) != dash_of(b));
      CHECK(a.marker != b.marker);
    }
  }
  std::set<std::string> seen;
  for (int i = 0; i < 20; ++i) {
    const SeriesStyle s = series_style(i);
    seen.insert(str(s.colour, " ", static_cast<int>(s.dash), " ", static_cast<int>(s.marker)));
  }
  CHECK(seen.size() == 20);
  CHECK(colour_of(optimizer_style("AdamW, seed 1")) == colour_of(optimizer_style("adam")));
  CHECK(colour_of(optimizer_style("muon")) != colour_of(optimizer_style("adamw")));
  CHECK(colour_of(optimizer_style("specmuon")) != colour_of(optimizer_style("muon")));
  CHECK(optimizer_style("sgd").colour == -1);
}

TEST_CASE("line plot: one legend for all panels, panels share an axis on request") {
  LinePlot plot = plot_of({series_of("a", {0, 1}, {0, 1}), series_of("b", {0, 1}, {1, 0}, 1)});
  plot.panels.push_back(plot.panels[0]);
  plot.panels[1].title = "dgcnn";
  plot.panels[1].series[0].y = {0, 100};
  const std::string apart = line_plot_svg(plot);
  int legend = 0;
  for (const auto& e : testing::parse_xml(apart)) legend += e.name == "text" && e.text == "a";
  CHECK(legend == 1);
  plot.share_y = true;
  const auto lines = polylines(line_plot_svg(plot));
  REQUIRE(lines.size() == 4);
  const double small = lines[0][0].second - lines[0][1].second,
               large = lines[2][0].second - lines[2][1].second;
  CHECK(large == doctest::Approx(100 * small).epsilon(0.01));
  plot.panels[1].y.scale = AxisScale::log;
  test::check_error(ErrorKind::usage, {"'dgcnn'", "another scale"}, [&] { line_plot_svg(plot); });
}

TEST_CASE("line plot: the CSV carries every number to the bit") {
  LinePlot plot =
      plot_of({series_of("a, b", {0.1, 1.0 / 3}, {1e-300, kNaN}), series_of("c", {2}, {-kInf}, 1)});
  plot.panels[0].series[0].low = {-0.5, 1}, plot.panels[0].series[0].high = {0.5, 2};
  const auto rows = testing::read_csv(line_plot_csv(plot));
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].at("panel") == "pointnet");
  CHECK(rows[0].at("series") == "a, b");
  CHECK(rows[0].at("x") == "0.1");
  CHECK(std::strtod(rows[1].at("x").c_str(), nullptr) == 1.0 / 3);
  CHECK(rows[0].at("y") == "1e-300");
  CHECK(rows[0].at("low") == "-0.5");
  CHECK(rows[0].at("high") == "0.5");
  CHECK(rows[1].at("y") == "nan");
  CHECK(rows[2].at("y") == "-inf");
  CHECK(rows[2].at("low").empty());
}

TEST_CASE("line plot: nothing to draw, one point, and huge spans are pictures too") {
  for (const AxisScale scale : {AxisScale::linear, AxisScale::log}) {
    for (const auto& series :
         {series_of("a", {}, {}), series_of("a", {1}, {1}), series_of("a", {0, 1}, {kNaN, kNaN}),
          series_of("a", {1, 2}, {1e-250, 1e250}), series_of("a", {1, 2}, {5, 5 + 1e-12})}) {
      LinePlot plot = plot_of({series});
      plot.panels[0].y.scale = scale;
      const std::string svg = line_plot_svg(plot);
      testing::parse_xml(svg);
      CHECK(svg.find("nan") == std::string::npos);
      CHECK(svg.find("inf") == std::string::npos);
    }
  }
}

TEST_CASE("line plot: what does not fit together is refused") {
  LinePlot plot = plot_of({series_of("a", {0, 1}, {1})});
  test::check_error(ErrorKind::usage, {"'pointnet'", "'a'", "2 x, 1 y"},
                    [&] { line_plot_svg(plot); });
  plot.panels[0].series[0].y = {1, 2};
  plot.panels[0].series[0].low = {1};
  plot.panels[0].series[0].high = {1};
  test::check_error(ErrorKind::usage, {"1 low and 1 high"}, [&] { line_plot_csv(plot); });
  plot.panels[0].series[0].low = plot.panels[0].series[0].high = {};
  plot.panels[0].y = {"loss", AxisScale::log, 0, 1};
  test::check_error(ErrorKind::usage, {"cannot end at 0 on a log scale"},
                    [&] { line_plot_svg(plot); });
  plot.panels[0].y = {"loss", AxisScale::linear, 3, 1};
  test::check_error(ErrorKind::usage, {"low < high"}, [&] { line_plot_svg(plot); });
  plot.panels.clear();
  test::check_error(ErrorKind::usage, {"expects panels"}, [&] { line_plot_svg(plot); });
}

std::string labels(const std::vector<Tick>& ticks) {
  std::string out;
  for (const Tick& t : ticks) out += t.label.empty() ? "" : t.label + " ";
  return out;
}

TEST_CASE("ticks: multiples of 1, 2 or 5, labels with the digits that tell them apart") {
  CHECK(labels(linear_ticks(0, 1)) == "0 0.2 0.4 0.6 0.8 1.0 ");
  CHECK(labels(linear_ticks(-1, 1, 4)) == "-1.0 -0.5 0 0.5 1.0 ");
  CHECK(labels(linear_ticks(0, 98, 5)) == "0 20 40 60 80 ");
  CHECK(labels(linear_ticks(2.3, 2.4, 5)) == "2.30 2.32 2.34 2.36 2.38 2.40 ");
  CHECK(labels(linear_ticks(0, 3e7, 3)) == "0 1e7 2e7 3e7 ");
  CHECK(labels(linear_ticks(0, 2.5e-6, 5)) == "0 5e-7 1e-6 1.5e-6 2e-6 2.5e-6 ");
  CHECK(labels(log_ticks(1e-3, 1e3)) == "0.001 0.01 0.1 1 10 100 1000 ");
  CHECK(labels(log_ticks(1, 30)) == "1 2 5 10 20 ");
  CHECK(labels(log_ticks(1e-30, 1e-24, 3)) == "1e-30 1e-28 1e-26 1e-24 ");
  CHECK(labels(log_ticks(5.2, 5.8, 8)) == "5.2 5.4 5.6 5.8 ");  // no power within: linear ticks
  int minor = 0;
  for (const Tick& t : log_ticks(1, 1000)) minor += t.label.empty();
  CHECK(minor == 24);
  CHECK_THROWS_AS(linear_ticks(1, 1), Error);
  CHECK_THROWS_AS(log_ticks(0, 1), Error);
}

}  // namespace
}  // namespace basin
