// Colours of the figures. The sequential map runs from a near-white to a dark blue with evenly
// falling lightness, so it reads the same in grey and for every kind of colour vision; the
// categorical colours follow Okabe and Ito (2008), chosen for the same reason, with the lightness
// of the first three pulled apart: blue, green and orange differ in grey too.
#pragma once
#include <cstdint>
#include <string>

namespace basin {

struct Rgb {
  uint8_t r = 0, g = 0, b = 0;
  bool operator==(const Rgb&) const = default;
};

Rgb sequential_colour(double share);  // 0: light .. 1: dark; clamped, NaN is a mid grey
Rgb diverging_colour(double share);   // blue 0, near-white 0.5, orange 1; otherwise as above
Rgb categorical_colour(int index);    // eight of them, then again from the first
Rgb mix(Rgb a, Rgb b, double share);  // share of b
double luminance(Rgb colour);         // relative luminance of WCAG 2, 0 .. 1
Rgb ink_on(Rgb background);           // black or white, whichever reads better
std::string css(Rgb colour);          // "#rrggbb"

}  // namespace basin
