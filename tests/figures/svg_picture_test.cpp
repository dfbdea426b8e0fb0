// The picture of an SVG: shapes cover the pixels that geometry says, in part where they end inside
// one; clips, dashes, opacity, hatches and turned text do what the document asks for.
#include "basin/figures/detail/svg_picture.h"

#include <doctest/doctest.h>

#include <cmath>

#include "basin/figures/detail/coverage.h"
#include "basin/figures/svg.h"
#include "basin/tests/core/files.h"

namespace basin {
namespace {

constexpr Rgb kWhite{255, 255, 255}, kRed{255, 0, 0};

// How much ink of a black drawing there is, in pixels.
double ink(const Picture& p) {
  double sum = 0;
  for (const Rgb& c : p.pixels()) sum += (255 - c.g) / 255.0;
  return sum;
}

TEST_CASE("svg picture: areas and lengths are those of the shapes") {
  const auto area = [](double scale, auto draw) {
    Svg svg(60, 40, "t");
    draw(svg);
    return ink(svg_picture(svg.document(), scale)) / (scale * scale);
  };
  const Paint black{"#000000"};
  for (const double scale : {1.0, 2.0, 3.5}) {
    CHECK(area(scale, [&](Svg& s) { s.rect(10.25, 5.5, 20.5, 10.25, black); }) ==
          doctest::Approx(20.5 * 10.25).epsilon(0.01));
    CHECK(area(scale, [&](Svg& s) { s.circle(30, 20, 9, black); }) ==
          doctest::Approx(3.14159 * 81).epsilon(0.02));
    CHECK(area(scale, [&](Svg& s) {
            s.polyline({{10, 10}, {40, 10}, {10, 30}}, black);
          }) == doctest::Approx(300).epsilon(0.01));
    CHECK(area(scale, [&](Svg& s) {
            s.path("M5,5L35,5L35,35L5,35ZM15,15L25,15L25,25L15,25Z", black);  // with a hole
          }) == doctest::Approx(800).epsilon(0.01));
    // Length times width, and half a disc at each end.
    CHECK(area(scale, [&](Svg& s) {
            s.line(10, 10, 40, 30, {"none", "#000000", 2});
          }) == doctest::Approx(2 * std::hypot(30, 20) + 3.14).epsilon(0.03));
  }
  const double whole = area(2, [&](Svg& s) { s.line(5, 20, 55, 20, {"none", "#000000", 1}); });
  const double dashed = area(2, [&](Svg& s) {
    s.line(5, 20, 55, 20, {"none", "#000000", 1, 1, "5 5"});
  });
  CHECK(dashed == doctest::Approx(whole / 2).epsilon(0.15));
}

TEST_CASE("svg picture: colours, opacity, clip and hatch") {
  Svg svg(50, 20, "t");
  svg.rect(0, 0, 10, 10, {"#ff0000"});
  svg.rect(10, 0, 10, 10, {.fill = "#ff0000", .opacity = 0.5});
  svg.begin_clip(20, 0, 5, 20);
  svg.rect(20, 0, 20, 10, {"#0000ff"});
  svg.end_clip();
  svg.rect(40, 0, 10, 20, {svg.hatch({255, 0, 0}, {0, 255, 0})});
  const Picture p = svg_picture(svg.document(), 2);
  CHECK(p.width() == 100);
  CHECK(p.height() == 40);
  CHECK(p.at(5, 5) == kRed);
  CHECK(p.at(5, 25) == kWhite);
  CHECK(p.at(30, 5).r == 255);
  CHECK(std::abs(p.at(30, 5).g - 128) <= 1);
  CHECK(p.at(45, 5) == Rgb{0, 0, 255});
  CHECK(p.at(55, 5) == kWhite);  // outside the clip
  int lines = 0, ground = 0;
  for (int y = 0; y < 40; ++y) {
    for (int x = 82; x < 98; ++x) {
      lines += p.at(x, y) == kRed;
      ground += p.at(x, y) == Rgb{0, 255, 0};
    }
  }
  CHECK(lines + ground == 40 * 16);
  CHECK(lines / 640.0 == doctest::Approx(0.25).epsilon(0.2));
}

TEST_CASE("svg picture: text stands at its anchor, turned as it is") {
  const auto box = [](const TextStyle& style) {
    Svg svg(200, 200, "t");
    svg.text(100, 100, "[value] & more", style);
    const Picture p = svg_picture(svg.document(), 1);
    int left = 200, right = 0, top = 200, bottom = 0;
    for (int y = 0; y < 200; ++y) {
      for (int x = 0; x < 200; ++x) {
        if (p.at(x, y).g > 128) continue;
        left = std::min(left, x), right = std::max(right, x);
        top = std::min(top, y), bottom = std::max(bottom, y);
      }
    }
    return std::vector<int>{left, top, right, bottom};
  };
  const auto start = box({.size = 12});
  CHECK(start[0] >= 100);
  CHECK(start[0] <= 102);
  CHECK(start[1] == 93);  // seven rows above the base line
  CHECK(start[3] == 99);
  const auto end = box({.size = 12, .anchor = Anchor::end});
  CHECK(end[2] < 100);
  CHECK(end[2] >= 97);
  const auto middle = box({.size = 12, .anchor = Anchor::middle});
  CHECK(std::abs(middle[0] + middle[2] - 200) <= 3);
  const auto up = box({.size = 12, .turn = -90});  // reads upwards from the point
  CHECK(up[3] < 101);
  CHECK(up[1] < 30);
  CHECK(up[2] - up[0] == start[3] - start[1]);
  const auto slanted = box({.size = 12, .anchor = Anchor::end, .turn = -45});
  CHECK(slanted[2] <= 100);
  CHECK(slanted[3] > 140);
}

TEST_CASE("svg picture: letters beside ASCII have a face, others a box of one character") {
  CHECK(in_face("abc") == "abc");
  CHECK(in_face("\u03bb max").size() == 5);
  CHECK(in_face("\u22121") == "-1");
  const std::string_view box = glyph(in_face("\u2603").front());  // a snowman
  CHECK(in_face("\u2603").size() == 1);
  for (const char* known : {"\u03bb", "\u00b1"}) {
    CHECK(glyph(in_face(known).front()) != box);
  }
}

TEST_CASE("svg picture: what Svg does not write is refused") {
  using test::check_error;
  const std::string head = "<svg width=\"10\" height=\"10\">";
  check_error(ErrorKind::usage, {"<ellipse>"}, [&] { svg_picture(head + "<ellipse/></svg>"); });
  check_error(ErrorKind::usage, {"path command 'C'"},
              [&] { svg_picture(head + "<path d=\"M1,1C2,2\" fill=\"none\"/></svg>"); });
  check_error(ErrorKind::usage, {"number 'x'"},
              [&] { svg_picture(head + "<rect x=\"x\" width=\"1\" height=\"1\"/></svg>"); });
  check_error(ErrorKind::usage, {"no <svg>"}, [&] { svg_picture("plain"); });
  check_error(ErrorKind::usage, {"an open tag"}, [&] { svg_picture(head + "<rect"); });
  check_error(ErrorKind::usage, {"1 to 32768"},
              [&] { svg_picture("<svg width=\"99999\" height=\"1\"></svg>"); });
  check_error(ErrorKind::usage, {"scale > 0"}, [&] { svg_picture(head + "</svg>", 0); });
}

TEST_CASE("coverage: crossing lines of one drawing do not darken, shapes outside are harmless") {
  Picture picture(20, 20);
  Coverage coverage(20, 20);
  coverage.stroke({0, 10}, {20, 10}, 4);
  coverage.stroke({10, 0}, {10, 20}, 4);
  coverage.stroke({-500, -500}, {-400, 900}, 4);
  coverage.disc({1e6, 3}, 5);
  coverage.fill({{{-50, -50}, {-40, -50}, {-40, -40}}}, false);
  coverage.blend(picture, {0, 0, 20, 20}, 0.5, [](int, int) { return Rgb{0, 0, 0}; });
  CHECK(picture.at(10, 10) == picture.at(3, 10));
  CHECK(picture.at(10, 10).r == 128);
  CHECK(picture.at(3, 3) == kWhite);
  coverage.blend(picture, {0, 0, 20, 20}, 1, [](int, int) { return Rgb{0, 0, 0}; });
  CHECK(picture.at(10, 10).r == 128);  // the shapes were forgotten
}

}  // namespace
}  // namespace basin
