// Figures of spectra and of training: positions, names, holes, and the numbers beside them.
#include "basin/figures/spectrum_figures.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "basin/core/error.h"
#include "basin/core/random.h"
#include "basin/figures/svg.h"
#include "basin/tests/analysis/read_csv.h"
#include "basin/tests/analysis/xml.h"
#include "basin/tests/figures/figure_samples.h"

namespace basin {
namespace {

using namespace testing;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::vector<std::string> texts_of(const std::vector<XmlElement>& all) {
  std::vector<std::string> out;
  for (const XmlElement& e : all) {
    if (e.name == "text") out.push_back(e.text);
  }
  return out;
}

bool contains(const std::vector<std::string>& list, const std::string& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

LayerRanks small_ranks() {
  LayerRanks d;
  d.title = "ranks";
  d.layers = {"a.weight", "b.weight", "c.weight"};
  d.panels = {
      {"stable rank",
       {{"adam", {estimate(0.2, 0.1, 0.3), estimate(kNaN, kNaN, kNaN), estimate(0.4, 0.4, 0.4)}},
        {"muon", {estimate(0.5, 0.4, 0.6), estimate(0.6, 0.5, 0.7), estimate(0.8, 0.7, 0.9)}},
        {"initial",
         {estimate(0.9, 0.9, 0.9), estimate(0.9, 0.9, 0.9), estimate(0.9, 0.9, 0.9)},
         {},
         true}}}};
  d.skipped = {{"d.weight", "one row"}};
  return d;
}

TEST_CASE("layer ranks: the caption counts skipped vectors, the CSV names them") {
  LayerRanks d = small_ranks();
  const auto caption = [&d] { return weight_rank_figure(d).caption; };
  CHECK(caption().find(" Skipped: d.weight (one row).") != std::string::npos);
  for (int i = 0; i < 18; ++i) {
    d.skipped.push_back({str("conv", i, ".bias"), "a bias is a vector", "bias"});
    d.skipped.push_back({str("bn", i, ".weight"), "a gain is a vector", "gain"});
  }
  CHECK(caption().find(" Skipped: 36 vectors (18 biases, 18 gains); d.weight (one row).") !=
        std::string::npos);
  CHECK(caption().find("conv3.bias") == std::string::npos);
  CHECK(weight_rank_figure(d).csv.find("conv3.bias,skipped,,,,,,a bias is a vector") !=
        std::string::npos);
  d.skipped = {{"fc.bias", "a bias is a vector", "bias"}};
  CHECK(caption().find(" Skipped: 1 vector (1 bias).") != std::string::npos);
  d.skipped.assign(6, {"x", "odd"});
  CHECK(caption().find("Skipped: x (odd); x (odd); x (odd); x (odd); 2 more, in the CSV.") !=
        std::string::npos);
  d.skipped.clear();
  CHECK(caption().find("Skipped") == std::string::npos);
}

TEST_CASE("layer ranks: a marker per number at its height, a hole breaks the line") {
  const Figure f = weight_rank_figure(small_ranks());
  CHECK(f.name == "weight_rank");
  const auto all = parse_xml(f.svg);
  CHECK(hints_of(all, "circle") ==
        std::vector<std::string>{"a.weight, adam: 0.2 [0.1, 0.3]", "c.weight, adam: 0.4"});
  const auto squares = hints_of(all, "rect");
  CHECK(squares.size() == 3);
  // Heights: 0.2 and 0.4 of adam against 0.4 .. 0.8 of muon on one linear axis from zero.
  std::vector<double> circles, middles;
  for (size_t i = 1; i < all.size(); ++i) {
    if (all[i].name != "title") continue;
    const auto& a = all[i - 1].attributes;
    if (all[i].parent == "circle") circles.push_back(std::stod(a.at("cy")));
    if (all[i].parent == "rect") {
      middles.push_back(std::stod(a.at("y")) + std::stod(a.at("height")) / 2);
    }
  }
  REQUIRE(circles.size() == 2);
  REQUIRE(middles.size() == 3);
  const double unit = (circles[0] - circles[1]) / 0.2;
  CHECK((middles[0] - middles[2]) / 0.3 == doctest::Approx(unit).epsilon(1e-3));
  // adam's line is broken by the hole: no line of two points is left; muon and initial have one.
  const auto lines = std::count_if(all.begin(), all.end(), [](const XmlElement& e) {
    return e.name == "polyline" && e.attributes.at("fill") == "none";
  });
  CHECK(lines == 2);
  const auto texts = texts_of(all);
  CHECK(contains(texts, "a"));  // the common ending is left out
  CHECK(contains(texts, "layer, from input to output (*.weight)"));
  CHECK(!contains(texts, "a.weight"));
  CHECK(f.holes == 1);
  CHECK(f.caption.find("Skipped: d.weight (one row).") != f.caption.npos);
  CHECK(f.caption.find("1 number is not finite and is not drawn.") != f.caption.npos);
  CHECK(f.alt ==
        "Lines over 3 layers, from a.weight to c.weight. stable rank: adam mean 0.3, from "
        "0.2 at a.weight to 0.4 at c.weight; muon mean 0.6333, from 0.5 at a.weight to 0.8 "
        "at c.weight; initial mean 0.9, from 0.9 at a.weight to 0.9 at a.weight.");
  const auto rows = read_csv(f.csv);
  REQUIRE(rows.size() == 10);
  CHECK(rows[1].at("value") == "nan");
  CHECK(rows[4].at("value") == "0.6");
  CHECK(rows[6].at("kind") == "reference");
  CHECK(rows[9].at("reason") == "one row");
}

TEST_CASE("layer ranks: refusals, one layer, many long names") {
  CHECK_THROWS_WITH(weight_rank_figure({}),
                    "weight ranks: expects at least one layer and one panel, given 0 and 0");
  LayerRanks bad = small_ranks();
  bad.panels[0].series[1].values.pop_back();
  CHECK_THROWS_WITH(representation_rank_figure(bad),
                    "representation ranks: panel stable rank, muon has 2 values for 3 layers");
  LayerRanks one;
  one.title = "one";
  one.layers = {"only.weight"};
  one.panels = {{"p", {{"adam", {estimate(1, 1, 1)}}}}};
  CHECK(contains(texts_of(parse_xml(weight_rank_figure(one).svg)), "only.weight"));
  LayerRanks many;
  many.title = "many";
  many.panels = {{"p", {{"adam", {}}}}};
  for (int i = 0; i < 80; ++i) {
    many.layers.push_back(str("encoder.blocks.", i, ".attention.projection", i % 2 ? ".w" : ".v"));
    many.panels[0].series[0].values.push_back(estimate(i, i, i));
  }
  const auto all = parse_xml(weight_rank_figure(many).svg);
  CHECK(contains(texts_of(all), "17.attention.projection.w"));
  CHECK(contains(texts_of(all), "layer, from input to output (encoder.blocks.*)"));
  const double width = std::stod(all[0].attributes.at("width"));
  for (const XmlElement& e : all) {
    if (e.name != "text" || e.attributes.count("transform") == 0) continue;
    CHECK(text_width(e.text, 11) <= 170);
    CHECK(std::stod(e.attributes.at("x")) < width);
  }
}

TEST_CASE("Marchenko-Pastur edge: the largest singular value of a random matrix lies on it") {
  // diag(a, b) has Frobenius norm sqrt(a^2 + b^2).
  CHECK(marchenko_pastur_edge({3, 4}, 2, 2) == doctest::Approx(5.0 / 2 * 2 * std::sqrt(2.0) / 4));
  // A Gaussian matrix by power iteration on W^T W.
  constexpr int kRows = 200, kCols = 100;
  std::vector<double> w(kRows * kCols), v(kCols, 1.0), u(kRows);
  Rng random(7, 0);
  for (double& x : w) x = random.normal();
  double sigma = 0, squares = 0;
  for (const double x : w) squares += x * x;
  for (int round = 0; round < 300; ++round) {
    for (int r = 0; r < kRows; ++r) {
      u[r] = 0;
      for (int c = 0; c < kCols; ++c) u[r] += w[r * kCols + c] * v[c];
    }
    double norm = 0;
    for (int c = 0; c < kCols; ++c) {
      v[c] = 0;
      for (int r = 0; r < kRows; ++r) v[c] += w[r * kCols + c] * u[r];
      norm += v[c] * v[c];
    }
    norm = std::sqrt(norm);
    sigma = std::sqrt(norm);
    for (double& x : v) x /= norm;
  }
  // All the rest of the Frobenius norm in one more value: the edge depends on the norm alone.
  const double edge =
      marchenko_pastur_edge({sigma, std::sqrt(squares - sigma * sigma)}, kRows, kCols);
  const double largest = std::max(sigma, std::sqrt(squares - sigma * sigma));
  CHECK(edge * largest == doctest::Approx(sigma).epsilon(0.04));
}

TEST_CASE("singular values: relative to the largest, the raw ones in the CSV") {
  SingularSpectra data;
  data.panels = {{"conv<1>", 3, 3, {{"adam", {4, 2, 1}}, {"muon", {3, kNaN, 0}}}}};
  const Figure f = singular_value_figure(data);
  CHECK(f.holes == 1);
  const auto all = parse_xml(f.svg);
  CHECK(contains(texts_of(all), "conv<1>"));
  CHECK(contains(texts_of(all), "3 x 3"));
  CHECK(hints_of(all, "circle") ==
        std::vector<std::string>{"adam: 1, 1", "adam: 2, 0.5", "adam: 3, 0.25"});
  const auto rows = read_csv(f.csv);
  REQUIRE(rows.size() == 6);
  CHECK(rows[1].at("singular_value") == "2");
  CHECK(rows[1].at("relative") == "0.5");
  CHECK(std::strtod(rows[1].at("marchenko_pastur_edge").c_str(), nullptr) ==
        marchenko_pastur_edge({4, 2, 1}, 3, 3));
  CHECK(rows[4].at("relative") == "nan");
  CHECK_THROWS_WITH(singular_value_figure({}),
                    "singular values: expects at least one panel, given none");
}

TEST_CASE("training curves: panels share the steps, runs are faint, every number is in the CSV") {
  const TrainingCurves data = sample_training();
  const Figure f = training_figure(data);
  const auto all = parse_xml(f.svg);
  for (const TrainingPanel& p : data.panels) CHECK(contains(texts_of(all), p.quantity));
  const auto rows = read_csv(f.csv);
  REQUIRE(rows.size() == 3 * 2 * 4 * 41);
  CHECK(std::strtod(rows[5].at("value").c_str(), nullptr) == data.panels[0].series[0].values[5]);
  CHECK(std::strtod(rows[41 + 5].at("value").c_str(), nullptr) ==
        data.panels[0].series[0].runs[0][5]);
  CHECK(f.alt.find("largest eigenvalue: AdamW from 4 at step 0 to 46.99 at step 2000") !=
        f.alt.npos);
  TrainingCurves bad = data;
  bad.panels[1].series[0].values.pop_back();
  CHECK_THROWS_WITH(training_figure(bad),
                    "training curves: largest eigenvalue, AdamW has 40 values for 41 steps");
  CHECK_THROWS_WITH(training_figure({}), "training curves: expects at least one panel, given none");
}

}  // namespace
}  // namespace basin
