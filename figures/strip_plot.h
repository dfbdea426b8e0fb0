// Strip plots as SVG on a logarithmic axis: per category one column of dots for each series (every
// dot is one measurement) with a bar at the largest. Panels share the axis, so that they compare;
// exact zeros stand on a line of their own below it. For quantities that span decades, such as
// symmetry errors per layer.
#pragma once
#include <string>
#include <vector>

namespace basin {

struct StripPanel {
  std::string title;
  bool marked = false;  // tinted, with `note` in the corner
  std::string note = {};
  // values[category][series]: the measurements, >= 0; what is not finite is counted as "off scale"
  // and drawn at the upper edge.
  std::vector<std::vector<std::vector<double>>> values;
};

struct StripPlot {
  std::string title;
  std::vector<std::string> notes;
  std::string value_axis;
  std::vector<std::string> categories;
  std::vector<std::string> series;
  std::vector<StripPanel> panels;
  int panel_columns = 2;
};

std::string strip_plot_svg(const StripPlot& plot);

}  // namespace basin
