// What is written and printed of an evaluation on corrupted clouds:
//   tables/corruptions.csv    corruption,group,severity,points,shapes,error_rate,accuracy,
//                             mean_class_accuracy,loss,skipped: one line per pair, severity 0 for
//                             the clean clouds, one line with the reason for what was skipped
//   tables/corruptions.json   the summary, flat
//   figures/corruptions.svg   error rates as a heat map; figures/corruptions.csv: its numbers
#pragma once
#include <string>

#include "basin/core/record.h"
#include "basin/tools/train_modelnet/corruption_eval.h"

namespace basin::tools {

std::string corruption_table(const CorruptionReport& report);  // for stdout
std::string corruption_csv(const CorruptionReport& report);
std::string corruption_figure(const CorruptionReport& report);  // SVG
Record corruption_summary(const CorruptionReport& report);

// Creates the folders; every file is replaced atomically. Returns what was written, in words.
std::string write_corruptions(const CorruptionReport& report, const fs::path& dir);

// The mean accuracy of tables/corruptions.json with the number of corruptions, "71.20 % (13)";
// empty when the run has none.
std::string corrupted_accuracy_text(const fs::path& run);

}  // namespace basin::tools
