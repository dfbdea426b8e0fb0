// What an optimizer makes of a choice of basis: the action `gauge`. The hidden bases of a trained
// network that may be rotated without changing its function (nn/hidden_units.h) are rotated by
// random orthogonal matrices; both copies are trained on, on the same batches, and the distance of
// their functions is followed:
//   distance(step) = rms over test examples and outputs of f'(x) - f(x)
//   moved(step)    = the same of f(x) at this step and at the start
// An optimizer whose steps turn with the basis keeps the distance at rounding; one that divides
// element by element leaves. Twice: all parameters trained, and only the matrices that Muon
// orthogonalises, the rest held: by default Muon leaves biases, first and last layers to Adam,
// which does not turn with the basis. Always f64; each optimizer with its defaults but the rate,
// which may be said.
//   OUT/{config.toml, run.json, gauge.json, tables/, figures/, report.html}
#pragma once
#include <string>
#include <vector>

#include "basin/tools/landscape_probe/part.h"

namespace basin::tools {

struct GaugePathRecord {
  std::string optimizer;
  bool matrices_only = false;
  double lr = 0;
  std::vector<int64_t> step = {};
  std::vector<double> distance = {}, moved = {}, loss = {}, rotated_loss = {};
};
struct GaugeRecord {
  std::string data, groups;      // "features (32), global_feature (32)"
  double at_start = 0;           // distance of the functions before the first step
  double size = 0;               // rms of f at the start
  int64_t turned = 0, held = 0;  // parameters that the rotation touches; held by matrices_only
  std::vector<GaugePathRecord> paths;
};
void fields(FieldWalk& walk, GaugePathRecord& r);
void fields(FieldWalk& walk, GaugeRecord& r);
void check_record(const GaugeRecord& record, const std::string& file);

// Measures and writes the report; returns what is printed. `out`: empty for runs/gauge-RUN. usage
// error where no hidden units of the network rotate.
std::string gauge_paths(const std::string& network, const Config& config, const fs::path& out,
                        const std::string& command);

}  // namespace basin::tools
