// Contours of 2-D loss slices, as Li et al. (2018) draw them: one panel per checkpoint with the
// same axes and the same levels, so that the panels compare. Level sets come from marching squares
// with linear interpolation on the cells between grid points; a cell with a failed corner has none,
// and failed points are hatched and counted, never filled in. The local quadratic may be laid over
// it, dashed, at the same levels: where the dashed and the full curves part, the quadratic model
// fails.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "basin/analysis/slices.h"
#include "basin/figures/figure.h"

namespace basin {

using ContourLine = std::vector<std::pair<double, double>>;  // closed where first == last

// The level set {value = level} of values on the grid, values[grid.index(ix, iy)], NaN: no value
// there. A saddle cell is cut according to the mean of its corners. usage error when the sizes
// differ or the grid has fewer than two points on an axis.
std::vector<ContourLine> contour_lines(const SliceGrid& grid, const std::vector<double>& values,
                                       double level);

// `count` levels that divide the range of all finite values evenly: on a log scale where all are
// positive and span more than a decade, else on a linear one. Empty when there is no range.
std::vector<double> contour_levels(const std::vector<const std::vector<double>*>& values,
                                   int count = 12);

// A point of the plane with its name, and points joined by a line, e.g. the checkpoints of a
// training in their order.
struct ContourMark {
  std::string name;
  double x = 0, y = 0;
};
struct ContourTrail {
  std::string name;
  std::vector<double> x, y;
};

struct ContourPanel {
  std::string title;  // e.g. the optimizer
  Slice slice;
  std::optional<LocalQuadratic> model = std::nullopt;
  std::vector<ContourMark> marks = {};  // none: a plus at (0, 0), where the checkpoint is
  std::vector<ContourTrail> trails = {};
};

struct ContourPlot {
  std::string name = "slice";  // stem of the files
  std::string title;
  std::vector<ContourPanel> panels;
  std::string caption = {};         // what the plane is; empty: one through the weights
  std::vector<double> levels = {};  // empty: contour_levels of all panels
  double panel = 300;               // width and height of a panel, pixels
  FigureConditions conditions = {};
};
// usage error without panels, or for panels whose grids differ.
Figure contour_figure(const ContourPlot& plot);

}  // namespace basin
