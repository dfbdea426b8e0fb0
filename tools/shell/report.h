// What a training program prints: the final table of one run, the table of several runs, the plan
// of a dry run. Rounded numbers are for the eye; full precision is in the JSON files.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "basin/tools/shell/run_dir.h"
#include "basin/train/trainer.h"

namespace basin::tools {

// Columns padded to their widest cell; the first row is the head. Numbers are right-aligned.
std::string format_table(const std::vector<std::vector<std::string>>& rows);

std::string result_table(const RecordFields& result);
std::string evaluation_table(const Task& task, const Evaluation& evaluation,
                             const std::string& what);

// A column that a program adds to the comparison; an empty cell: the run has nothing there.
struct ComparisonColumn {
  std::string name;
  std::function<std::string(const fs::path& run)> cell;
};
// One line per run directory: model, optimizer, lr, wd, epochs, the leading metrics, seconds.
std::string comparison_table(const std::vector<fs::path>& runs,
                             const std::vector<ComparisonColumn>& extra = {});

// The plan that --dry-run prints, after timing two steps and one evaluation batch.
Record dry_run(Trainer& trainer);
std::string data_summary(const Task& task);

}  // namespace basin::tools
