// The figures of a report from the probes it is about: plain selection of numbers, the drawing is
// that of analysis/. A figure without data is left out.
#pragma once
#include <vector>

#include "basin/figures/figure.h"
#include "basin/tools/landscape_probe/loaded.h"

namespace basin::tools {

std::vector<Figure> curvature_figures(const std::vector<LoadedProbe>& probes,
                                      const std::string& command);
std::vector<Figure> slice_figures(const std::vector<LoadedProbe>& probes,
                                  const std::string& command);
std::vector<Figure> rank_figures(const std::vector<LoadedProbe>& probes,
                                 const std::string& command);
std::vector<Figure> training_figures(const std::vector<LoadedProbe>& probes,
                                     const std::string& command);
std::vector<Figure> diagnostic_figures(const std::vector<LoadedProbe>& probes,
                                       const std::string& command);

}  // namespace basin::tools
