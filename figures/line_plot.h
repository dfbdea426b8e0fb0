// Line plots as SVG: panels side by side with linear or log axes, ticks, one legend, bands, faint
// lines of individuals behind a mean, reference lines and a rug. Series differ by colour, dash and
// marker together, so that they stay apart in grey and for every kind of colour vision. What cannot
// be drawn (NaN, a value <= 0 on a log axis, a value outside a fixed axis) breaks the line and is
// counted below its panel; it is never moved to where it could be drawn.
#pragma once
#include <limits>
#include <string>
#include <vector>

#include "basin/figures/plot_axis.h"
#include "basin/figures/plot_style.h"

namespace basin {

struct PlotAxis {
  std::string label = {};
  AxisScale scale = AxisScale::linear;
  // The ends; NaN: from the data of the panel (of all panels where the plot shares this axis).
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();
};

struct PlotSeries {
  std::string name = {};  // in the legend, once for all panels; empty: not in the legend
  std::vector<double> x = {}, y = {};
  // A band (or bars) around y: empty, or one per x. NaN in either: no band there.
  std::vector<double> low = {}, high = {};
  SeriesStyle style = {};
  bool line = true;    // false: markers alone
  bool faint = false;  // an individual (one seed, one probe) behind a mean
  bool bars = false;   // low..high as error bars, not as a band
  // Markers on every so many points; 0: chosen so that about 12 stand on a line.
  int marker_every = 0;
  double width = 1.8;  // of the line, pixels
};

struct ReferenceLine {
  double at = 0;
  bool vertical = false;  // at x instead of y
  std::string label = {};
};

struct PlotPanel {
  std::string title = {};
  PlotAxis x, y;
  std::vector<PlotSeries> series = {};  // drawn in this order: faint ones and bands lie below
  std::vector<ReferenceLine> references = {};
  std::vector<double> rug = {};  // short strokes on the x axis (quadrature nodes)
  std::string note = {};         // right of the title, small
};

struct LinePlot {
  std::string title;
  std::vector<std::string> notes = {};  // lines below the title: n, seeds, data, dtype
  std::vector<PlotPanel> panels = {};
  int columns = 0;  // panels in a row; 0: all of them
  bool share_x = false, share_y = false;
  double panel_width = 340, panel_height = 230;  // of the plotting area, pixels
};

// usage error naming the panel and the series when x, y, low and high differ in length, when an
// axis has low >= high, or when a log axis is given an end <= 0.
std::string line_plot_svg(const LinePlot& plot);
// The numbers of the figure, full precision: panel,series,x,y,low,high.
std::string line_plot_csv(const LinePlot& plot);

}  // namespace basin
