// Captions, numbers for readers, styles and CSV tables of the figures.
#include "basin/figures/figure.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "basin/analysis/csv_table.h"
#include "basin/figures/detail/figure_drawing.h"
#include "basin/tests/analysis/read_csv.h"
#include "basin/tests/analysis/xml.h"
#include "basin/tests/core/files.h"

namespace basin {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

double contrast(Rgb a, Rgb b) {
  const double x = luminance(a) + 0.05, y = luminance(b) + 0.05;
  return std::max(x, y) / std::min(x, y);
}

Estimate bare(double value) {
  Estimate e;
  e.value = value;
  return e;
}

TEST_CASE("series styles: the optimizers differ in lightness, dash and marker, each alone") {
  const std::vector<std::string> names = {"adam", "Muon", "SpecMuon"};
  const auto styles = series_styles(names);
  for (size_t i = 0; i < styles.size(); ++i) {
    CHECK(contrast(ink_of(styles[i]), {255, 255, 255}) > 3);  // WCAG's bound for graphics
    for (size_t j = 0; j < i; ++j) {
      CHECK(contrast(ink_of(styles[i]), ink_of(styles[j])) > 1.35);
      CHECK(dash_of(styles[i]) != dash_of(styles[j]));
      CHECK(styles[i].marker != styles[j].marker);
    }
  }
  // The same look whatever stands beside it, and for adamw as for adam.
  const auto again = series_styles({"sgd", "muon", "AdamW"});
  CHECK(again[1].colour == styles[1].colour);
  CHECK(again[2].colour == styles[0].colour);
  // Names that come twice and unknown names have looks of their own.
  const auto twice = series_styles({"muon", "muon, lr 0.1", "lion", "adan", "sgd", "adam"});
  for (size_t i = 0; i < twice.size(); ++i) {
    for (size_t j = 0; j < i; ++j) CHECK(twice[i].colour != twice[j].colour);
  }
  CHECK(style_among({"adam", "lion"}, "lion").colour == series_styles({"adam", "lion"})[1].colour);
  CHECK_THROWS_WITH(style_among({"adam"}, "x"), "figure: 'x' is not among its series");
}

TEST_CASE("readable: four digits, whatever the size") {
  CHECK(readable(0.0) == "0");
  CHECK(readable(4.75) == "4.75");
  CHECK(readable(47.123456) == "47.12");
  CHECK(readable(-0.0012345) == "-0.001234");
  CHECK(readable(12345.6) == "12346");
  CHECK(readable(1e-7) == "1e-7");
  CHECK(readable(1.2345e-5) == "1.234e-5");
  CHECK(readable(1.2e7) == "1.2e7");
  CHECK(readable(-3e100) == "-3e100");
  CHECK(readable(100.0) == "100");
  CHECK(readable(kNaN) == "no value");
  CHECK(readable(-INFINITY) == "-infinite");
  CHECK(readable(Estimate{4.75, 0.1, {4.1, 5.4, 0.95}, 3, ""}) == "4.75 [4.1, 5.4]");
  CHECK(readable(Estimate{4.75, 0, {4.75, 4.75, 0.95}, 1, ""}) == "4.75");
  CHECK(readable(bare(4.75)) == "4.75");
  CHECK(readable(Estimate{}) == "no value");
}

TEST_CASE("figure: the caption states the conditions and the holes, the picture its words") {
  const FigureConditions c{.runs = 2,
                           .seeds = {3, 4},
                           .probes = "100 probes",
                           .data = "1,024 training shapes",
                           .dtype = "f64",
                           .command = "probe --name \"<x>\""};
  CHECK(conditions_line(c) ==
        "n = 2 runs each (seeds 3, 4); 100 probes; data: 1,024 training shapes; f64; 95 % "
        "intervals.");
  CHECK(conditions_line({.runs = 4, .fewest = 2, .level = 0}) == "n = 2 to 4 runs each.");
  CHECK(conditions_line({.runs = 4, .fewest = 4, .level = 0}) == "n = 4 runs each.");
  CHECK(conditions_line({.level = 0}).empty());
  CHECK(conditions_line({.seeds = {7}, .level = 0}) == "seed 7.");
  Svg svg(100, 80, "a title");
  Figure f{.name = "a_figure-1", .title = "a title", .svg = svg.document(), .csv = "a\n1\n"};
  f.alt = "One <bar> & \"more\".";
  f.holes = 2;
  f = finish_figure(f, "What it is", c);
  CHECK(f.caption ==
        "What it is. 2 numbers are not finite and are not drawn. " + conditions_line(c));
  const auto all = testing::parse_xml(f.svg);
  CHECK(all[0].attributes.at("aria-label") == f.alt);
  REQUIRE(all[2].name == "desc");
  CHECK(all[2].text == f.alt + " Made by: probe --name \"<x>\"");
  const test::TempDir dir;
  write_figure(dir / "figures", f);
  CHECK(read_text_file(dir / "figures/a_figure-1.svg") == f.svg);
  CHECK(read_text_file(dir / "figures/a_figure-1.csv") == f.csv);
  CHECK(fs::file_size(dir / "figures/a_figure-1.png") > 100);
  f.name = "../up";
  test::check_error(ErrorKind::usage, {"'../up'", "lower case"},
                    [&] { write_figure(dir.path(), f); });
  test::check_error(ErrorKind::usage, {"alternative text"},
                    [&] { finish_figure({.name = "x", .svg = f.svg}, "", {}); });
}

TEST_CASE("csv table: every bit of a number, every character of a text") {
  CsvTable csv({"name", "value"});
  const std::vector<double> values = {0.1, 1.0 / 3, 1e-300, -5e-324, 123456789.123456789};
  const std::vector<std::string> names = {"a", "b,c", "d\"e", "f\ng", ""};
  for (size_t i = 0; i < values.size(); ++i) csv.row({names[i], values[i]});
  csv.row({"bad", kNaN});
  const auto rows = testing::read_csv(csv.text());
  REQUIRE(rows.size() == 6);
  for (size_t i = 0; i < values.size(); ++i) {
    CHECK(rows[i].at("name") == names[i]);
    CHECK(std::stold(rows[i].at("value")) == doctest::Approx(values[i]));
    CHECK(std::strtod(rows[i].at("value").c_str(), nullptr) == values[i]);
  }
  CHECK(rows[5].at("value") == "nan");
  CHECK_THROWS_WITH(csv.row({"alone"}), "csv: expects 2 cells in a row, given 1");
}

TEST_CASE("figure drawing: axes hold their values, words fit their room, whiskers are cut") {
  const AxisRange log = axis_around({0.013, 790, kNaN, -3}, AxisScale::log);
  CHECK(log.low() == doctest::Approx(0.01));
  CHECK(log.high() == doctest::Approx(1000));
  CHECK(holds(log, 0.013));
  CHECK_FALSE(holds(log, 0));
  CHECK_FALSE(holds(log, 1001));
  const AxisRange linear = axis_around({0.2, 0.5}, AxisScale::linear);
  CHECK(linear.low() == 0);
  CHECK(linear.high() > 0.5);
  CHECK(axis_around({-1, 2}, AxisScale::linear).low() < -1);
  CHECK(axis_around({}, AxisScale::log).low() > 0);

  CHECK(shortened("short", 11, 100) == "short");
  const std::string cut = shortened("encoder.layers.12.attention.projection.weight", 11, 120);
  CHECK(text_width(cut, 11) <= 120);
  CHECK(cut.starts_with("enc"));
  CHECK(cut.find("...") != cut.npos);
  CHECK(cut.ends_with(".weight"));
  CHECK(xml_escape(shortened("äöüäöüäöüäöüäöüäöü", 11, 60)).find("\xEF\xBF\xBD") ==
        std::string::npos);  // never cut inside a character

  const auto shapes = [&](const Interval& interval) {
    Svg svg(100, 100, "t");
    draw_whisker(svg, {10, 10, 80, 80, log}, 50, interval, {0, 0, 0});
    const auto all = testing::parse_xml(svg.document());
    int lines = 0, arrows = 0;
    for (const auto& e : all) lines += e.name == "line", arrows += e.name == "polyline";
    return std::pair(lines, arrows);
  };
  CHECK(shapes({1, 10}) == std::pair(3, 0));    // a bar and two caps
  CHECK(shapes({-1, 10}) == std::pair(2, 1));   // the lower cap is an arrow
  CHECK(shapes({-1, 1e9}) == std::pair(1, 2));  // both
  CHECK(shapes({5, 5}) == std::pair(0, 0));
  CHECK(shapes({kNaN, 5}) == std::pair(0, 0));
  CHECK(shapes({-2, -1}) == std::pair(0, 0));
}

}  // namespace
}  // namespace basin
