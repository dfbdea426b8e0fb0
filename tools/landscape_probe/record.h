// What a probe leaves behind: PROBE/<part>.json, one file per part, each with the settings and the
// weights that its numbers depend on. A part that exists is read, not measured again; one that was
// made with other settings is never overwritten. Numbers are written so that they read back to the
// same bits; what is not finite is null.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "basin/analysis/estimate.h"
#include "basin/core/io.h"
#include "basin/core/record.h"

namespace basin::tools {

struct EigenRecord {
  double value = 0, residual = 0;
  bool converged = false;
};

// A share of the trace: a layer, or all that one rule of the optimizer updates.
struct BlockRecord {
  std::string kind;  // layer, group
  std::string name;
  int64_t size = 0;
  Estimate trace;
};

struct QuadratureRecord {
  std::vector<double> nodes, weights;
};

// The estimators of the study: power iteration and Hutchinson, stopped by relative change.
struct PaperRecord {
  bool measured = false;
  double lambda = 0, residual = 0;
  int64_t iterations = 0;
  bool stopped_by_tolerance = false;
  double trace = 0;
  int64_t probes = 0;
};

struct CurvatureRecord {
  std::string kind, subset;
  int64_t size = 0;  // parameters of the subset
  double loss = 0, gradient_norm = 0;
  std::vector<EigenRecord> top, bottom;
  bool converged = false;
  std::string note;
  int64_t products = 0;
  Estimate trace;
  std::vector<double> trace_samples;  // one per probe; empty for xtrace
  std::vector<BlockRecord> blocks;
  std::vector<QuadratureRecord> density;
  Estimate negative_share;  // of the spectral density
  PaperRecord paper;
  double seconds = 0;
};

struct WeightRecord {
  std::string name;
  int64_t rows = 0, cols = 0;
  std::vector<double> singular, initial;  // singular values: trained, before the first step
  double stable = 0, effective = 0, initial_stable = 0, initial_effective = 0;
};
struct SkippedRecord {
  std::string name, reason;
};
struct RanksRecord {
  std::vector<WeightRecord> weights;
  std::vector<SkippedRecord> skipped;
};

struct LayerRankRecord {
  std::string layer;
  int64_t samples = 0, channels = 0;
  bool centred = false, pooled = false;
  Estimate stable, effective;
};
struct RepresentationsRecord {
  std::string data;
  std::vector<LayerRankRecord> layers;
};

struct SharpnessRecord {
  std::string name, definition;
  Estimate value;
  std::string note;
};
struct SharpnessRecords {
  std::vector<SharpnessRecord> measures;
};

struct SliceRecord {
  std::string name;  // random, random1d, eigen
  std::string file;  // slice-<name>.jsonl
  std::string data;
  int64_t done = 0, failed = 0, missing = 0;
  // The local quadratic in the axes of the slice; NaN where it was not made.
  double loss = 0, g1 = 0, g2 = 0, h11 = 0, h12 = 0, h22 = 0;
  double holds_within = 0;
};
struct SlicesRecord {
  std::vector<SliceRecord> slices;
};

// The record in one file of a probe. Data error naming the file and the field: what is not JSON,
// lacks a field, holds another kind of value, more than a million values or more than 64 MB. Fields
// that are not of the record are passed over.
template <class Record>
Record read_record(const fs::path& file);
RecordFields read_identity(const fs::path& file);  // what the record depends on; data error

// The files of one probe. `identity`: what a part depends on, as a flat object; writing gives every
// part its own copy.
class PartFiles {
 public:
  explicit PartFiles(fs::path dir) : dir_(std::move(dir)) {}
  fs::path file(const std::string& part) const { return dir_ / (part + ".json"); }
  bool has(const std::string& part) const;
  // output error naming the first setting that differs from `identity`.
  void refuse_other(const std::string& part, const Record& identity) const;
  template <class Record>
  void write(const std::string& part, const Record& identity, const Record& record) const;
  template <class Record>
  Record read(const std::string& part) const {
    return read_record<Record>(file(part));
  }
  RecordFields identity(const std::string& part) const { return read_identity(file(part)); }

 private:
  fs::path dir_;
};

}  // namespace basin::tools
