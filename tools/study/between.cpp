// Sections of a study's report on what was measured between the trainings of a network.
#include "basin/analysis/csv_table.h"
#include "basin/core/text.h"
#include "basin/tools/landscape_probe/barriers.h"
#include "basin/tools/study/sections.h"

namespace basin::tools {
namespace {

// Of any program: what its record says.
NamedTable between_numbers(const StudyBetween& b, const RecordFields& record) {
  NamedTable out{str(b.measurement->name, "-", b.model->name), {}, {}};
  out.page.caption = str("Numbers of ", b.measurement->program, " over ", b.runs.size(), " runs");
  out.page.columns = {"quantity", "value"};
  CsvTable csv({"quantity", "value"});
  for (const auto& [key, text] : record.values()) {
    double value = 0;
    if (key.starts_with("job") || !parse_double(text, value)) continue;
    out.page.rows.push_back({key, readable(value)});
    csv.row({key, value});
  }
  out.csv = csv.text();
  return out;
}

// The same names for several networks of a study: told apart by the network.
void name_after(const std::string& what, PartSection& section) {
  for (Figure& figure : section.figures) figure.name += "-" + what;
  for (NamedTable& table : section.tables) table.name += "-" + what;
}

std::vector<PartSection> sections_of(const StudyBetween& b, Ledger& ledger,
                                     const std::string& command) {
  const RecordFields& record = *ledger.record(b.job->hash);
  const std::string what = str(b.measurement->name, " of ", b.model->name);
  if (!completed(record)) return {{what, "The measurement failed."}};
  const fs::path parts = ledger.parts(*b.job);
  if (parts.empty() || !PartFiles(parts).has("barriers")) {
    return {{what, str("Between ", b.runs.size(), " trainings."), {between_numbers(b, record)}}};
  }
  std::vector<BarrierNames> names;
  for (const StudyRun* run : b.runs) {
    const std::string seed = str(run->job.seed);
    names.push_back({str(run->job.optimizer, " seed ", seed), run->job.optimizer, seed});
  }
  PartReport report = barriers_report_of(parts, names, command);
  for (PartSection& section : report.sections) {
    section.heading = str(b.model->name, ": ", section.heading);
    name_after(str(b.model->name, "-", b.measurement->name), section);
  }
  return std::move(report.sections);
}

}  // namespace

std::vector<PartSection> between_sections(const Schedule& schedule, Ledger& ledger,
                                          const std::string& command) {
  std::vector<PartSection> out;
  for (const StudyBetween& b : schedule.between()) {
    if (!b.done) continue;
    for (PartSection& section : sections_of(b, ledger, command)) out.push_back(std::move(section));
  }
  return out;
}

}  // namespace basin::tools
