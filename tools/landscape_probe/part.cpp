// The registry of parts. Basin's own stand in it from the first look on, whoever registers first.
#include "basin/tools/landscape_probe/part.h"

#include <algorithm>

#include "basin/core/folder.h"
#include "basin/tools/landscape_probe/detail/builtin_parts.h"

namespace basin::tools {
namespace {

std::vector<PartInfo>& part_registry() {
  static std::vector<PartInfo> all = builtin_parts();
  return all;
}

}  // namespace

std::string ProbeContext::label() const {
  return trained.task.model.name + " " + trained.optimizer();
}

ProbeData ProbeContext::data(Split split, const char* limit_setting) const {
  return probe_data(trained.task, split, config.integer(limit_setting), batch, seed);
}

std::vector<LossBatch> ProbeContext::loss_batches(const ProbeData& data) const {
  return basin::loss_batches(trained.task, state.buffers, data, batch_norm, dtype);
}

fs::path eigenvector_file(const fs::path& probe) { return probe / "eigenvectors.safetensors"; }

bool register_part(PartInfo info) {
  check(!info.name.empty(), "registry: a part of the probe needs a name");
  const auto same = [&](const PartInfo& p) { return p.name == info.name; };
  std::vector<PartInfo>& all = part_registry();
  check(std::none_of(all.begin(), all.end(), same), "registry: the part '", info.name,
        "' of the probe exists already");
  all.push_back(std::move(info));
  return true;
}

const std::vector<PartInfo>& parts() { return part_registry(); }

std::vector<std::string> measured_part_names() {
  std::vector<std::string> out;
  for (const PartInfo& part : parts()) {
    if (part.measure) out.push_back(part.name);
  }
  return out;
}

void add_sections(Report& report, const std::vector<PartSection>& sections, const fs::path& dir) {
  const fs::path tables = dir / "tables";
  make_folder(tables);
  for (const PartSection& s : sections) {
    ReportSection out{s.heading, {ReportParagraph{s.text}}};
    for (const Figure& f : s.figures) out.blocks.emplace_back(f);
    for (const NamedTable& t : s.tables) {
      if (t.page.rows.empty()) continue;
      write_file_atomic(tables / (t.name + ".csv"), t.csv);
      out.blocks.emplace_back(t.page);
    }
    if (out.blocks.size() > 1) report.sections.push_back(std::move(out));
  }
}

}  // namespace basin::tools
