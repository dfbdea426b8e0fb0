// Two quantities of many runs against each other, one marker per run: whether what one optimizer
// leaves more of goes with what it reaches. Beside each panel stands what is said of all its runs
// together, such as a rank correlation with its interval.
#pragma once
#include <string>
#include <vector>

#include "basin/figures/figure.h"

namespace basin {

struct ScatterSeries {
  std::string optimizer;
  std::vector<double> x = {}, y = {};  // one of each per run; NaN: a hole
  std::vector<std::string> runs = {};  // what each is, "seed 3"; empty: run 1, 2 ..
};
struct ScatterPanel {
  std::string x, y;  // the quantities, with their units
  bool log_x = false, log_y = false;
  std::vector<ScatterSeries> series = {};
  std::string note = {};  // right of the title
};
struct Scatter {
  std::string name = "scatter";
  std::string title = {};
  std::vector<ScatterPanel> panels = {};
  FigureConditions conditions = {};
};

// CSV: x_quantity, y_quantity, optimizer, run, x, y. usage error without panels or series, and for
// lengths that differ.
Figure scatter_figure(const Scatter& data);

}  // namespace basin
