// Figures: the SVG is well-formed, holds one shape per number with the right value and colour, and
// never draws what was not measured; the PNG decodes to the pixels that went in.
#include <doctest/doctest.h>
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "basin/core/error.h"
#include "basin/figures/heat_map.h"
#include "basin/figures/png.h"
#include "basin/figures/strip_plot.h"
#include "basin/figures/svg.h"
#include "basin/tests/analysis/xml.h"

namespace basin {
namespace {

using testing::hints_of;
using testing::parse_xml;
using testing::XmlElement;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

HeatMap small_map() {
  HeatMap map;
  map.title = "errors of <A> & \"B\"";
  map.notes = {"seed 2021"};
  map.column_axis = "severity";
  map.row_axis = "corruption";
  map.value_axis = "error rate, %";
  map.columns = {"1", "2", "mean"};
  map.rows = {{"uniform", "noise", {0, 50, 25}},
              {"impulse", "noise", {12.34, kNaN, 12.34}},
              {"lidar", "density", {}, "needs meshes"},
              {"cutout", "density", {100, 100, 100}}};
  map.high = 100;
  map.separated_columns = 1;
  return map;
}

TEST_CASE("colour: the sequential map darkens evenly, ink is readable on all of it") {
  double before = 2;
  for (int i = 0; i <= 100; ++i) {
    const Rgb colour = sequential_colour(i / 100.0);
    CHECK(luminance(colour) < before);
    before = luminance(colour);
    const double a = luminance(colour) + 0.05, b = luminance(ink_on(colour)) + 0.05;
    CHECK(std::max(a, b) / std::min(a, b) > 4.5);  // WCAG's bound for text
  }
  CHECK(sequential_colour(-1) == sequential_colour(0));
  CHECK(sequential_colour(2) == sequential_colour(1));
  CHECK(css({1, 171, 255}) == "#01abff");
  CHECK(luminance({255, 255, 255}) == doctest::Approx(1));
}

TEST_CASE("colour: the diverging map is light in its middle, and its ends differ") {
  CHECK(luminance(diverging_colour(0.5)) > 0.9);
  CHECK(luminance(diverging_colour(0)) < luminance(diverging_colour(0.25)));
  CHECK(luminance(diverging_colour(1)) < luminance(diverging_colour(0.75)));
  CHECK_FALSE(diverging_colour(0) == diverging_colour(1));
  CHECK(diverging_colour(-1) == diverging_colour(0));
  HeatMap map{.title = "t",
              .columns = {"a", "b"},
              .rows = {{"r", "", {-1, 1}}},
              .low = -1,
              .high = 1,
              .diverging = true};
  CHECK(heat_map_svg(map).find(css(diverging_colour(0))) != std::string::npos);
  CHECK(heat_map_svg(map).find(css(diverging_colour(1))) != std::string::npos);
}

TEST_CASE("svg: numbers, escaping, refusals") {
  CHECK(svg_number(1.005) == "1");
  CHECK(svg_number(-0.001) == "0");
  CHECK(svg_number(12.5) == "12.5");
  CHECK(svg_number(100) == "100");
  CHECK(xml_escape("a<b & \"c\">\n") == "a&lt;b &amp; &quot;c&quot;&gt; ");
  CHECK_THROWS_AS(svg_number(kNaN), Error);
  Svg svg(100, 50, "t < u");
  svg.rect(1, 2, 3, 4, {svg.hatch({1, 2, 3}, {4, 5, 6})}, "hint & more");
  svg.polyline({{0, 0}, {1.234, 5}}, {"none", "#000000", 2, 0.5, "3 1"});
  const auto all = parse_xml(svg.document());
  REQUIRE(all.front().name == "svg");
  CHECK(all.front().attributes.at("viewBox") == "0 0 100 50");
  CHECK(all[1].text == "t < u");
  CHECK(hints_of(all, "rect") == std::vector<std::string>{"hint & more"});
  const auto line = std::find_if(all.begin(), all.end(),
                                 [](const XmlElement& e) { return e.name == "polyline"; });
  REQUIRE(line != all.end());
  CHECK(line->attributes.at("points") == "0,0 1.23,5");
  CHECK(line->attributes.at("stroke-dasharray") == "3 1");
}

TEST_CASE("heat map: one annotated cell per number, holes and reasons where there is none") {
  const auto all = parse_xml(heat_map_svg(small_map()));
  CHECK(hints_of(all, "rect") ==
        std::vector<std::string>{"uniform, severity 1: 0.0", "uniform, severity 2: 50.0",
                                 "uniform, severity mean: 25.0", "impulse, severity 1: 12.3",
                                 "impulse, severity 2: no value", "impulse, severity mean: 12.3",
                                 "lidar: needs meshes", "cutout, severity 1: 100.0",
                                 "cutout, severity 2: 100.0", "cutout, severity mean: 100.0"});
  // The fill of a cell is that of its value; of a hole and of a reason it is the hatch.
  std::vector<std::string> fills, texts;
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i].name == "title" && all[i].parent == "rect") {
      fills.push_back(all[i - 1].attributes.at("fill"));
    }
    if (all[i].name == "text") texts.push_back(all[i].text);
  }
  REQUIRE(fills.size() == 10);
  CHECK(fills[0] == css(sequential_colour(0)));
  CHECK(fills[1] == css(sequential_colour(0.5)));
  CHECK(fills[4] == "url(#hatch1)");
  CHECK(fills[6] == "url(#hatch1)");
  CHECK(fills[7] == css(sequential_colour(1)));
  const auto count = [&](const std::string& t) {
    return std::count(texts.begin(), texts.end(), t);
  };
  CHECK(count("errors of <A> & \"B\"") == 1);
  CHECK(count("needs meshes") == 1);
  CHECK(count("noise") == 1);
  CHECK(count("density") == 1);
  CHECK(count("severity") == 1);
  CHECK(count("corruption") == 1);
  CHECK(count("error rate, %") == 1);
  CHECK(count("50.0") == 1);
  HeatMap bad = small_map();
  bad.rows[0].values.pop_back();
  CHECK_THROWS_WITH(heat_map_svg(bad),
                    "heat map: row uniform has 2 values for 3 columns and gives no reason");
}

TEST_CASE("heat map: column names wider than a cell stand on end, a negative zero is none") {
  HeatMap map = small_map();
  map.columns[1] = "pointnet-adamw-seed-1";
  map.rows[0].values[0] = -0.04;
  int64_t upright = 0, zeros = 0;
  for (const XmlElement& e : parse_xml(heat_map_svg(map))) {
    const bool turned = e.attributes.contains("transform");
    for (const std::string& column : map.columns) upright += turned && e.text == column;
    zeros += e.name == "text" && e.text == "0.0";
    CHECK(e.text != "-0.0");
  }
  CHECK(upright == 3);
  CHECK(zeros == 1);
  for (const XmlElement& e : parse_xml(heat_map_svg(small_map()))) {
    CHECK((e.text != "2" || !e.attributes.contains("transform")));
  }
}

TEST_CASE("strip plot: every measurement is a dot at its height, zeros below the axis") {
  StripPlot plot;
  plot.title = "errors";
  plot.value_axis = "relative error";
  plot.categories = {"layer1", "logits"};
  plot.series = {"f32", "f64"};
  plot.panels = {{"rotation", true, "declared", {{{1e-2, 1e-4}, {0}}, {{1e-3}, {INFINITY}}}}};
  const auto all = parse_xml(strip_plot_svg(plot));
  CHECK(hints_of(all, "circle") ==
        std::vector<std::string>{"layer1, f32: 0.01", "layer1, f32: 0.0001", "layer1, f64: 0",
                                 "logits, f32: 0.001", "logits, f64: inf"});
  std::vector<double> heights;
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i].name != "title" || all[i].parent != "circle") continue;
    heights.push_back(std::stod(all[i - 1].attributes.at("cy")));
  }
  REQUIRE(heights.size() == 5);
  CHECK(heights[0] < heights[3]);  // larger is higher, y runs down
  CHECK(heights[3] - heights[0] == doctest::Approx(heights[1] - heights[3]).epsilon(1e-3));
  CHECK(heights[2] > heights[1]);   // zero lies below every decade
  CHECK(heights[4] <= heights[0]);  // off scale: the upper edge
  plot.panels[0].values.pop_back();
  CHECK_THROWS_AS(strip_plot_svg(plot), Error);
}

TEST_CASE("picture: depth decides, text lands on its pixels, every glyph is 35 pixels") {
  Picture picture(40, 20);
  picture.ball(10, 10, 1, 5, {200, 0, 0});
  picture.ball(10, 10, -8, 5, {0, 200, 0});  // behind
  CHECK(picture.at(10, 10).g == 0);
  CHECK(picture.at(10, 10).r > 100);
  CHECK(picture.at(0, 0) == Rgb{255, 255, 255});
  picture.ball(10, 10, 20, 2, {0, 0, 200});  // in front
  CHECK(picture.at(10, 10).b > 60);
  picture.text(20, 2, "L", {0, 0, 0});
  CHECK(picture.at(20, 2) == Rgb{0, 0, 0});
  CHECK(picture.at(24, 8) == Rgb{0, 0, 0});
  CHECK(picture.at(22, 4) == Rgb{255, 255, 255});
  picture.ball(-3, -3, 0, 10, {1, 1, 1});  // clipped, not outside
  CHECK_THROWS_AS(picture.at(40, 0), Error);
  for (int c = 32; c < 127; ++c) CHECK(glyph(static_cast<char>(c)).size() == 35);
  for (const char* a = "abcdefghijklmnopqrstuvwxyz0123456789_"; *a; ++a) {
    CHECK(glyph(*a) != glyph('\x01'));
  }
  CHECK(text_pixels("ab") == 11);
}

// Chunks, their CRC-32, the zlib stream and the five line filters of the PNG specification.
std::vector<Rgb> decode_png(const std::vector<uint8_t>& bytes, int& width, int& height) {
  const auto u32 = [&](size_t at) {
    return static_cast<uint32_t>(bytes.at(at)) << 24 |
           static_cast<uint32_t>(bytes.at(at + 1)) << 16 |
           static_cast<uint32_t>(bytes.at(at + 2)) << 8 | bytes.at(at + 3);
  };
  REQUIRE(std::string(bytes.begin(), bytes.begin() + 8) == "\x89PNG\r\n\x1a\n");
  std::vector<uint8_t> packed;
  for (size_t at = 8; at < bytes.size();) {
    const uint32_t n = u32(at);
    const std::string type(bytes.begin() + static_cast<std::ptrdiff_t>(at) + 4,
                           bytes.begin() + static_cast<std::ptrdiff_t>(at) + 8);
    REQUIRE(crc32(0, bytes.data() + at + 4, n + 4) == u32(at + 8 + n));
    if (type == "IHDR") {
      width = static_cast<int>(u32(at + 8)), height = static_cast<int>(u32(at + 12));
      REQUIRE(bytes[at + 16] == 8);
      REQUIRE(bytes[at + 17] == 2);
    }
    if (type == "IDAT") packed.insert(packed.end(), &bytes[at + 8], &bytes[at + 8] + n);
    at += 12 + n;
  }
  const size_t stride = 3 * static_cast<size_t>(width);
  std::vector<uint8_t> raw((stride + 1) * static_cast<size_t>(height));
  uLongf size = raw.size();
  REQUIRE(uncompress(raw.data(), &size, packed.data(), packed.size()) == Z_OK);
  REQUIRE(size == raw.size());
  std::vector<uint8_t> out(stride * static_cast<size_t>(height));
  for (size_t y = 0; y < static_cast<size_t>(height); ++y) {
    const uint8_t filter = raw[y * (stride + 1)];
    for (size_t i = 0; i < stride; ++i) {
      const int a = i >= 3 ? out[y * stride + i - 3] : 0, b = y > 0 ? out[(y - 1) * stride + i] : 0;
      const int c = i >= 3 && y > 0 ? out[(y - 1) * stride + i - 3] : 0;
      const int p = a + b - c, da = std::abs(p - a), db = std::abs(p - b), dc = std::abs(p - c);
      const int paeth = da <= db && da <= dc ? a : db <= dc ? b : c;
      const int guess[] = {0, a, b, (a + b) / 2, paeth};
      out[y * stride + i] = static_cast<uint8_t>(raw[y * (stride + 1) + 1 + i] + guess[filter]);
    }
  }
  std::vector<Rgb> pixels;
  for (size_t i = 0; i < out.size(); i += 3) pixels.push_back({out[i], out[i + 1], out[i + 2]});
  return pixels;
}

TEST_CASE("png: decodes to the pixels that went in") {
  Picture picture(67, 31, {250, 240, 230});
  picture.ball(30, 15, 0, 12, {0, 90, 170});
  picture.text(3, 3, "png 1.0", {10, 20, 30});
  int width = 0, height = 0;
  const std::vector<uint8_t> bytes = encode_png(picture);
  CHECK(decode_png(bytes, width, height) == picture.pixels());
  CHECK(width == 67);
  CHECK(height == 31);
  CHECK(encode_png(picture) == bytes);
}

}  // namespace
}  // namespace basin
