// Reading a probe back: see loaded.h.
#include "basin/tools/landscape_probe/loaded.h"

#include <algorithm>

#include "basin/analysis/slice_file.h"
#include "basin/tools/shell/run_dir.h"

namespace basin::tools {

const CurvatureRecord* LoadedProbe::hessian() const {
  for (const CurvatureRecord& c : curvature) {
    if (c.kind == "hessian" && c.subset == "all") return &c;
  }
  return nullptr;
}

LoadedProbe load_probe(const fs::path& dir) {
  check(RunDir::is_run(dir), dir.string(), ": is no folder of a probe, it has no run.json");
  LoadedProbe out;
  out.dir = dir;
  const fs::path record = dir / "run.json";
  out.facts = parse_record(read_text_file(record), record.string());
  out.network = out.facts.text("model");
  out.optimizer = out.facts.text("optimizer");
  if (RunDir::is_run(dir.parent_path())) out.run = dir.parent_path();
  const PartFiles files(dir);
  if (files.has("curvature")) {
    out.curvature = files.read<std::vector<CurvatureRecord>>("curvature");
  }
  if (files.has("ranks")) out.ranks = files.read<RanksRecord>("ranks");
  if (files.has("representations")) {
    out.representations = files.read<RepresentationsRecord>("representations");
  }
  if (files.has("sharpness")) out.sharpness = files.read<SharpnessRecords>("sharpness");
  if (files.has("slices")) {
    out.slices = files.read<SlicesRecord>("slices");
    for (const SliceRecord& s : out.slices->slices) {
      out.slice_values.emplace(s.name, read_slice(dir / s.file));
    }
  }
  return out;
}

std::vector<LoadedProbe> load_probes(const std::vector<fs::path>& dirs) {
  std::vector<LoadedProbe> out;
  for (const fs::path& dir : dirs) out.push_back(load_probe(dir));
  std::map<std::pair<std::string, std::string>, int> count;
  for (const LoadedProbe& p : out) ++count[{p.network, p.optimizer}];
  for (LoadedProbe& p : out) {
    if (count[{p.network, p.optimizer}] > 1) p.optimizer += " (" + p.facts.text("run") + ")";
  }
  return out;
}

std::vector<std::string> networks_of(const std::vector<LoadedProbe>& probes) {
  std::vector<std::string> out;
  for (const LoadedProbe& p : probes) {
    if (std::find(out.begin(), out.end(), p.network) == out.end()) out.push_back(p.network);
  }
  return out;
}

Estimate eigen_estimate(const EigenRecord& e) {
  Estimate out;
  out.value = e.value;
  out.standard_error = 0;
  // Certain, hence an interval of any level.
  out.interval = {e.value - e.residual, e.value + e.residual, 0.95};
  out.method = "lanczos";
  return out;
}

}  // namespace basin::tools
