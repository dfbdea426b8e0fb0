// Sections of a study's report that draw on more than the flat records: on the parts that
// measurements left (curvature, ranks, barriers: tools/landscape_probe), and on the probes along the
// trainings. What is not in the records is not drawn; the section says what is absent and why.
#pragma once
#include "basin/figures/report.h"
#include "basin/tools/landscape_probe/part.h"
#include "basin/tools/study/results.h"

namespace basin::tools {

// What [between.NAME] measured, per network: the answer in words, matrices and tables where the
// program was `landscape_probe barriers`, else the numbers of its record.
std::vector<PartSection> between_sections(const Schedule& schedule, Ledger& ledger,
                                          const std::string& command);

}  // namespace basin::tools
