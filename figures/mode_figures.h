// SpecMuon's leading singular modes over training: per mode j of a matrix the auxiliary variable
// over the energy r_j / E, the singular value s_j of its gradient and the scale of its step; and,
// of all matrices, how far the r_j, and the scales, of one matrix lie apart,
//   spread = (max_j r_j - min_j r_j) / mean_j r_j,
// which tells whether a form of the rule treats its modes differently at all.
#pragma once
#include <string>
#include <vector>

#include "basin/figures/figure.h"

namespace basin {

// A quantity per mode: [mode][step], NaN where a mode was not there.
using ModeCurves = std::vector<std::vector<double>>;

struct MatrixModes {
  std::string name;           // of the parameter
  std::vector<double> steps;  // ascending
  ModeCurves r, r_over_e, s, scale;
};

// Per step; NaN with fewer than two modes, or where the mean is not above 0.
std::vector<double> mode_spread(const ModeCurves& curves, size_t steps);

struct ModesPlot {
  std::string run;                    // "specmuon, seed 0"
  std::vector<MatrixModes> matrices;  // a row of three panels each
  FigureConditions conditions = {};
};
// The figure "modes". CSV: matrix, step, mode (from 1), r, r_over_e, s, scale. usage error without
// a matrix, without a mode, and for curves of other lengths than the steps.
Figure modes_figure(const ModesPlot& data);

struct SpreadRun {
  std::string name;
  std::vector<MatrixModes> matrices;
};
struct SpreadPlot {
  std::vector<SpreadRun> runs;
  FigureConditions conditions = {};
};
// The figure "mode-spread": of r and of the scales, a line per matrix of every run, logarithmic;
// a spread of exactly 0 (every r was set to E) is no point on the axis. CSV: run, matrix, step,
// r_spread, scale_spread. usage error without runs, and as above.
Figure mode_spread_figure(const SpreadPlot& data);

}  // namespace basin
