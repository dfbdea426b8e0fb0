// Rank, curvature and accuracy over training, in panels one above the other that share the axis of
// steps, so that one sees when the optimizers part.
#pragma once
#include <string>
#include <vector>

#include "basin/figures/figure.h"

namespace basin {

struct TrainingSeries {
  std::string optimizer;
  std::vector<double> steps, values;
  std::vector<double> low = {}, high = {};     // interval over the seeds, or empty
  std::vector<std::vector<double>> runs = {};  // [seed][step], faint lines, or empty
};
struct TrainingPanel {
  std::string quantity;  // with its unit
  bool log_axis = false;
  std::vector<TrainingSeries> series;
};
struct TrainingCurves {
  std::string title = "Rank, curvature and accuracy over training";
  std::vector<TrainingPanel> panels;
  FigureConditions conditions = {};
};
Figure training_figure(const TrainingCurves& data);

}  // namespace basin
