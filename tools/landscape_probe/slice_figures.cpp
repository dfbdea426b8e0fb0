// Figures of loss slices from probes: see figures.h.
#include "basin/tools/landscape_probe/figures.h"

namespace basin::tools {

std::vector<Figure> slice_figures(const std::vector<LoadedProbe>&, const std::string&) {
  return {};
}

}  // namespace basin::tools
