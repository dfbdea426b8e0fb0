// How the series of figures look. Styles differ by colour, dash and marker together, so that series
// stay apart in grey and for every kind of colour vision; each optimizer has one style everywhere.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "basin/figures/svg.h"

namespace basin {

enum class Dash : uint8_t { solid, dashed, dotted, dash_dot };
enum class Marker : uint8_t { none, circle, square, triangle, diamond, cross };

struct SeriesStyle {
  int colour = 0;  // of categorical_colour; -1: grey, for baselines
  Dash dash = Dash::solid;
  Marker marker = Marker::none;
};

// Styles that differ in all three; the first three belong to Adam, Muon and SpecMuon.
SeriesStyle series_style(int index);
// The style that an optimizer has in every figure, by the first word of its name ("AdamW, seed 1"
// is Adam's); grey and dotted for others.
SeriesStyle optimizer_style(std::string_view optimizer);

std::string colour_of(const SeriesStyle& style);  // as the SVG has it
std::string dash_of(const SeriesStyle& style);    // of Paint::dash
// A marker of half width r, in pixels, about (x, y), with a thin white rim.
void draw_marker(Svg& svg, Marker marker, double x, double y, double r, const std::string& colour,
                 double opacity = 1, std::string_view hint = {});

}  // namespace basin
