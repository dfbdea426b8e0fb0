// Styles for a list of series, and the shapes to draw them with outside a line plot. An optimizer
// looks the same in every figure (optimizer_style); here every name of a list gets a look of its
// own, whatever the names are.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "basin/analysis/line_plot.h"
#include "basin/analysis/svg.h"

namespace basin {

// One style per name, no two alike: Adam, Muon and SpecMuon have their own, another name, or an
// optimizer that comes a second time, the next free one.
std::vector<SeriesStyle> series_styles(const std::vector<std::string>& names);

Rgb colour_of(const SeriesStyle& style);
std::string dash_pattern(Dash dash);  // for Paint::dash; empty: solid

// A marker of about `radius` around (x, y); Marker::none draws nothing.
void draw_marker(Svg& svg, Marker marker, double x, double y, double radius, Rgb colour,
                 std::string_view hint = {});

}  // namespace basin
