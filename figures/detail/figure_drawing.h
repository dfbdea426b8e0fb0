// What figures with named categories on their x axis share (bars, layers): an axis of values, its
// ticks and grid, the legend, whiskers, and words that fit a width. Lengths are pixels.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "basin/analysis/estimate.h"
#include "basin/figures/detail/series_styles.h"
#include "basin/figures/figure.h"
#include "basin/figures/line_plot.h"

namespace basin {

// Around all finite values (> 0 on a logarithmic axis, which ends at round numbers), with room at
// both ends; a linear axis starts at zero unless a value is below. Without any value: some range.
AxisRange axis_around(const std::vector<double>& values, AxisScale scale);
bool holds(const AxisRange& axis, double value);

// The area of one panel.
struct PlotArea {
  double x, y, width, height;  // top left corner
  AxisRange axis;
  double height_of(double value) const { return y + height * (1 - axis.share(value)); }
};

inline constexpr Rgb kMutedInk{90, 90, 90}, kGridInk{226, 226, 226};
inline constexpr double kLabelSize = 11, kTitleSize = 15, kPanelTitleSize = 13, kDotRadius = 2;

// Frame and grid; tick labels and the axis label where `labels` is set.
void draw_axis(Svg& svg, const PlotArea& area, std::string_view label, bool labels);

// A whisker over [low, high] at x, cut to the axis; an end that is cut off is an arrow. Nothing for
// an interval that is not finite or has no width.
void draw_whisker(Svg& svg, const PlotArea& area, double x, const Interval& interval, Rgb colour);

struct LegendEntry {
  std::string name;
  SeriesStyle style;
};
// Entries side by side from (x, y), in as many lines as `width` asks for; returns their height.
// `svg` may be null, to measure.
double draw_legend(Svg* svg, double x, double y, double width,
                   const std::vector<LegendEntry>& entries);

// Title, conditions and legend at the top of a figure; returns where the panels start. As above for
// null.
double draw_head(Svg* svg, double width, const std::string& title,
                 const FigureConditions& conditions, const std::vector<LegendEntry>& entries);

// A word that is wider than `width`, cut in its middle.
std::string shortened(std::string_view words, double size, double width);

// The conditions of a line plot's notes, wrapped to the width of its panels.
std::vector<std::string> condition_lines(const FigureConditions& conditions, const LinePlot& plot);

inline constexpr double kFigureMargin = 16;

}  // namespace basin
