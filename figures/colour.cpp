// The tables of colours and the arithmetic of lightness by which inks are chosen.
#include "basin/figures/colour.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace basin {
namespace {

constexpr std::array<Rgb, 6> kSequential{{{250, 251, 253},
                                          {214, 228, 240},
                                          {160, 196, 221},
                                          {94, 152, 195},
                                          {37, 102, 158},
                                          {10, 50, 96}}};
constexpr std::array<Rgb, 8> kCategorical{{{0, 84, 158},
                                           {226, 108, 0},
                                           {0, 132, 98},
                                           {204, 121, 167},
                                           {230, 159, 0},
                                           {86, 180, 233},
                                           {110, 110, 110},
                                           {0, 0, 0}}};
constexpr Rgb kUnknown{150, 150, 150};

double linear_light(uint8_t channel) {
  const double c = channel / 255.0;
  return c <= 0.04045 ? c / 12.92 : std::pow((c + 0.055) / 1.055, 2.4);
}

}  // namespace

Rgb mix(Rgb a, Rgb b, double share) {
  const auto channel = [share](uint8_t x, uint8_t y) {
    return static_cast<uint8_t>(std::lround(x + share * (y - x)));
  };
  return {channel(a.r, b.r), channel(a.g, b.g), channel(a.b, b.b)};
}

Rgb sequential_colour(double share) {
  if (std::isnan(share)) return kUnknown;
  const double at = std::clamp(share, 0.0, 1.0) * (kSequential.size() - 1);
  const auto low = std::min(static_cast<size_t>(at), kSequential.size() - 2);
  return mix(kSequential[low], kSequential[low + 1], at - static_cast<double>(low));
}

Rgb diverging_colour(double share) {
  if (std::isnan(share)) return kUnknown;
  const double away = 2 * std::clamp(share, 0.0, 1.0) - 1;
  return mix(kSequential.front(), away < 0 ? kCategorical[0] : kCategorical[1], std::abs(away));
}

Rgb categorical_colour(int index) {
  return kCategorical[static_cast<size_t>(index) % kCategorical.size()];
}

double luminance(Rgb colour) {
  return 0.2126 * linear_light(colour.r) + 0.7152 * linear_light(colour.g) +
         0.0722 * linear_light(colour.b);
}

// The larger of the contrasts (L1 + 0.05) / (L2 + 0.05) with black and with white.
Rgb ink_on(Rgb background) {
  constexpr Rgb dark{0, 0, 0}, light{255, 255, 255};
  const double l = luminance(background) + 0.05;
  return l / (luminance(dark) + 0.05) >= (luminance(light) + 0.05) / l ? dark : light;
}

std::string css(Rgb colour) {
  constexpr char digits[] = "0123456789abcdef";
  std::string out = "#";
  for (const uint8_t c : {colour.r, colour.g, colour.b}) {
    out += digits[c >> 4];
    out += digits[c & 15];
  }
  return out;
}

}  // namespace basin
