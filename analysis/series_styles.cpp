// Styles for a list of series: see series_styles.h.
#include "basin/analysis/series_styles.h"

#include <algorithm>

namespace basin {
namespace {

constexpr int kOptimizers = 3;  // Adam, Muon, SpecMuon: the first styles
constexpr Rgb kReference{140, 140, 140};

bool alike(const SeriesStyle& a, const SeriesStyle& b) {
  return a.colour == b.colour && a.dash == b.dash && a.marker == b.marker;
}

}  // namespace

std::vector<SeriesStyle> series_styles(const std::vector<std::string>& names) {
  std::vector<SeriesStyle> out(names.size());
  std::vector<bool> found(names.size(), false);
  for (int known = 0; known < kOptimizers; ++known) {
    for (size_t i = 0; i < names.size(); ++i) {
      if (found[i] || !alike(optimizer_style(names[i]), series_style(known))) continue;
      out[i] = series_style(known);
      found[i] = true;
      break;
    }
  }
  int next = kOptimizers;
  for (size_t i = 0; i < names.size(); ++i) {
    if (!found[i]) out[i] = series_style(next++);
  }
  return out;
}

Rgb colour_of(const SeriesStyle& style) {
  return style.colour < 0 ? kReference : categorical_colour(style.colour);
}

std::string dash_pattern(Dash dash) {
  switch (dash) {
    case Dash::solid: return {};
    case Dash::dashed: return "7 3";
    case Dash::dotted: return "2 2.5";
    case Dash::dash_dot: return "9 3 2 3";
  }
  return {};
}

void draw_marker(Svg& svg, Marker marker, double x, double y, double radius, Rgb colour,
                 std::string_view hint) {
  const Paint paint{css(colour), "#ffffff", 0.8};
  const double r = radius, s = 0.89 * radius;  // about equal areas
  const auto outline = [&](std::vector<std::pair<double, double>> points) {
    points.push_back(points.front());
    svg.polyline(points, paint, hint);
  };
  switch (marker) {
    case Marker::none: return;
    case Marker::circle: svg.circle(x, y, r, paint, hint); return;
    case Marker::square: svg.rect(x - s, y - s, 2 * s, 2 * s, paint, hint); return;
    case Marker::triangle:
      outline({{x, y - 1.25 * r}, {x + 1.15 * r, y + 0.8 * r}, {x - 1.15 * r, y + 0.8 * r}});
      return;
    case Marker::diamond:
      outline({{x, y - 1.3 * r}, {x + 1.3 * r, y}, {x, y + 1.3 * r}, {x - 1.3 * r, y}});
      return;
    case Marker::cross: {
      const double a = 0.4 * r, b = 1.25 * r;
      outline({{x - a, y - b},
               {x + a, y - b},
               {x + a, y - a},
               {x + b, y - a},
               {x + b, y + a},
               {x + a, y + a},
               {x + a, y + b},
               {x - a, y + b},
               {x - a, y + a},
               {x - b, y + a},
               {x - b, y - a},
               {x - a, y - a}});
      return;
    }
  }
}

}  // namespace basin
