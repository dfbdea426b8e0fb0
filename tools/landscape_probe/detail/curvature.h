// The record of part "curvature", which two files read: its measurement (curvature.cpp) and its
// tables, figures and verdicts (curvature_report.cpp).
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "basin/tools/landscape_probe/part.h"

namespace basin::tools {

inline constexpr const char* kCurvature = "curvature";

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

// The plain estimators of published studies: power iteration and Hutchinson, stopped by relative
// change.
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
  std::string data;  // what it was measured on; empty in records of earlier versions
  int64_t size = 0;  // parameters of the subset
  double loss = 0, gradient_norm = 0;
  std::vector<EigenRecord> top, bottom;
  bool converged = false;  // every eigenvalue
  std::string note;
  std::string copies;  // of repeated eigenvalues, how the search ended; empty in earlier records
  int64_t products = 0;
  Estimate trace;
  std::vector<double> trace_samples;  // one per probe; empty for xtrace
  std::vector<BlockRecord> blocks;
  std::vector<QuadratureRecord> density;
  Estimate negative_share;  // of the spectral density
  PaperRecord paper;
  double seconds = 0;
};
using CurvatureRecords = std::vector<CurvatureRecord>;  // a kind and a subset each

void fields(FieldWalk& walk, EigenRecord& r);
void fields(FieldWalk& walk, BlockRecord& r);
void fields(FieldWalk& walk, QuadratureRecord& r);
void fields(FieldWalk& walk, PaperRecord& r);
void fields(FieldWalk& walk, CurvatureRecord& r);
void check_record(const CurvatureRecords& record, const std::string& file);

// Empty: not measured.
const CurvatureRecords& curvature_of(const LoadedProbe& p);
// One trace over another from the samples of both, pair by pair: networks of one size are probed
// with the same vectors where the seed is the same. Nothing where the counts differ.
std::optional<Estimate> trace_ratio(const CurvatureRecord& of, const CurvatureRecord& over);
// An eigenvalue with its residual as interval: some eigenvalue of the operator lies within.
Estimate eigen_estimate(const EigenRecord& e);

PartReport curvature_report(const std::vector<LoadedProbe>& probes, const std::string& command);
void add_curvature_verdicts(const LoadedProbe& a, const LoadedProbe& b, VerdictList& out);

// Figures of curvature_report, in curvature_plots.cpp.
std::vector<Figure> curvature_plots(const std::vector<LoadedProbe>& probes,
                                    const std::string& command);
std::vector<Figure> convergence_plots(const std::vector<LoadedProbe>& probes,
                                      const std::string& command);

PartReport curvature_over_seeds(const std::string& network, const std::vector<SeedProbes>& all,
                                const FigureConditions& conditions);

}  // namespace basin::tools
