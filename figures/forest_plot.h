// Forest plot: many ratios with their intervals on one logarithmic axis, a row each, gathered in
// groups, with the line at 1 marked; the picture that answers "what differs, and how surely" at one
// glance. A row whose interval excludes 1 is told from the others by its marker (filled, not
// hollow), its thicker bar and its bold number, so that it needs no colour. What reaches beyond the
// axis ends in an arrow; a ratio that has no place on the axis (not finite, or <= 0) keeps its row
// and its words, is not drawn and is counted in the caption.
#pragma once
#include <limits>
#include <string>
#include <vector>

#include "basin/figures/figure.h"

namespace basin {

struct ForestRow {
  std::string label;       // of one row; wrapped where it is long
  std::string group = {};  // rows of one group stand together under it; empty: no heading
  double ratio = std::numeric_limits<double>::quiet_NaN();
  // The interval; either end NaN: none is known. An end may be <= 0 or infinite: an arrow.
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();
  std::string note = {};  // at the right, e.g. "published: 4.75"
};

struct ForestPlot {
  std::string title;
  std::string caption = {};  // what the ratios are; sentences on the marks are added
  std::string axis = "ratio, logarithmic axis";
  std::string below = {}, above = {};  // what a ratio below and above 1 says, e.g. "Muon is larger"
  std::vector<ForestRow> rows;         // groups in order of appearance
  FigureConditions conditions = {};
};

// The figure "ratios". The axis holds 1, every ratio between 1/1000 and 1000, and the intervals as
// far as three times beyond these ratios. CSV: group, label, ratio, low, high, excludes_one ("yes",
// "no", empty without an interval), drawn, note. usage error without a row, and for low > high.
Figure forest_figure(const ForestPlot& plot);

}  // namespace basin
