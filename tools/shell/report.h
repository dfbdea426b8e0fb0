// What a training program prints: the final table of one run, the table of several runs, the
// routing of the parameters. Rounded numbers are for the eye; full precision is in the JSON files.
#pragma once
#include <string>
#include <vector>

#include "basin/train/trainer.h"

namespace basin::tools {

// Columns padded to their widest cell; the first row is the head. Numbers are right-aligned.
std::string format_table(const std::vector<std::vector<std::string>>& rows);

std::string result_table(const RecordFields& result);
std::string evaluation_table(const Evaluation& evaluation, const std::string& what);
// One line per run directory: model, optimizer, lr, wd, epochs, accuracies, seconds; and, once one
// of them was evaluated on corrupted clouds, that mean accuracy with the number of corruptions.
std::string comparison_table(const std::vector<fs::path>& runs);

// The plan that --dry-run prints, after timing two steps and one evaluation batch.
Record dry_run(Trainer& trainer, const TrainConfig& config, const TrainData& data);
std::string data_summary(const TrainConfig& config, const TrainData& data);

}  // namespace basin::tools
