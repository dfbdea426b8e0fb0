// Writes SVG elements as text: escaping, wrapping, numbers without a locale.
#include "basin/figures/svg.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "basin/core/error.h"

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

// Bytes of the UTF-8 character that `text` starts with; 0 where it starts with none, or with one
// that XML does not allow (surrogates, U+FFFE, U+FFFF).
size_t character_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return 0;
  uint32_t code = lead & (0xFFu >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
    code = code << 6 | (byte(i) & 0x3F);
  }
  constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool forbidden =
      (code >= 0xD800 && code < 0xE000) || code == 0xFFFE || code == 0xFFFF || code > 0x10FFFF;
  return code < kSmallest[length] || forbidden ? 0 : length;
}

}  // namespace

std::string xml_escape(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t length = character_length(text.substr(at));
    const std::string_view character = text.substr(at, std::max<size_t>(length, 1));
    at += character.size();
    const char c = character.front();
    if (length == 0) {
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
