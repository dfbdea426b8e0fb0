// Styles for a list of series: an optimizer looks the same in every figure (plot_style.h); here
// every name of a list gets a look of its own, whatever the names are.
#pragma once
#include <string>
#include <vector>

#include "basin/figures/plot_style.h"

namespace basin {

// One style per name, no two alike: Adam, Muon and SpecMuon have their own; another name, or an
// optimizer that comes a second time, the next free one.
std::vector<SeriesStyle> series_styles(const std::vector<std::string>& names);
// The style of one name out of the list `names`, each once; usage error when it is not there.
SeriesStyle style_among(const std::vector<std::string>& names, const std::string& name);
// For what is compared with (an initialisation): grey, dotted.
SeriesStyle reference_style();
Rgb ink_of(const SeriesStyle& style);

}  // namespace basin
