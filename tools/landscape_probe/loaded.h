// A probe as read back from its folder, with what a comparison calls it.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "basin/analysis/slices.h"
#include "basin/tools/landscape_probe/record.h"

namespace basin::tools {

struct LoadedProbe {
  fs::path dir;
  RecordFields facts;     // run.json
  std::string network;    // "pointnet"
  std::string optimizer;  // "muon"; with the name of the run where two of a network share it
  fs::path run;           // the run directory; empty when the probe stands elsewhere
  std::vector<CurvatureRecord> curvature;  // empty: not measured; so below
  std::optional<RanksRecord> ranks;
  std::optional<RepresentationsRecord> representations;
  std::optional<SharpnessRecords> sharpness;
  std::optional<SlicesRecord> slices;
  std::map<std::string, Slice> slice_values;  // by name

  const CurvatureRecord* hessian() const;  // of all parameters; null if not measured
};

// data errors naming the file.
LoadedProbe load_probe(const fs::path& dir);
std::vector<LoadedProbe> load_probes(const std::vector<fs::path>& dirs);

// Networks in the order of their first appearance.
std::vector<std::string> networks_of(const std::vector<LoadedProbe>& probes);

// An eigenvalue with its residual as interval: some eigenvalue of the operator lies within.
Estimate eigen_estimate(const EigenRecord& e);

}  // namespace basin::tools
