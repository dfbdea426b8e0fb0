// The SVG writer: see svg.h.
#include "basin/analysis/svg.h"

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

}  // namespace

std::string xml_escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default:
        // Control characters are not allowed in XML at all.
        out += static_cast<unsigned char>(c) < 32 ? ' ' : c;
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
  return 0.56 * size * static_cast<double>(words.size());
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

void Svg::polyline(const std::vector<std::pair<double, double>>& points, const Paint& paint,
                   std::string_view hint) {
  std::string list;
  for (const auto& [x, y] : points) {
    list += str(list.empty() ? "" : " ", svg_number(x), ",", svg_number(y));
  }
  shape("polyline", str(" points=\"", list, "\""), paint, hint);
}

void Svg::text(double x, double y, std::string_view words, const TextStyle& style) {
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
