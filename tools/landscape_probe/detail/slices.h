// The record of part "slices", which two files read: its measurement (slices.cpp) and its table and
// figures (slices_report.cpp); and what other measurements on a grid share with it.
#pragma once
#include <string>
#include <vector>

#include "basin/analysis/slices.h"
#include "basin/tools/landscape_probe/part.h"

namespace basin::tools {

inline constexpr const char* kSlices = "slices";

struct SliceRecord {
  std::string name;  // random, random1d, eigen; random-2 .. of further pairs of directions
  std::string file;  // slice-<name>.jsonl
  std::string data;
  int64_t done = 0, failed = 0, missing = 0;
  // The local quadratic in the axes of the slice; NaN where it was not made.
  double loss = 0, g1 = 0, g2 = 0, h11 = 0, h12 = 0, h22 = 0;
  double holds_within = 0;  // it holds at all points nearer than this

  LocalQuadratic model() const { return {loss, g1, g2, h11, h12, h22}; }
};
struct SlicesRecord {
  std::vector<SliceRecord> slices;
};

void fields(FieldWalk& walk, SliceRecord& r);
void fields(FieldWalk& walk, SlicesRecord& r);
void check_record(const SlicesRecord& record, const std::string& file);

// "slice roughness": the root mean square departure of the loss from its local quadratic over the
// grid of a random plane (or line); "slice curvature": half the trace of the quadratic there. Means
// over the pairs of directions, whose ratio is paired: the networks share their directions.
void add_slice_verdicts(const LoadedProbe& a, const LoadedProbe& b, VerdictList& out);

PartReport slices_report(const std::vector<LoadedProbe>& probes, const std::string& command);

// The field "metric" of a slice's file: none for "accuracy", which files from before other tasks
// have without saying so.
SliceFields metric_field(const Task& task);

// run_slice_at() that heeds signals and shows how far it is.
Slice run_watched_slice(const std::string& label, const ParamList& base,
                        const SliceRequest& request, const SliceFunctionAt& f, SliceRun run);

}  // namespace basin::tools
