// What was learned of a function of two coordinates, e.g. the solution u(x, t) of an equation: maps
// of solution, network, error and residual with a colour bar each, and lines through them at given
// values of the second coordinate.
#pragma once
#include <limits>
#include <string>
#include <vector>

#include "basin/figures/figure.h"

namespace basin {

struct FieldMap {
  std::string name;            // "truth", "network", "|error|"
  std::vector<double> values;  // [y, x], row after row
  bool log_colour = false;     // absolute values that span decades; what is not > 0 is a hole
  // The ends of the colours; NaN: the least and the largest drawable value.
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();
};
struct FieldMaps {
  std::string title = "Solution";
  std::string x_name, y_name;
  std::vector<double> x, y;    // the grid that all share, ascending, two points or more each
  std::vector<FieldMap> maps;  // in rows of two
  FigureConditions conditions = {};
};

// The figure "field-maps". A cell reaches halfway to its neighbours. Colours have 64 steps
// from one end to the other. CSV: x, y, then a column per map. usage error
// without maps, for an axis that does not ascend, and for values of another size than the grid.
Figure field_maps_figure(const FieldMaps& data);

// The figure "field-lines": a panel per place of `at`, with every map as a line over x in the row
// of y that is nearest. CSV as of every line plot. usage errors as above, and without places.
Figure field_lines_figure(const FieldMaps& data, const std::vector<double>& at);

}  // namespace basin
