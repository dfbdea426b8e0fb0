// A small SVG 1.1 writer for figures: shapes, text and hatched fills in the order of the calls, on
// a white background. Lengths are in pixels from the top left corner; numbers are written with at
// most two decimals and a point, whatever the locale. Text is escaped, so any label is safe. The
// title becomes <title>, which browsers and screen readers show.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "basin/figures/colour.h"

namespace basin {

struct Paint {
  std::string fill = "none";  // a colour, or what Svg::hatch returned
  std::string stroke = "none";
  double width = 1;  // of the stroke
  double opacity = 1;
  std::string dash = {};  // e.g. "4 3"
};

enum class Anchor : uint8_t { start, middle, end };

struct TextStyle {
  double size = 12;
  Anchor anchor = Anchor::start;
  std::string fill = "#222222";
  bool bold = false;
  double turn = 0;  // degrees about (x, y), clockwise
};

class Svg {
 public:
  Svg(double width, double height, std::string_view title);

  // `hint` is shown when the pointer rests on the shape.
  void rect(double x, double y, double w, double h, const Paint& paint, std::string_view hint = {});
  void circle(double x, double y, double r, const Paint& paint, std::string_view hint = {});
  void line(double x1, double y1, double x2, double y2, const Paint& paint);
  void polyline(const std::vector<std::pair<double, double>>& points, const Paint& paint);
  // `data` is a path in the SVG syntax; holes by the even-odd rule.
  void path(const std::string& data, const Paint& paint, std::string_view hint = {});
  void text(double x, double y, std::string_view words, const TextStyle& style = {});
  // What is drawn from here to end_clip shows inside this rectangle only. Not nested.
  void begin_clip(double x, double y, double w, double h);
  void end_clip();
  // Declares diagonal lines of `line` on `ground`; the result is a fill.
  std::string hatch(Rgb line, Rgb ground);

  std::string document() const;  // the complete document

 private:
  void shape(const std::string& element, const std::string& attributes, const Paint& paint,
             std::string_view hint);
  double width_, height_;
  std::string title_, patterns_, body_;
  int hatches_ = 0;
};

// Safe as text and as an attribute, and UTF-8 whatever the bytes (core/utf8.h).
std::string xml_escape(std::string_view words);
std::string svg_number(double value);  // at most two decimals

// About how wide a text (UTF-8) is drawn: the mean advance of a sans-serif face times the
// characters.
double text_width(std::string_view words, double size);

// A text cut at spaces into lines of at most `width`; a longer word stands alone.
std::vector<std::string> wrapped(std::string_view words, double size, double width);

}  // namespace basin
