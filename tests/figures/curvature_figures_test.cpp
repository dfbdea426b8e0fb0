// Figures of curvature: what is drawn stands where its number says, the CSV carries the number, and
// what is no number is a hole that is counted.
#include "basin/figures/curvature_figures.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "basin/core/error.h"
#include "basin/tests/analysis/read_csv.h"
#include "basin/tests/analysis/xml.h"
#include "basin/tests/figures/figure_samples.h"

namespace basin {
namespace {

using namespace testing;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// The element before a title inside `name`: the shape that carries the hint.
XmlElement hinted(const std::vector<XmlElement>& all, const std::string& hint) {
  for (size_t i = 1; i < all.size(); ++i) {
    if (all[i].name == "title" && all[i].text == hint) return all[i - 1];
  }
  FAIL("no shape is called ", hint);
  return {};
}

double number(const XmlElement& e, const std::string& attribute) {
  return std::stod(e.attributes.at(attribute));
}

TEST_CASE("curvature bars: heights are logarithms, ratios and intervals are written") {
  const CurvatureBars data = sample_bars();
  const Figure f = curvature_bars_figure(data);
  const auto all = parse_xml(f.svg);
  const XmlElement adam = hinted(all, "pointnet, trace, AdamW: 912 [775.2, 1094]"),
                   muon = hinted(all, "pointnet, trace, Muon: 251 [225.9, 276.1]"),
                   top = hinted(all, "pointnet, largest eigenvalue, AdamW: 47.5 [40.38, 57]");
  const double decade = (number(top, "y") - number(adam, "y")) / std::log10(912 / 47.5);
  CHECK((number(muon, "y") - number(adam, "y")) / std::log10(912 / 251.0) ==
        doctest::Approx(decade).epsilon(1e-3));
  CHECK(number(adam, "y") + number(adam, "height") ==
        doctest::Approx(number(muon, "y") + number(muon, "height")));
  CHECK(adam.attributes.count("stroke-dasharray") == 0);
  CHECK(muon.attributes.count("stroke-dasharray") == 1);
  std::vector<std::string> texts;
  for (const XmlElement& e : all) {
    if (e.name == "text") texts.push_back(e.text);
  }
  CHECK(std::count(texts.begin(), texts.end(), "3.633x") == 3);  // one per network
  CHECK(std::count(texts.begin(), texts.end(), "[2.725, 4.724]") == 3);
  CHECK(f.alt.find("pointnet, trace: AdamW 912 [775.2, 1094]; Muon 251 [225.9, 276.1]; AdamW / "
                   "Muon 3.633 [2.725, 4.724].") != f.alt.npos);
  CHECK(f.holes == 0);
  const auto rows = read_csv(f.csv);
  REQUIRE(rows.size() == data.bars.size() * 4 + data.ratios.size());
  CHECK(rows[0].at("kind") == "value");
  CHECK(std::strtod(rows[0].at("value").c_str(), nullptr) == data.bars[0].estimate.value);
  CHECK(std::strtod(rows[0].at("low").c_str(), nullptr) == data.bars[0].estimate.interval.low);
  CHECK(std::strtod(rows[1].at("value").c_str(), nullptr) == data.bars[0].runs[0]);
  CHECK(std::strtod(rows.back().at("value").c_str(), nullptr) == data.ratios.back().ratio.value);
}

TEST_CASE("curvature bars: intervals through zero, negative and missing numbers") {
  CurvatureBars data;
  data.bars = {{"net", "trace", "adam", estimate(10, -5, 25)},
               {"net", "trace", "muon", estimate(-3, -9, 3)},
               {"net", "lambda", "adam", estimate(kNaN, kNaN, kNaN)},
               {"net", "lambda", "muon", estimate(2, 1, 3), {1.5, kNaN}}};
  const Figure f = curvature_bars_figure(data);
  CHECK(f.holes == 2);
  CHECK(f.caption.find("2 numbers are not finite and are not drawn.") != f.caption.npos);
  CHECK(f.caption.find("An arrow marks an interval that goes on below the axis.") !=
        f.caption.npos);
  CHECK(f.caption.find("net, trace, muon is -3 [-9, 3]: no bar on a log axis.") != f.caption.npos);
  const auto all = parse_xml(f.svg);
  CHECK(hints_of(all, "rect") ==
        std::vector<std::string>{"net, trace, adam: 10 [-5, 25]", "net, lambda, muon: 2 [1, 3]"});
  CHECK(std::count_if(all.begin(), all.end(),
                      [](const XmlElement& e) { return e.text == "no value"; }) == 1);
  CHECK(read_csv(f.csv)[2].at("value") == "nan");
  CHECK_THROWS_WITH(curvature_bars_figure({}),
                    "curvature bars: expects at least one bar, given none");
}

TEST_CASE("scree: sorted by size, the negative ones in a panel of their own") {
  Scree data;
  data.panels = {
      {"net",
       {{"adam", {1, -0.5, 10, kNaN, -2}, {0.1, 0.6, 0.1, 0.1, 0.1}, 0.8}, {"muon", {4, 2}, {}}}}};
  const Figure f = scree_figure(data);
  const auto all = parse_xml(f.svg);
  const auto circles = hints_of(all, "circle");
  CHECK(circles ==
        std::vector<std::string>{"adam: 1, 10", "adam: 2, 1", "adam: 1, 2", "adam: 2, 0.5"});
  CHECK(number(hinted(all, "adam: 1, 10"), "cy") < number(hinted(all, "adam: 2, 1"), "cy"));
  CHECK(f.alt ==
        "Eigenvalues against rank on a log scale. net, adam: 2 from 10 down to 1; 2 negative, the "
        "lowest -2; bulk edge 0.8. net, muon: 2 from 4 down to 2.");
  CHECK(f.holes == 1);
  const auto rows = read_csv(f.csv);
  REQUIRE(rows.size() == 8);
  CHECK(rows[1].at("eigenvalue") == "-0.5");
  CHECK(rows[1].at("residual") == "0.6");
  CHECK(rows[3].at("eigenvalue") == "nan");
  CHECK(rows[5].at("kind") == "bulk_edge");
  CHECK(rows[6].at("residual").empty());
  data.panels[0].series[0].residuals.pop_back();
  CHECK_THROWS_WITH(scree_figure(data), "scree: net, adam has 4 residuals for 5 eigenvalues");
  CHECK_THROWS_WITH(scree_figure({}), "scree: expects at least one panel, given none");
}

TEST_CASE("scree: means over runs have intervals for residuals, and the runs behind them") {
  Scree data;
  ScreeSeries series{.optimizer = "adam", .eigenvalues = {10, 1, -2}};
  series.low = {5, 0.5, 1}, series.high = {20, 2, 4};
  series.runs = {{20, 2, -4}, {5, 0.5, -1}};
  data.panels = {{"net", {series}}};
  const Figure f = scree_figure(data);
  CHECK(f.caption.find("whiskers: its interval; faint: single runs") != f.caption.npos);
  CHECK(hints_of(parse_xml(f.svg), "circle") ==
        std::vector<std::string>{"adam: 1, 10", "adam: 2, 1", "adam: 1, 2"});
  const auto rows = read_csv(f.csv);
  REQUIRE(rows.size() == 9);
  CHECK(rows[2].at("low") == "1");
  CHECK(rows[2].at("high") == "4");
  CHECK(rows[3].at("kind") == "run 1");
  CHECK(rows[8].at("eigenvalue") == "-1");
  data.panels[0].series[0].low.pop_back();
  CHECK_THROWS_WITH(scree_figure(data),
                    "scree: the interval of net, adam has 2 and 3 ends for 3 eigenvalues");
}

TEST_CASE("spectral density: stretches above the floor, a rug stroke per node") {
  SpectralDensity data;
  DensitySeries s;
  s.optimizer = "muon";
  s.at = {-1, 0, 1, 2, 3, 4, 5};
  s.density = {1e-3, 1, 1e-2, 1e-12, 1e-4, 1e-3, kNaN};
  s.nodes = {-0.5, 0, 3.5};
  s.bandwidth = 0.25;
  s.negative_share = 0.125;
  data.series = {s};
  const Figure f = density_figure(data);
  const auto all = parse_xml(f.svg);
  std::vector<size_t> points;  // of the curves
  for (const XmlElement& e : all) {
    if (e.name != "polyline") continue;
    const std::string& p = e.attributes.at("points");
    points.push_back(static_cast<size_t>(std::count(p.begin(), p.end(), ',')));
  }
  CHECK(points == std::vector<size_t>{3, 2});
  CHECK(std::count_if(all.begin(), all.end(), [](const XmlElement& e) {
          return e.text == "sigma = 0.25, 12.5 % below zero";
        }) == 1);
  CHECK(f.holes == 1);
  CHECK(f.alt ==
        "Density of the eigenvalues on a log scale. muon: densest at 0, quadrature nodes "
        "from -0.5 to 3.5, 12.5 % of the mass below zero.");
  const auto rows = read_csv(f.csv);
  REQUIRE(rows.size() == 10);
  CHECK(rows[3].at("density") == "1e-12");
  CHECK(rows[9].at("kind") == "node");
  CHECK(rows[9].at("eigenvalue") == "3.5");
  data.series[0].density.pop_back();
  CHECK_THROWS_WITH(density_figure(data), "spectral density: muon has 6 densities at 7 places");
  CHECK_THROWS_WITH(density_figure({}),
                    "spectral density: expects at least one series, given none");
}

TEST_CASE("diagnostics: a panel per method, bands, residual curves, tolerance") {
  const Diagnostics data = sample_diagnostics();
  const Figure f = diagnostics_figure(data);
  const auto all = parse_xml(f.svg);
  std::vector<std::string> texts;
  for (const XmlElement& e : all) {
    if (e.name == "text") texts.push_back(e.text);
  }
  for (const char* expected : {"trace: hutchinson", "trace: xtrace", "Lanczos", "tolerance"}) {
    CHECK(std::count(texts.begin(), texts.end(), expected) == 1);
  }
  const auto rows = read_csv(f.csv);
  CHECK(rows.size() == 4 * 25 + 10 * 16 + 1);
  CHECK(std::strtod(rows[7].at("low").c_str(), nullptr) == data.running[0].low[7]);
  CHECK(rows.back().at("kind") == "tolerance");
  CHECK(f.alt.find("Trace of AdamW by hutchinson after 100 probes: ") != f.alt.npos);
  CHECK_THROWS_WITH(diagnostics_figure({}),
                    "diagnostics: expects a running estimate or a residual curve, given none");
  Diagnostics alone;
  alone.running = {{"adam", "xtrace", {1, 2}, {1, 2}, {0, 1}, {2, 3}}};
  alone.conditions.level = 0;
  CHECK(diagnostics_figure(alone).caption == "Running trace estimate with its interval as a band.");
  Diagnostics bad;
  bad.running = {{"adam", "xtrace", {1, 2}, {1, 2}, {1}, {1, 2}}};
  CHECK_THROWS_WITH(diagnostics_figure(bad),
                    "diagnostics: adam, xtrace has 2 values, 1 and 2 ends for 2 probe counts");
}

}  // namespace
}  // namespace basin
