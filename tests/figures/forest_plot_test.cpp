// Forest plot: marks stand where the logarithmic axis says, shape and weight tell what excludes 1,
// arrows for what lies beyond the axis, undefined ratios are words and never marks, the CSV has
// all.
#include "basin/figures/forest_plot.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "basin/figures/svg.h"
#include "basin/tests/analysis/read_csv.h"
#include "basin/tests/analysis/xml.h"
#include "basin/tests/core/files.h"
#include "basin/tests/figures/figure_samples.h"

namespace basin {
namespace {

using namespace testing;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

double number(const XmlElement& e, const char* key) { return std::stod(e.attributes.at(key)); }

// The marks of the rows by their hint: where the middle stands. A diamond is a path that starts at
// its upper corner, a cross one whose first line runs from corner to corner, a hollow circle is a
// circle.
std::map<std::string, double> marks(const std::string& svg) {
  const auto all = parse_xml(svg);
  std::map<std::string, double> out;
  for (size_t i = 0; i + 1 < all.size(); ++i) {
    if (all[i + 1].name != "title" || all[i + 1].parent != all[i].name) continue;
    const auto& e = all[i];
    if (e.name == "circle") out[all[i + 1].text] = number(e, "cx");
    if (e.name != "path") continue;
    const std::string& d = e.attributes.at("d");
    const double from = std::stod(d.substr(1)), to = std::stod(d.substr(d.find('L') + 1));
    const bool cross = d.back() != 'Z';
    out[all[i + 1].text] = cross ? (from + to) / 2 : from;
  }
  return out;
}

size_t count(const std::string& svg, const std::string& name) {
  const auto all = parse_xml(svg);
  return static_cast<size_t>(
      std::count_if(all.begin(), all.end(), [&](const XmlElement& e) { return e.name == name; }));
}

ForestPlot plot_of(std::vector<ForestRow> rows) {
  ForestPlot plot;
  plot.title = "Ratios & <more>";
  plot.rows = std::move(rows);
  return plot;
}

// Where the tick with this label stands.
double tick(const std::string& svg, const std::string& label) {
  for (const XmlElement& e : parse_xml(svg)) {
    if (e.name == "text" && e.text == label) return number(e, "x");
  }
  FAIL("no tick ", label);
  return 0;
}

TEST_CASE("forest plot: marks stand where the logarithmic axis says") {
  const Figure f = forest_figure(
      plot_of({{"a", "", 0.2, 0.1, 0.4}, {"b", "", 2, 0.5, 5}, {"c", "", 10, kNaN, kNaN}}));
  const auto at = marks(f.svg);
  REQUIRE(at.size() == 3);
  const double a = at.at("a: 0.2 [0.1, 0.4]"), b = at.at("b: 2 [0.5, 5]"), c = at.at("c: 10");
  CHECK((b - a) / (c - a) == doctest::Approx(std::log(10) / std::log(50)).epsilon(1e-3));
  CHECK(a == doctest::Approx(tick(f.svg, "0.2")).epsilon(1e-3));
  CHECK(b == doctest::Approx(tick(f.svg, "2")).epsilon(1e-3));
  CHECK(c == doctest::Approx(tick(f.svg, "10")).epsilon(1e-3));
  for (const char* label : {"0.1", "0.5", "1", "5"}) CHECK(tick(f.svg, label) > 0);
  // The line at 1 is the only full one of its ink, and it runs through all rows.
  int lines = 0;
  for (const XmlElement& e : parse_xml(f.svg)) {
    if (e.name != "line" || e.attributes.at("stroke") != "#222222") continue;
    ++lines;
    CHECK(number(e, "x1") == doctest::Approx(tick(f.svg, "1")));
    CHECK(number(e, "x1") == number(e, "x2"));
    CHECK(number(e, "y2") - number(e, "y1") > 3 * 20);
  }
  CHECK(lines == 1);
}

TEST_CASE("forest plot: what excludes 1 differs by shape, weight and words") {
  const auto drawn = [](double low, double high) {
    return forest_figure(plot_of({{"a", "", 1.5, low, high}}));
  };
  const Figure yes = drawn(1.2, 1.8), no = drawn(0.9, 1.8), none = drawn(kNaN, kNaN);
  CHECK(count(yes.svg, "circle") == 0);
  CHECK(count(no.svg, "circle") == 2);  // of the row and of the legend
  CHECK(count(none.svg, "circle") == 0);
  const auto weight = [](const Figure& f, const std::string& words) {
    for (const XmlElement& e : parse_xml(f.svg)) {
      if (e.name == "text" && e.text == words) return e.attributes.count("font-weight") > 0;
    }
    FAIL("no text ", words);
    return false;
  };
  CHECK(weight(yes, "1.5 [1.2, 1.8]"));
  CHECK_FALSE(weight(no, "1.5 [0.9, 1.8]"));
  CHECK_FALSE(weight(none, "1.5"));
  CHECK(yes.alt.find("1 of 1 intervals exclude 1") != std::string::npos);
  CHECK(no.alt.find("0 of 1 intervals exclude 1") != std::string::npos);
  CHECK(none.alt.find("0 of 0 intervals exclude 1") != std::string::npos);
  CHECK(none.caption.find("no interval is known") != std::string::npos);
  CHECK(yes.caption.find("no interval is known") == std::string::npos);
  // An interval that ends at 1 holds it.
  CHECK(read_csv(drawn(1, 1.8).csv)[0].at("excludes_one") == "no");
}

TEST_CASE("forest plot: arrows beyond the axis, which stays readable") {
  const auto arrows = [](const ForestPlot& plot) {
    return count(forest_figure(plot).svg, "polyline");
  };
  CHECK(arrows(plot_of({{"a", "", 2, 1.5, 3}})) == 0);
  CHECK(arrows(plot_of({{"a", "", 2, -1, 3}})) == 1);
  CHECK(arrows(plot_of({{"a", "", 2, 0, kInf}})) == 2);
  CHECK(arrows(plot_of({{"a", "", 2, 1.5, 3}, {"b", "", 1e7, 1e6, 1e8}})) == 2);  // bar and ratio
  CHECK(arrows(plot_of({{"a", "", 2, 1.5, 3}, {"b", "", 1e-9, kNaN, kNaN}})) == 1);
  const Figure f = forest_figure(plot_of({{"a", "", 2, 1.5, 3}, {"b", "", 1e7, 1e6, 1e8}}));
  CHECK(f.caption.find("An arrow:") != std::string::npos);
  CHECK(marks(f.svg).size() == 1);
  CHECK(tick(f.svg, "2") > 0);
  CHECK(f.holes == 0);
}

TEST_CASE("forest plot: an undefined ratio keeps its row and its words, and has no mark") {
  const Figure f = forest_figure(plot_of({{"fine", "", 2, 1.5, 3},
                                          {"nan", "", kNaN, 1, 2},
                                          {"negative", "", -3, -4, -2},
                                          {"zero", "", 0, kNaN, kNaN},
                                          {"infinite", "", kInf, kNaN, kNaN}}));
  CHECK(marks(f.svg).size() == 1);
  CHECK(f.holes == 4);
  CHECK(f.caption.find("4 ratios are not drawn: not finite or not positive.") != std::string::npos);
  const auto rows = read_csv(f.csv);
  REQUIRE(rows.size() == 5);
  for (size_t i = 0; i < rows.size(); ++i) CHECK(rows[i].at("drawn") == (i == 0 ? "yes" : "no"));
  CHECK(rows[2].at("ratio") == "-3");
  for (const char* words : {"no value [1, 2]", "-3 [-4, -2]", "0", "infinite", "negative"}) {
    CHECK(tick(f.svg, words) > 0);
  }
  // None at all can be drawn: still a picture, with the line at 1.
  CHECK(marks(forest_figure(plot_of({{"nan"}})).svg).empty());
}

TEST_CASE("forest plot: rows stand under their group, every word inside the picture") {
  ForestPlot plot = sample_ratios();
  plot.rows.push_back({"late", "pointnet", 1.1, 0.9, 1.3});
  plot.rows.push_back({std::string(90, 'x') + " " + std::string(20, 'y'), "dgcnn", 1, 0.5, 2,
                       "a note of many words that is wrapped into several lines of its column"});
  const Figure f = forest_figure(plot);
  std::map<std::string, double> height;
  double width = 0;
  for (const XmlElement& e : parse_xml(f.svg)) {
    if (e.name == "svg") width = number(e, "width");
    if (e.name != "text") continue;
    height[e.text] = number(e, "y");
    const auto found = e.attributes.find("text-anchor");
    const double wide = text_width(e.text, number(e, "font-size")), x = number(e, "x");
    const double share = found == e.attributes.end() ? 0 : found->second == "end" ? 1 : 0.5;
    CHECK_MESSAGE(x - share * wide >= 0, e.text);
    CHECK_MESSAGE(x + (1 - share) * wide <= width, e.text);
  }
  CHECK(height.at("pointnet") < height.at("late"));
  CHECK(height.at("late") < height.at("dgcnn"));
  CHECK(height.at("dgcnn") < height.at("stable rank"));
  CHECK(height.count("Muon is larger") + height.count("AdamW is larger") == 2);
  CHECK(f.caption.starts_with("Each quantity of AdamW divided by that of Muon. Bars: intervals;"));
  CHECK(f.alt.find("pointnet: largest eigenvalue 4.75 [3.6, 6.2]; ") != std::string::npos);
  CHECK(f.svg == forest_figure(plot).svg);
  const test::TempDir dir;
  write_figure(dir / "figures", f);
  CHECK(read_text_file(dir / "figures/ratios.csv") == f.csv);
}

TEST_CASE("forest plot: refusals") {
  using test::check_error;
  check_error(ErrorKind::usage, {"forest plot: expects at least one row, given none"},
              [] { forest_figure({}); });
  check_error(ErrorKind::usage, {"forest plot: row 'a' expects low <= high, given 3 and 2"}, [] {
    forest_figure(plot_of({{"a", "", 2, 3, 2}}));
  });
}

}  // namespace
}  // namespace basin
