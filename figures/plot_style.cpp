// The table of styles and the outline of every marker, so that no figure draws its own.
#include "basin/figures/plot_style.h"

#include <algorithm>

#include "basin/core/error.h"

namespace basin {

SeriesStyle series_style(int index) {
  constexpr Dash dashes[] = {Dash::solid, Dash::dashed, Dash::dash_dot, Dash::dotted};
  constexpr Marker markers[] = {Marker::circle, Marker::square, Marker::triangle, Marker::diamond,
                                Marker::cross};
  check(index >= 0, "line plot: expects a style index >= 0, given ", index);
  // All that categorical_colour has but its grey, which belongs to baselines.
  constexpr int colours[] = {0, 1, 2, 3, 4, 5, 7};
  return {colours[index % 7], dashes[index % 4], markers[index % 5]};
}

SeriesStyle optimizer_style(std::string_view optimizer) {
  const std::string_view word = optimizer.substr(0, optimizer.find_first_of(" ,:/("));
  const auto is = [&](std::string_view name) {
    return std::equal(word.begin(), word.end(), name.begin(), name.end(), [](char a, char b) {
      return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b;
    });
  };
  if (is("adam") || is("adamw")) return series_style(0);
  if (is("muon")) return series_style(1);
  if (is("specmuon")) return series_style(2);
  return {-1, Dash::dotted, Marker::diamond};
}

std::string colour_of(const SeriesStyle& s) {
  return s.colour < 0 ? css({110, 110, 110}) : css(categorical_colour(s.colour));
}

std::string dash_of(const SeriesStyle& style) {
  constexpr const char* patterns[] = {"", "7 4", "2 3", "8 3 2 3"};
  return patterns[static_cast<int>(style.dash)];
}

void draw_marker(Svg& svg, Marker marker, double x, double y, double r, const std::string& colour,
                 double opacity, std::string_view hint) {
  const Paint paint{colour, "#ffffff", 0.6, opacity};
  switch (marker) {
    case Marker::none: break;
    case Marker::circle: svg.circle(x, y, r, paint, hint); break;
    case Marker::square: svg.rect(x - 0.9 * r, y - 0.9 * r, 1.8 * r, 1.8 * r, paint, hint); break;
    case Marker::triangle:
    case Marker::diamond: {
      const double w = 1.15 * r, low = marker == Marker::diamond ? 0 : 0.8 * r;
      std::string d = str("M", svg_number(x), ",", svg_number(y - 1.3 * r), "L", svg_number(x + w),
                          ",", svg_number(y + low));
      if (marker == Marker::diamond) d += str("L", svg_number(x), ",", svg_number(y + 1.3 * r));
      d += str("L", svg_number(x - w), ",", svg_number(y + low), "Z");
      svg.path(d, paint, hint);
      break;
    }
    case Marker::cross: {
      const auto end = [&](double sx, double sy) {
        return str(svg_number(x + sx * r), ",", svg_number(y + sy * r));
      };
      svg.path(str("M", end(-1, -1), "L", end(1, 1), "M", end(-1, 1), "L", end(1, -1)),
               {"none", colour, 1.6, opacity}, hint);
      break;
    }
  }
}

}  // namespace basin
