// Reads back the elements that Svg writes and draws each into a Picture through Coverage.
#include "basin/figures/detail/svg_picture.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>

#include "basin/core/error.h"
#include "basin/figures/detail/coverage.h"

namespace basin {
namespace {

using Attributes = std::map<std::string, std::string, std::less<>>;

struct Tag {
  std::string name;
  Attributes attributes;
  bool closing = false;
};

[[noreturn]] void damaged(std::string_view what) {
  fail(ErrorKind::usage, "svg picture: expects a document of Svg, found ", what);
}

double to_number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    damaged(str("the number '", text, "'"));
  }
  return value;
}

std::vector<double> to_numbers(std::string_view text) {
  std::vector<double> out;
  for (size_t at = 0; (at = text.find_first_not_of(" ,", at)) != text.npos;) {
    const size_t end = std::min(text.find_first_of(" ,", at), text.size());
    out.push_back(to_number(text.substr(at, end - at)));
    at = end;
  }
  return out;
}

std::optional<Rgb> to_colour(std::string_view text) {
  if (text == "none") return std::nullopt;
  if (text.size() != 7 || text[0] != '#') damaged(str("the colour '", text, "'"));
  uint32_t value = 0;
  std::from_chars(text.data() + 1, text.data() + 7, value, 16);
  return Rgb{static_cast<uint8_t>(value >> 16), static_cast<uint8_t>(value >> 8),
             static_cast<uint8_t>(value)};
}

std::string unescaped(std::string text) {
  constexpr std::pair<std::string_view, std::string_view> kEntities[] = {
      {"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&amp;", "&"}};
  for (const auto& [entity, character] : kEntities) {
    for (size_t at = 0; (at = text.find(entity, at)) != text.npos; ++at) {
      text.replace(at, entity.size(), character);
    }
  }
  return text;
}

std::string value_of(const Tag& tag, std::string_view name, std::string_view otherwise = "") {
  const auto found = tag.attributes.find(name);
  return found == tag.attributes.end() ? std::string(otherwise) : found->second;
}

double number_of(const Tag& tag, std::string_view name, std::string_view otherwise = "0") {
  return to_number(value_of(tag, name, otherwise));
}

struct Hatch {
  Rgb ground, line;
};

class Renderer {
 public:
  Renderer(const std::string& document, double scale) : text_(document), scale_(scale) {}

  Picture run() {
    at_ = text_.find("<svg");
    if (at_ == text_.npos) damaged("no <svg>");
    const Tag root = next_tag();
    const double width = std::ceil(number_of(root, "width") * scale_),
                 height = std::ceil(number_of(root, "height") * scale_);
    check(width >= 1 && height >= 1 && width <= 1 << 15 && height <= 1 << 15,
          "svg picture: expects 1 to 32768 pixels each way, given ", width, " x ", height);
    Picture picture(static_cast<int>(width), static_cast<int>(height));
    Coverage coverage(picture.width(), picture.height());
    picture_ = &picture, coverage_ = &coverage;
    whole_ = clip_ = {0, 0, width, height};
    while ((at_ = text_.find('<', at_)) != text_.npos) element(next_tag());
    return picture;
  }

 private:
  // ---- reading
  Tag next_tag() {
    const size_t end = text_.find('>', at_);
    if (end == text_.npos) damaged("an open tag");
    std::string_view inner(text_.data() + at_ + 1, end - at_ - 1);
    at_ = end + 1;
    Tag tag;
    tag.closing = inner.starts_with('/');
    if (tag.closing) inner.remove_prefix(1);
    size_t i = std::min(inner.find_first_of(" /"), inner.size());
    tag.name = inner.substr(0, i);
    while ((i = inner.find_first_not_of(" /", i)) != inner.npos) {
      const size_t open = inner.find("=\"", i);
      const size_t close = open == inner.npos ? open : inner.find('"', open + 2);
      if (close == inner.npos) damaged("an attribute without a value");
      tag.attributes.emplace(inner.substr(i, open - i),
                             unescaped(std::string(inner.substr(open + 2, close - open - 2))));
      i = close + 1;
    }
    return tag;
  }

  std::string words_until_close() {
    const size_t end = text_.find('<', at_);
    std::string words = unescaped(text_.substr(at_, end - at_));
    at_ = std::min(end, text_.size());
    return words;
  }

  void element(const Tag& tag) {
    if (tag.name == "g") {
      clip_ = tag.closing ? whole_ : clips_[reference(value_of(tag, "clip-path"))];
    } else if (tag.closing || tag.name == "defs" || tag.name == "title" || tag.name == "desc") {
      return;  // their words are no drawing
    } else if (tag.name == "clipPath") {
      const std::string id = value_of(tag, "id");
      at_ = std::min(text_.find('<', at_), text_.size());
      clips_[id] = box_of(next_tag());
    } else if (tag.name == "pattern") {
      pattern(value_of(tag, "id"));
    } else if (tag.name == "rect") {
      const PixelBox b = box_of(tag);
      paint(tag, {{{b.left, b.top}, {b.right, b.top}, {b.right, b.bottom}, {b.left, b.bottom}}},
            true);
    } else if (tag.name == "circle") {
      circle(tag);
    } else if (tag.name == "line") {
      paint(tag,
            {{point(number_of(tag, "x1"), number_of(tag, "y1")),
              point(number_of(tag, "x2"), number_of(tag, "y2"))}},
            false);
    } else if (tag.name == "polyline") {
      const std::vector<double> n = to_numbers(value_of(tag, "points"));
      std::vector<PixelPoint> points;
      for (size_t i = 0; i + 1 < n.size(); i += 2) points.push_back(point(n[i], n[i + 1]));
      paint(tag, {points}, false);
    } else if (tag.name == "path") {
      path(tag);
    } else if (tag.name == "text") {
      words(tag, words_until_close());
    } else {
      damaged(str("<", tag.name, ">"));
    }
  }

  static std::string reference(const std::string& url) {
    if (!url.starts_with("url(#") || url.back() != ')') damaged(str("the reference '", url, "'"));
    return url.substr(5, url.size() - 6);
  }

  // Svg::hatch: a ground and a line, as two rectangles.
  void pattern(const std::string& id) {
    Rgb colours[2];
    for (Rgb& colour : colours) {
      at_ = std::min(text_.find('<', at_), text_.size());
      colour = to_colour(value_of(next_tag(), "fill")).value_or(Rgb{255, 255, 255});
    }
    hatches_[id] = {colours[0], colours[1]};
  }

  // ---- drawing
  PixelPoint point(double x, double y) const { return {x * scale_, y * scale_}; }
  PixelBox box_of(const Tag& tag) const {
    const double x = number_of(tag, "x") * scale_, y = number_of(tag, "y") * scale_;
    return {x, y, x + number_of(tag, "width") * scale_, y + number_of(tag, "height") * scale_};
  }

  void blend_fill(const Tag& tag) {
    const double opacity = number_of(tag, "opacity", "1");
    const std::string fill = value_of(tag, "fill", "none");
    if (fill.starts_with("url(")) {
      const auto hatch = hatches_.find(reference(fill));
      if (hatch == hatches_.end()) damaged(str("the fill '", fill, "'"));
      // Diagonal stripes, a quarter of the period wide, at the document's period of 6.
      const double period = 6 * scale_ * std::sqrt(2.0);
      coverage_->blend(*picture_, clip_, opacity, [&](int x, int y) {
        const double along = std::fmod(x + y, period);
        return along < period / 4 ? hatch->second.line : hatch->second.ground;
      });
      return;
    }
    const Rgb colour = to_colour(fill).value_or(Rgb{});
    coverage_->blend(*picture_, clip_, opacity, [&](int, int) { return colour; });
  }

  void paint(const Tag& tag, const std::vector<std::vector<PixelPoint>>& outlines, bool closed) {
    if (value_of(tag, "fill", "none") != "none") {
      coverage_->fill(outlines, value_of(tag, "fill-rule") == "evenodd");
      blend_fill(tag);
    }
    const std::optional<Rgb> ink = to_colour(value_of(tag, "stroke", "none"));
    if (!ink) return;
    const double width = number_of(tag, "stroke-width", "1") * scale_;
    std::vector<double> dash = to_numbers(value_of(tag, "stroke-dasharray"));
    for (double& d : dash) d *= scale_;
    for (const auto& outline : outlines) {
      std::vector<PixelPoint> points = outline;
      if (closed && !points.empty()) points.push_back(points.front());
      stroke(points, width, dash);
    }
    coverage_->blend(*picture_, clip_, number_of(tag, "opacity", "1"),
                     [&](int, int) { return *ink; });
  }

  void stroke(const std::vector<PixelPoint>& points, double width,
              const std::vector<double>& dash) {
    size_t part = 0;  // of the dashes; even ones are ink
    double left = dash.empty() ? INFINITY : dash[0];
    for (size_t i = 0; i + 1 < points.size(); ++i) {
      PixelPoint from = points[i];
      const PixelPoint to = points[i + 1];
      double rest = std::hypot(to.first - from.first, to.second - from.second);
      while (rest > left && left > 0) {
        const double share = left / rest;
        const PixelPoint next{from.first + share * (to.first - from.first),
                              from.second + share * (to.second - from.second)};
        if (part % 2 == 0) coverage_->stroke(from, next, width);
        from = next;
        rest -= left;
        part = (part + 1) % dash.size();
        left = dash[part];
      }
      if (part % 2 == 0) coverage_->stroke(from, to, width);
      left -= rest;
    }
  }

  void circle(const Tag& tag) {
    const PixelPoint centre = point(number_of(tag, "cx"), number_of(tag, "cy"));
    const double radius = number_of(tag, "r") * scale_;
    if (value_of(tag, "fill", "none") != "none") {
      coverage_->disc(centre, radius);
      blend_fill(tag);
    }
    if (value_of(tag, "stroke", "none") == "none") return;
    std::vector<PixelPoint> ring;
    for (int k = 0; k < 24; ++k) {
      const double angle = k * 2 * 3.14159265358979 / 24;
      ring.emplace_back(centre.first + radius * std::cos(angle),
                        centre.second + radius * std::sin(angle));
    }
    Tag outline = tag;
    outline.attributes["fill"] = "none";
    paint(outline, {ring}, true);
  }

  // M x,y L x,y ... Z: straight pieces only.
  void path(const Tag& tag) {
    const std::string data = value_of(tag, "d");
    std::vector<std::vector<PixelPoint>> outlines;
    for (size_t at = 0; (at = data.find_first_not_of(" ,", at)) != data.npos;) {
      const char command = data[at++];
      if (command == 'Z') {
        if (!outlines.empty() && !outlines.back().empty()) {
          outlines.back().push_back(outlines.back().front());
        }
        continue;
      }
      if (command != 'M' && command != 'L') damaged(str("the path command '", command, "'"));
      const size_t end = std::min(data.find_first_not_of("0123456789.,- ", at), data.size());
      const std::vector<double> n = to_numbers(std::string_view(data).substr(at, end - at));
      if (command == 'M' || outlines.empty()) outlines.emplace_back();
      for (size_t i = 0; i + 1 < n.size(); i += 2) {
        outlines.back().push_back(point(n[i], n[i + 1]));
      }
      at = end;
    }
    paint(tag, outlines, false);
  }

  // Every pixel of the face is a square, turned with the text.
  void words(const Tag& tag, const std::string& line) {
    const double size = number_of(tag, "font-size", "12") * scale_;
    const double cell = std::max(1.0, std::floor(0.0995 * size + 0.25));
    const auto [x, y] = point(number_of(tag, "x"), number_of(tag, "y"));
    const std::string anchor = value_of(tag, "text-anchor", "start");
    const std::string shown = in_face(line);
    const double width = static_cast<double>(text_pixels(shown)) * cell;
    const double start = anchor == "middle" ? -width / 2 : anchor == "end" ? -width : 0;
    double turn = 0;
    if (const std::string t = value_of(tag, "transform"); t.starts_with("rotate(")) {
      turn = to_numbers(std::string_view(t).substr(7, t.size() - 8)).at(0) * 3.14159265358979 / 180;
    }
    const double c = std::cos(turn), s = std::sin(turn);
    const double bold = value_of(tag, "font-weight") == "bold" ? 0.45 * cell : 0;
    for (size_t i = 0; i < shown.size(); ++i) {
      const std::string_view rows = glyph(shown[i]);
      for (int k = 0; k < 35; ++k) {
        if (rows[static_cast<size_t>(k)] != '#') continue;
        const int row = k / 5, column = k % 5;
        const double u = start + (static_cast<double>(i) * kGlyphAdvance + column) * cell,
                     v = (row + glyph_drop(shown[i]) - 7) * cell;
        std::vector<PixelPoint> square;
        for (const auto& [du, dv] :
             {PixelPoint{0, 0}, {cell + bold, 0}, {cell + bold, cell}, {0, cell}}) {
          square.emplace_back(x + c * (u + du) - s * (v + dv), y + s * (u + du) + c * (v + dv));
        }
        coverage_->fill({square}, false);
      }
    }
    blend_fill(tag);
  }

  const std::string& text_;
  double scale_;
  size_t at_ = 0;
  Picture* picture_ = nullptr;
  Coverage* coverage_ = nullptr;
  PixelBox whole_, clip_;
  std::map<std::string, PixelBox> clips_;
  std::map<std::string, Hatch> hatches_;
};

}  // namespace

Picture svg_picture(const std::string& document, double scale) {
  check(scale > 0 && std::isfinite(scale), "svg picture: expects a scale > 0, given ", scale);
  return Renderer(document, scale).run();
}

}  // namespace basin
