// Sections of a study's report on the parts that its measurements left, over the seeds.
#include <algorithm>

#include "basin/tools/shell/run_dir.h"
#include "basin/tools/study/sections.h"

namespace basin::tools {
namespace {

// The probes of a measurement of one network; optimizers without any are left out.
std::vector<SeedProbes> seed_probes(const Schedule& schedule, Ledger& ledger,
                                    const StudySubject& model, const std::string& measurement) {
  std::vector<SeedProbes> out;
  for (const StudyPair& pair : schedule.pairs()) {
    if (pair.model->name != model.name) continue;
    SeedProbes seeds{pair.optimizer->name, {}};
    for (const StudyRun& run : pair.runs) {
      const auto found = run.measured.find(measurement);
      if (found == run.measured.end()) continue;
      const fs::path parts = ledger.parts(found->second);
      if (!parts.empty() && RunDir::is_run(parts)) seeds.probes.push_back(load_probe(parts));
    }
    if (!seeds.probes.empty()) out.push_back(std::move(seeds));
  }
  return out;
}

}  // namespace

std::vector<PartSection> measured_sections(const Study& study, const Schedule& schedule,
                                           Ledger& ledger, const FigureConditions& conditions,
                                           std::vector<std::string>& absent) {
  std::vector<PartSection> out;
  for (const StudyMeasurement& m : study.measurements) {
    if (m.program != "landscape_probe" || m.of == Measured::search) continue;  // search: grid.cpp
    for (const StudySubject& model : study.models) {
      const std::vector<SeedProbes> probes = seed_probes(schedule, ledger, model, m.name);
      if (probes.empty()) {
        absent.push_back(str(model.name, ": no parts of ", m.name,
                             " (not measured yet, or neither kept with the records nor left in the "
                             "run directories)"));
        continue;
      }
      FigureConditions here = conditions;
      here.runs = 0;
      for (const SeedProbes& s : probes) here.runs = std::max(here.runs, std::ssize(s.probes));
      if (m.of == Measured::nearest) here.seeds.clear();
      for (const PartInfo& part : parts()) {
        if (!part.over_seeds) continue;
        PartReport report = part.over_seeds(model.name, probes, here);
        if (report.sections.empty()) {
          absent.push_back(str(model.name, ": no ", part.summary, " (", m.name, " does not name ",
                               part.name, " in its parts)"));
        }
        for (PartSection& section : report.sections) {
          section.heading += ", " + m.name;
          for (Figure& figure : section.figures) figure.name += "-" + m.name;
          out.push_back(std::move(section));
        }
        absent.insert(absent.end(), report.warnings.begin(), report.warnings.end());
      }
    }
  }
  return out;
}

}  // namespace basin::tools
