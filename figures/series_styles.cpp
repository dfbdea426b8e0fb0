// Hands out the styles of plot_style.h to a list of names, no style twice.
#include "basin/figures/detail/series_styles.h"

#include <algorithm>

#include "basin/core/error.h"

namespace basin {
namespace {

constexpr int kOptimizers = 3;  // Adam, Muon, SpecMuon: the first styles
constexpr Rgb kReference{110, 110, 110};

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

SeriesStyle style_among(const std::vector<std::string>& names, const std::string& name) {
  const auto at = std::find(names.begin(), names.end(), name);
  check(at != names.end(), "figure: '", name, "' is not among its series");
  return series_styles(names)[static_cast<size_t>(at - names.begin())];
}

SeriesStyle reference_style() { return {-1, Dash::dotted, Marker::cross}; }

Rgb ink_of(const SeriesStyle& style) {
  return style.colour < 0 ? kReference : categorical_colour(style.colour);
}

}  // namespace basin
