// report.html of a study: the answer in words and one picture, the tables, the search, the course
// of the trainings, the costs, and what made the numbers.
#pragma once
#include "basin/tools/study/results.h"

namespace basin::tools {

// Tables, figures and report.html into DIR. Returns the answer in words, one paragraph.
std::string write_study_report(const fs::path& dir, const Study& study, const Schedule& schedule,
                               Ledger& ledger, const std::string& command);

}  // namespace basin::tools
