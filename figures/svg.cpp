// Writes SVG elements as text: escaping, wrapping, numbers without a locale.
#include "basin/figures/svg.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "basin/core/error.h"
#include "basin/core/utf8.h"

namespace basin {
namespace {

std::string attribute(std::string_view name, double value) {
  return str(" ", name, "=\"", svg_number(value), "\"");
}

std::string paint_attributes(const Paint& p) {
  std::string out = str(" fill=\"", xml_escape(p.fill), "\"");
  if (p.stroke != "none") {
    out += str(" stroke=\"", xml_escape(p.stroke), "\"") + attribute("stroke-width", p.width);
    if (!p.dash.empty()) out += str(" stroke-dasharray=\"", xml_escape(p.dash), "\"");
  }
  if (p.opacity < 1) out += attribute("opacity", p.opacity);
  return out;
}

// U+FFFE and U+FFFF, which XML does not allow.
bool is_noncharacter(std::string_view character) {
  return character == "\xEF\xBF\xBE" || character == "\xEF\xBF\xBF";
}

}  // namespace

std::string xml_escape(std::string_view words) {
  const std::string text = to_utf8(words);
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const std::string_view rest = std::string_view(text).substr(at);
    const std::string_view character = rest.substr(0, utf8_length(rest));
    at += character.size();
    const char c = character.front();
    if (is_noncharacter(character)) {
      out += "\xEF\xBF\xBD";  // the replacement character, U+FFFD
    } else if (static_cast<unsigned char>(c) < 32) {
      out += ' ';  // control characters are not allowed in XML at all
    } else if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else {
      out += character;
    }
  }
  return out;
}

std::string svg_number(double value) {
  check(std::isfinite(value), "svg: expects finite coordinates, given ", value);
  std::array<char, 400> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 std::chars_format::fixed, 2)
                       .ptr;
  std::string out(buffer.data(), end);
  out.erase(out.find_last_not_of('0') + 1);
  if (out.back() == '.') out.pop_back();
  return out == "-0" ? "0" : out;
}

double text_width(std::string_view words, double size) {
  const auto characters = std::count_if(words.begin(), words.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;  // not the rest of a character
  });
  return 0.56 * size * static_cast<double>(characters);
}

std::vector<std::string> wrapped(std::string_view words, double size, double width) {
  std::vector<std::string> lines;
  while (!words.empty()) {
    const size_t end = std::min(words.find(' '), words.size());
    const std::string word(words.substr(0, end));
    words.remove_prefix(std::min(end + 1, words.size()));
    const bool fits = !lines.empty() && text_width(lines.back() + " " + word, size) <= width;
    if (fits) lines.back() += " " + word;
    if (!fits) lines.push_back(word);
  }
  return lines;
}

Svg::Svg(double width, double height, std::string_view title)
    : width_(width), height_(height), title_(xml_escape(title)) {
  check(width > 0 && height > 0, "svg: expects a positive size, given ", width, " x ", height);
}

void Svg::shape(const std::string& element, const std::string& attributes, const Paint& paint,
                std::string_view hint) {
  body_ += str("<", element, attributes, paint_attributes(paint));
  body_ += hint.empty() ? "/>\n" : str("><title>", xml_escape(hint), "</title></", element, ">\n");
}

void Svg::rect(double x, double y, double w, double h, const Paint& paint, std::string_view hint) {
  shape("rect",
        attribute("x", x) + attribute("y", y) + attribute("width", w) + attribute("height", h),
        paint, hint);
}

void Svg::circle(double x, double y, double r, const Paint& paint, std::string_view hint) {
  shape("circle", attribute("cx", x) + attribute("cy", y) + attribute("r", r), paint, hint);
}

void Svg::line(double x1, double y1, double x2, double y2, const Paint& paint) {
  shape("line",
        attribute("x1", x1) + attribute("y1", y1) + attribute("x2", x2) + attribute("y2", y2),
        paint, {});
}

void Svg::polyline(const std::vector<std::pair<double, double>>& points, const Paint& paint) {
  std::string list;
  for (const auto& [x, y] : points) {
    list += str(list.empty() ? "" : " ", svg_number(x), ",", svg_number(y));
  }
  shape("polyline", str(" points=\"", list, "\""), paint, {});
}

void Svg::path(const std::string& data, const Paint& paint, std::string_view hint) {
  shape("path", str(" d=\"", xml_escape(data), "\" fill-rule=\"evenodd\""), paint, hint);
}

void Svg::begin_clip(double x, double y, double w, double h) {
  // Named by its rectangle: figures that stand in one document may share the name.
  const std::string id =
      str("clip_", svg_number(x), "_", svg_number(y), "_", svg_number(w), "_", svg_number(h));
  if (patterns_.find(str("\"", id, "\"")) == patterns_.npos) {
    patterns_ += str("<clipPath id=\"", id, "\"><rect", attribute("x", x), attribute("y", y),
                     attribute("width", w), attribute("height", h), "/></clipPath>\n");
  }
  body_ += str("<g clip-path=\"url(#", id, ")\">\n");
}

void Svg::end_clip() { body_ += "</g>\n"; }

void Svg::text(double x, double y, std::string_view words, const TextStyle& style) {
  if (words.empty()) return;
  constexpr const char* anchors[] = {"start", "middle", "end"};
  std::string attributes = attribute("x", x) + attribute("y", y) +
                           attribute("font-size", style.size) +
                           str(" fill=\"", xml_escape(style.fill), "\"");
  if (style.anchor != Anchor::start) {
    attributes += str(" text-anchor=\"", anchors[static_cast<int>(style.anchor)], "\"");
  }
  if (style.bold) attributes += " font-weight=\"bold\"";
  if (style.turn != 0) {
    attributes += str(" transform=\"rotate(", svg_number(style.turn), " ", svg_number(x), " ",
                      svg_number(y), ")\"");
  }
  body_ += str("<text", attributes, ">", xml_escape(words), "</text>\n");
}

std::string Svg::hatch(Rgb line, Rgb ground) {
  const std::string id = str("hatch", ++hatches_);
  patterns_ += str("<pattern id=\"", id,
                   "\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" "
                   "patternTransform=\"rotate(45)\"><rect width=\"6\" height=\"6\" fill=\"",
                   css(ground), "\"/><rect width=\"1.5\" height=\"6\" fill=\"", css(line),
                   "\"/></pattern>\n");
  return str("url(#", id, ")");
}

std::string Svg::document() const {
  const std::string w = svg_number(width_), h = svg_number(height_);
  std::string out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
  out += str("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"", w, "\" height=\"", h,
             "\" viewBox=\"0 0 ", w, " ", h,
             "\" font-family=\"Helvetica, Arial, sans-serif\" role=\"img\">\n<title>", title_,
             "</title>\n");
  if (!patterns_.empty()) out += "<defs>\n" + patterns_ + "</defs>\n";
  out += str("<rect x=\"0\" y=\"0\" width=\"", w, "\" height=\"", h, "\" fill=\"#ffffff\"/>\n");
  return out + body_ + "</svg>\n";
}

}  // namespace basin
