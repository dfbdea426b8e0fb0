// Figures of spectra: the rank of weights and of representations per layer, and singular-value
// curves. Plain data in, a Figure out; panels of one figure share their axes.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "basin/analysis/estimate.h"
#include "basin/figures/figure.h"

namespace basin {

// One number per layer, against depth: lines joined over the layers, paired by optimizer, intervals
// as whiskers, single runs as dots; references (the initialisation) in grey.
struct LayerSeries {
  std::string optimizer;
  std::vector<Estimate> values;                // one per layer; NaN: a hole
  std::vector<std::vector<double>> runs = {};  // [layer][seed], or empty
  bool reference = false;
};
struct LayerPanel {
  std::string title;  // e.g. "stable rank / max rank" or "effective rank, centred"
  std::vector<LayerSeries> series;
};
// A parameter without a rank. The caption counts biases and gains and names at most four others;
// the CSV lists all.
struct SkippedLayer {
  std::string layer, reason;
  std::string role = {};  // "bias", "gain"...: name_of(Role) in core/params.h; empty: not known
};
struct LayerRanks {
  std::string title;
  std::string axis = "rank / maximal rank";
  std::vector<std::string> layers = {};  // in order of depth
  std::vector<LayerPanel> panels = {};
  std::vector<SkippedLayer> skipped = {};
  bool log_axis = false;  // otherwise from 0
  FigureConditions conditions = {};
};
Figure weight_rank_figure(const LayerRanks& data);
Figure representation_rank_figure(const LayerRanks& data);

// Singular values of each layer relative to the largest, log-log; dashed across: the upper edge of
// Marchenko and Pastur (1967), where the largest singular value of a matrix of the same size and
// Frobenius norm with independent entries lies,
//   edge = ||W||_F (sqrt(rows) + sqrt(cols)) / (sqrt(rows cols) sigma_1).
struct SpectrumSeries {
  std::string optimizer;
  std::vector<double> singular_values;  // falling
  bool reference = false;
};
struct SpectrumPanel {
  std::string layer;
  int64_t rows = 0, cols = 0;
  std::vector<SpectrumSeries> series;
};
struct SingularSpectra {
  std::string title = "Singular values of the weights";
  std::vector<SpectrumPanel> panels = {};
  FigureConditions conditions = {};
};
Figure singular_value_figure(const SingularSpectra& data);
double marchenko_pastur_edge(const std::vector<double>& singular_values, int64_t rows,
                             int64_t cols);  // relative to sigma_1

}  // namespace basin
