// The settings of landscape_probe and the plain struct that the measurements take.
#pragma once
#include <set>
#include <string>
#include <vector>

#include "basin/analysis/representation.h"
#include "basin/tools/shell/config.h"
#include "basin/train/probe_data.h"

namespace basin::tools {

struct ProbeSettings {
  std::set<std::string> parts;  // curvature, ranks, representations, slices, sharpness
  int64_t shapes = 1024;        // training shapes of the curvature
  int64_t batch = 32;
  uint64_t seed = 0;
  NormStatistics batch_norm = NormStatistics::frozen;
  DType dtype = DType::f32;
  std::vector<std::string> kinds;    // hessian, gauss_newton
  std::vector<std::string> subsets;  // all, layer:PATTERN, role:ROLE, group:RULE
  int64_t top = 10, bottom = 5;
  int64_t lanczos_steps = 40;
  double tolerance = 1e-4;  // residual over |lambda|max that counts as converged
  std::string estimator;    // hutchinson, hutch++, xtrace
  int64_t probes = 24;
  double trace_error = 0;  // > 0: go on until the half width is below this share
  int64_t density_probes = 2;
  int64_t density_steps = 24;
  int64_t lanes = 4;  // vectors per recording
  bool paper_protocol = false;
  int64_t keep_bytes = 0;
  int64_t rank_shapes = 0;  // test shapes of the representations; 0: all
  RankInterval rank_interval = RankInterval::influence;
  int64_t resamples = 200;  // of the bootstrap
  int64_t slice_shapes = 256;
  int64_t sharpness_shapes = 128;
  std::vector<std::string> slices;  // random, random1d, eigen
  std::string normalisation;        // filter, layer, weight, none
  int64_t grid = 21, grid1d = 41;
  double range = 1;
  bool reestimate = false;  // batch norm statistics made anew at every point
  int64_t shard = 0, shards = 1;
  std::string hash;  // of everything above that decides a number
};

Config probe_settings();
ProbeSettings probe_settings_from(const Config& config);  // usage errors name the origin
std::string probe_help();

}  // namespace basin::tools
