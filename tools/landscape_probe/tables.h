// The tables of a report: for the page, for the terminal and as CSV from one definition.
#pragma once
#include <string>
#include <vector>

#include "basin/figures/report.h"
#include "basin/tools/landscape_probe/loaded.h"

namespace basin::tools {

struct NamedTable {
  std::string name;  // stem of the CSV
  ReportTable page;  // rounded for readers
  std::string csv;   // full precision
};

NamedTable hessian_table(const std::vector<LoadedProbe>& probes);
NamedTable block_table(const std::vector<LoadedProbe>& probes);  // trace by layer and by rule
NamedTable weight_rank_table(const std::vector<LoadedProbe>& probes);
NamedTable representation_rank_table(const std::vector<LoadedProbe>& probes);
NamedTable sharpness_table(const std::vector<LoadedProbe>& probes);
NamedTable slice_table(const std::vector<LoadedProbe>& probes);

// B over A of every quantity that both have, two by two; with the published ratio where there is
// one (the study's Muon over Adam).
std::vector<Verdict> verdicts_of(const std::vector<LoadedProbe>& probes);
NamedTable verdict_table(const std::vector<Verdict>& verdicts, const std::string& a,
                         const std::string& b);

std::string text_table(const ReportTable& table);  // columns aligned, for the terminal

}  // namespace basin::tools
