// Every run as a dot, with the mean and its interval beside: what a table of mean and deviation
// hides at four seeds. One panel per network with an axis of its own, one column per optimizer;
// runs of one seed stand at one place within their columns.
#pragma once
#include <string>
#include <vector>

#include "basin/figures/figure.h"

namespace basin {

struct SeedColumn {
  std::string optimizer;
  std::vector<double> values;          // by seed; NaN: the run failed, counted as a hole
  std::vector<std::string> runs = {};  // what each is, "seed 3"; empty: run 1, 2 ..
  Estimate mean = {};                  // without interval: a bar alone
};
struct SeedPanel {
  std::string network;
  std::vector<SeedColumn> columns = {};
  std::string note = {};  // right of the title, e.g. "p = 0.03 (Holm)"
};
struct SeedDots {
  std::string name = "seeds";  // of the figure
  std::string title = {};
  std::string quantity = {};  // of the axis, with its unit
  bool log_axis = false;
  std::vector<SeedPanel> panels = {};
  FigureConditions conditions = {};
};

// CSV: network, optimizer, run, value, mean, low, high. usage error without panels or columns.
Figure seed_dots_figure(const SeedDots& data);

}  // namespace basin
