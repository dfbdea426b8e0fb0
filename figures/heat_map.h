// A heat map as SVG: one cell per number, annotated, on the sequential map of colour.h; rows in
// named groups with a rule between them, a colour bar, and rows without numbers drawn hatched with
// the reason across them. A missing number is a hole, never a colour.
#pragma once
#include <string>
#include <vector>

namespace basin {

struct HeatMapRow {
  std::string label;
  std::string group;           // consecutive rows of one group stand together
  std::vector<double> values;  // one per column; NaN: a hole. Empty with `reason`
  std::string reason = {};     // why there are no values
};

struct HeatMap {
  std::string title;
  std::vector<std::string> notes = {};  // lines below the title
  std::string column_axis = {};
  std::string row_axis = {};
  std::string value_axis = {};  // of the colour bar, with its unit
  std::vector<std::string> columns = {};
  std::vector<HeatMapRow> rows = {};
  double low = 0, high = 1;  // the ends of the colour map
  bool diverging = false;    // two colours that meet in the middle of low and high: differences
  int decimals = 1;
  int separated_columns = 0;  // so many at the right stand apart (a mean)
};

// usage error when a row has neither one value per column nor a reason.
std::string heat_map_svg(const HeatMap& map);

}  // namespace basin
