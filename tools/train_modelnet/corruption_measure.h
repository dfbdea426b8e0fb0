// What train_modelnet measures beyond other training programs: accuracy on corrupted clouds, and a
// picture of the corruptions.
#pragma once
#include "basin/tools/shell/measure.h"
#include "basin/tools/train_modelnet/corruption_report.h"

namespace basin::tools {

Measurement corruption_measurement();     // --corruptions
Measurement contact_sheet_measurement();  // --contact-sheet, which needs no weights

}  // namespace basin::tools
