// Basin's own parts, in the order of reports: each is defined in the file of its name. To add one,
// write its file and name it twice here.
#pragma once
#include <vector>

#include "basin/tools/landscape_probe/part.h"

namespace basin::tools {

PartInfo curvature_part();
PartInfo spectrum_part();
PartInfo slices_part();
PartInfo ranks_part();
PartInfo representations_part();
PartInfo sharpness_part();
PartInfo training_part();
PartInfo optimizers_part();
PartInfo modes_part();
PartInfo solution_part();

inline std::vector<PartInfo> builtin_parts() {
  return {curvature_part(),       spectrum_part(),  slices_part(),   ranks_part(),
          representations_part(), sharpness_part(), training_part(), optimizers_part(),
          modes_part(),           solution_part()};
}

}  // namespace basin::tools
