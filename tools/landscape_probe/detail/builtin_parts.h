// Basin's own parts: each is defined in the file of its name.
#pragma once
#include "basin/tools/landscape_probe/part.h"

namespace basin::tools {

PartInfo curvature_part();
PartInfo slices_part();
PartInfo ranks_part();
PartInfo representations_part();
PartInfo sharpness_part();
PartInfo training_part();

}  // namespace basin::tools
