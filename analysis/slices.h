// Loss slices: L(w + x d1 + y d2) on a grid of one or two axes, any range and number of points per
// axis. Every point is in one of three states: missing (not computed), done, or failed (a numerical
// error or a loss that is not finite). A failed point keeps NaN and its reason, is counted, and is
// neither retried nor altered. Computed points are appended to a file, so that a killed run resumes
// where it was and parts of a grid computed by several processes are merged.
#pragma once
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "basin/analysis/directions.h"
#include "basin/analysis/operator.h"
#include "basin/core/io.h"

namespace basin {

struct SliceAxis {
  std::string label = {};
  double low = -1, high = 1;  // units of the direction; low < high, or equal with one point
  int count = 51;
  double at(int i) const;  // evenly spaced; the ends exactly low and high
  bool operator==(const SliceAxis&) const = default;
};

// The value of (ix, iy) stands at iy * x.count + ix: rows of constant y, x fastest. A slice along
// one direction has a y axis of the single point 0.
struct SliceGrid {
  SliceAxis x;
  SliceAxis y = {{}, 0, 0, 1};
  int64_t size() const { return int64_t{x.count} * y.count; }
  int64_t index(int ix, int iy) const { return int64_t{iy} * x.count + ix; }
  int ix(int64_t index) const { return static_cast<int>(index % x.count); }
  int iy(int64_t index) const { return static_cast<int>(index / x.count); }
  bool operator==(const SliceGrid&) const = default;
};

enum class PointState : uint8_t { missing, done, failed };

// Batch-norm statistics at a moved point: those of the checkpoint, or estimated anew from the data
// with the moved weights. The evaluated function does it; the slice records which.
enum class BatchStatistics : uint8_t { frozen, reestimated };
std::string_view name_of(BatchStatistics s);

using SliceFields = std::vector<std::pair<std::string, std::string>>;  // name, value; unique names

struct Slice {
  SliceGrid grid;
  SliceFields asked;                       // everything that the values depend on
  std::vector<PointState> state;           // per point, as are the following
  std::vector<double> loss;                // NaN unless done
  std::vector<double> metric;              // NaN unless done and the function gives one
  std::map<int64_t, std::string> reasons;  // of the failed points, by index

  Slice() = default;
  Slice(SliceGrid grid, SliceFields asked);  // every point missing; usage error for a bad grid
  int64_t count(PointState s) const;
  int64_t lowest() const;  // index of the least loss, the first of equals; -1 without any
  std::string field(std::string_view name) const;  // of `asked`; empty when absent
  // What the second value is called in files: as the field "metric" says ("metric" itself where
  // that is another key of a point, as "loss" is); "accuracy" without the field.
  std::string metric_name() const;
};

struct SlicePoint {
  double loss = std::numeric_limits<double>::quiet_NaN();
  double metric = std::numeric_limits<double>::quiet_NaN();  // a second value; NaN: there is none
};

struct SliceRequest {
  SliceGrid grid;
  Direction first;
  Direction second = {};  // empty for a slice along one direction
  BatchStatistics batch_norm = BatchStatistics::frozen;
  // What else the values depend on: checkpoint, data subset, loss. The engine adds grid,
  // batch_norm, dtype and the fingerprints of weights and directions itself.
  SliceFields fields = {};
};

struct SliceRun {
  fs::path file = {};         // points computed so far; empty: not kept
  int shard = 0, shards = 1;  // this process computes the points with index % shards == shard
  // Called after each computed point (points of this shard done or failed, all of them); false
  // stops the run, which is then complete up to there.
  std::function<bool(int64_t computed, int64_t total)> progress = {};
};

using SliceFunction = std::function<SlicePoint(const Tensors& params)>;
// One that also depends on where on the slice the parameters stand: what no direction moves
// (running statistics) may be interpolated there.
using SliceFunctionAt = std::function<SlicePoint(const Tensors& params, double x, double y)>;

// Evaluates f at the points of this shard that `file` does not hold yet. A numerical error of f
// makes a failed point; any other error ends the run, with the points so far in the file.
//   data error naming the field that differs when `file` answers another question, or the line
//   that is damaged; output error when it cannot be written or another process is writing it.
Slice run_slice(const ParamList& base, const SliceRequest& request, const SliceFunction& f,
                const SliceRun& run = {});
Slice run_slice_at(const ParamList& base, const SliceRequest& request, const SliceFunctionAt& f,
                   const SliceRun& run = {});

// The loss to second order about the point (0, 0) of a slice:
//   q(x, y) = L + g1 x + g2 y + (h11 x^2 + 2 h12 x y + h22 y^2) / 2,  g_i = g.d_i, h_ij = d_i.H
//   d_j.
struct LocalQuadratic {
  double loss = 0, g1 = 0, g2 = 0, h11 = 0, h12 = 0, h22 = 0;
  double at(double x, double y = 0) const;
};
// loss, gradient [n] f64 and the operator H of one ParameterSpace with these `indices`; `second`
// null for a slice along one direction. One apply() of H.
LocalQuadratic local_quadratic(double loss, const Tensor& gradient, const SymmetricOperator& h,
                               const ParamList& params, const std::vector<int>& indices,
                               const Direction& first, const Direction* second = nullptr);

// How far the measured losses are from the model.
struct Departure {
  std::vector<double> difference;  // loss - q per point; NaN unless done
  double largest = 0;              // max |difference|
  int64_t where = -1;              // its index; -1 without done points
  double rms = 0;
  // The distance from (0, 0), in the axes' units, of the nearest point that failed or where
  // |loss - q| > share |q - q(0, 0)|; infinity where the model holds on the whole grid. Differences
  // within `rounding` count as none.
  double holds_within = 0;
};
Departure departure(const Slice& slice, const LocalQuadratic& model, double share = 0.1,
                    double rounding = 1e-12);

std::string slice_csv(const Slice& slice);  // ix,iy,x,y,state,loss,METRIC,reason

}  // namespace basin
