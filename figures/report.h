// report.html: verdict first (a picture of the ratios, their table), then sections of prose, tables
// and figures, then what made the numbers. One file that needs nothing else: pictures and styles
// are inside, no script, no network; light and dark, at phone width, on paper. The only links out
// of it are relative ones to the CSV beside each figure. All words are escaped; the same input
// gives the same bytes.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "basin/analysis/estimate.h"
#include "basin/figures/figure.h"

namespace basin {

struct ReportCell {
  ReportCell(std::string words = {}) : text(std::move(words)) {}
  ReportCell(const char* words) : text(words) {}
  std::string text;
  bool best = false;         // of its comparison ...
  bool significant = false;  // ... and the difference is significant: bold only if both
};
struct ReportTable {
  std::string caption;
  std::vector<std::string> columns;
  std::vector<std::vector<ReportCell>> rows = {};  // one cell per column; the first names the row
  std::vector<bool> numeric = {};                  // aligned to the right; empty: all but the first
  bool stacked = false;  // on a narrow screen one row below the other, instead of scrolling
};
struct ReportParagraph {
  std::string text;
};
struct ReportList {
  std::vector<std::string> items;
};
using ReportBlock = std::variant<ReportParagraph, ReportList, ReportTable, Figure>;
struct ReportSection {
  std::string heading;
  std::vector<ReportBlock> blocks;
};

// One row of the verdict: a quantity at A and at B and their ratio A / B.
struct Verdict {
  std::string quantity;
  Estimate a, b, ratio;
  std::string published = {};  // the ratio as published elsewhere; the column only if one is given
  std::string words = {};      // empty: verdict_words
};
// What the ratio's interval says: "A is larger", "B is larger", "no difference shown" (the interval
// holds 1), "not measured" (no interval).
std::string verdict_words(const Estimate& ratio, const std::string& a, const std::string& b);

// What made the numbers; empty entries are left out.
struct Provenance {
  std::string version, commit, compiler, cpu, threads, seed, command, data_hash, started, finished;
  std::vector<std::pair<std::string, std::string>> more = {};
};

struct Report {
  std::string title;
  std::string summary = {};                // one paragraph below the title
  std::string a = "A", b = "B";            // names of what is compared
  std::optional<Figure> overview = {};     // above the verdict table: its ratios in one picture
  std::vector<Verdict> verdicts = {};      // empty: no verdict table
  std::vector<std::string> warnings = {};  // shown right below the verdict
  std::vector<ReportSection> sections = {};
  Provenance provenance = {};
  std::string figure_folder = "figures";  // of the links to the CSVs, relative to the report
};

constexpr size_t kInlineSvgLimit = 1500 * 1000;    // bytes; a larger picture stands in as PNG
constexpr size_t kReportLimit = 10 * 1000 * 1000;  // bytes

// usage error without sections or title, for a table row of another length than its columns, for
// two figures of one name, and when the report would exceed kReportLimit.
std::string report_html(const Report& report);
// DIR/report.html and DIR/FIGURES/NAME.{svg,csv,png} for every figure in it.
void write_report(const std::filesystem::path& dir, const Report& report);

}  // namespace basin
