// One probe of one run: the parts that are asked for and not there yet, into one folder.
//   PROBE/{config.toml, run.json, <part>.json, slice-<name>.jsonl, eigenvectors.safetensors}
// and, made anew from those files each time: tables/, figures/, report.html (report.h).
#pragma once
#include <string>

#include "basin/analysis/lanczos.h"
#include "basin/tools/landscape_probe/record.h"
#include "basin/tools/landscape_probe/settings.h"
#include "basin/tools/landscape_probe/subject.h"

namespace basin::tools {

// Thrown where a signal is noticed; what is complete is on disk by then.
struct StopRequest {
  int signal = 0;
};

// An operator that heeds signals and shows how many products were made.
class WatchedOperator : public SymmetricOperator {
 public:
  WatchedOperator(const SymmetricOperator& inner, std::string label);
  int64_t size() const override { return inner_.size(); }
  Tensor apply(const Tensor& v) const override;
  int64_t products() const { return products_; }

 private:
  const SymmetricOperator& inner_;
  std::string label_;
  mutable int64_t products_ = 0;
  mutable double last_ = 0;
};

// What the parts of one probe share.
struct ProbeContext {
  const Subject& subject;
  const ProbeSettings& settings;
  fs::path dir;
  ModelState state;  // in the precision of the probe
};

// The two top eigenvectors of the first curvature, which the slices follow.
fs::path eigenvector_file(const fs::path& probe);

// The measurements, each as the record of its part.
std::vector<CurvatureRecord> measure_curvature(const ProbeContext& context);
RanksRecord measure_ranks(const ProbeContext& context);
RepresentationsRecord measure_representations(const ProbeContext& context);
SharpnessRecords measure_sharpness(const ProbeContext& context);
SlicesRecord measure_slices(const ProbeContext& context);
// The points of one shard, into a file in PROBE-shards/; measure_slices() joins such files.
void measure_slice_shard(const ProbeContext& context);

// Runs the parts; returns the folder of the probe. `path`: as Subject takes it. `out`: empty for
// RUN/probe. output error when a part is there with other settings.
fs::path probe_run(const std::string& path, const Config& config, const fs::path& out,
                   const std::string& command);

}  // namespace basin::tools
