// Part "modes": the leading singular modes of runs with SpecMuon, from the lines "probe_matrix"
// that --probe leaves in metrics.jsonl. It measures nothing.
#include <algorithm>
#include <cmath>
#include <set>

#include "basin/figures/mode_figures.h"
#include "basin/tools/landscape_probe/detail/builtin_parts.h"
#include "basin/tools/landscape_probe/detail/run_metrics.h"

namespace basin::tools {
namespace {

constexpr size_t kDrawnMatrices = 4;  // of one run; the CSV of the spread holds all

// Widens the curves to `modes`, with NaN for what was before.
void widen(ModeCurves& curves, size_t modes, size_t steps) {
  while (curves.size() < modes) curves.emplace_back(steps, NAN);
}

void add_line(MatrixModes& m, const RecordFields& f) {
  size_t modes = 0;
  while (f.has(str("specmuon_r_", modes + 1))) ++modes;
  const size_t before = m.steps.size();
  m.steps.push_back(f.number("step"));
  for (const auto& [curves, key] : {std::pair{&m.r, "specmuon_r_"},
                                    {&m.r_over_e, "specmuon_r_over_e_"},
                                    {&m.s, "specmuon_s_"},
                                    {&m.scale, "specmuon_scale_"}}) {
    widen(*curves, modes, before);
    for (size_t j = 0; j < curves->size(); ++j) {
      const std::string name = str(key, j + 1);
      (*curves)[j].push_back(f.has(name) ? f.number(name) : NAN);
    }
  }
}

std::vector<MatrixModes> modes_of(const LoadedProbe& p) {
  std::vector<MatrixModes> out;
  for (const RecordFields& f : metrics_of(p, "probe_matrix")) {
    if (!f.has("specmuon_r_1")) continue;
    const std::string name = f.text("name");
    auto at =
        std::find_if(out.begin(), out.end(), [&](const MatrixModes& m) { return m.name == name; });
    if (at == out.end()) at = out.insert(out.end(), MatrixModes{name, {}, {}, {}, {}, {}});
    add_line(*at, f);
  }
  return out;
}

PartReport modes_report(const std::vector<LoadedProbe>& probes, const std::string& command) {
  PartSection section{
      "Modes of SpecMuon",
      "Auxiliary variables, singular values and scales of the leading modes, as the "
      "runs recorded them.",
      {},
      {}};
  for (const std::string& network : networks_of(probes)) {
    SpreadPlot spread;
    spread.conditions.runs = 1;
    spread.conditions.level = 0;
    spread.conditions.command = command;
    std::set<fs::path> seen;  // a run may be compared more than once
    for (const LoadedProbe& p : of_network(probes, network)) {
      std::vector<MatrixModes> matrices = modes_of(p);
      if (matrices.empty() || !seen.insert(fs::weakly_canonical(p.run)).second) continue;
      spread.runs.push_back({p.optimizer, matrices});
      matrices.resize(std::min(matrices.size(), kDrawnMatrices));
      ModesPlot plot{p.optimizer, std::move(matrices), spread.conditions};
      Figure figure = modes_figure(plot);
      figure.name += str("-", network, "-", spread.runs.size());
      section.figures.push_back(std::move(figure));
    }
    if (spread.runs.empty()) continue;
    Figure figure = mode_spread_figure(spread);
    figure.name += "-" + network;
    section.figures.push_back(std::move(figure));
  }
  return {{std::move(section)}};
}

}  // namespace

PartInfo modes_part() {
  PartInfo info{.name = "modes", .summary = "SpecMuon's auxiliary variables and modes over steps"};
  info.report = modes_report;
  return info;
}

}  // namespace basin::tools
