// Tables of a report as text: Markdown for pages in a repository, LaTeX for a paper (booktabs). A
// cell stands in bold where it is the best of its comparison and the difference is significant.
#pragma once
#include <string>

#include "basin/figures/report.h"

namespace basin {

std::string markdown_table(const ReportTable& table);
// A tabular environment with its caption as a comment; characters that LaTeX reads as commands are
// escaped, the Greek letters, +-, <= and x of captions become mathematics.
std::string latex_table(const ReportTable& table);

}  // namespace basin
