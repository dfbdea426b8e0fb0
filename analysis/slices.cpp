// Walks the points of a grid, evaluates the loss at each and makes the quadratic model; the file
// that keeps them is slice_file.cpp.
#include "basin/analysis/slices.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "basin/analysis/csv_table.h"
#include "basin/analysis/slice_file.h"
#include "basin/core/error.h"

namespace basin {
namespace {

constexpr double kHole = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kMaxPoints = 1'000'000;

void check_axis(const SliceAxis& axis, std::string_view name) {
  check(axis.count >= 1, "slice: the ", name, " axis has ", axis.count,
        " points, expected 1 or more");
  check(std::isfinite(axis.low) && std::isfinite(axis.high) &&
            (axis.count == 1 ? axis.low == axis.high : axis.low < axis.high),
        "slice: the ", name, " axis has ", axis.count, " points from ", axis.low, " to ", axis.high,
        ", expected low < high (equal for one point)");
}

void add_field(SliceFields& fields, const std::string& name, const std::string& value) {
  for (const auto& [known, ignored] : fields) {
    check(known != name, "slice: the field '", name, "' is given twice");
  }
  fields.emplace_back(name, value);
}

SliceFields asked_fields(const ParamList& base, const SliceRequest& request) {
  SliceFields fields = grid_fields(request.grid);
  add_field(fields, "batch_norm", std::string(name_of(request.batch_norm)));
  add_field(fields, "first", request.first.what);
  add_field(fields, "first.sha256", fingerprint(request.first));
  if (!request.second.parts.empty()) {
    add_field(fields, "second", request.second.what);
    add_field(fields, "second.sha256", fingerprint(request.second));
  }
  add_field(fields, "dtype",
            base.size() > 0 ? std::string(name_of(base[0].value.dtype())) : "none");
  add_field(fields, "weights.sha256", fingerprint(base));
  for (const auto& [name, value] : request.fields) add_field(fields, name, value);
  return fields;
}

void compute_point(const ParamList& base, const SliceRequest& request, const SliceFunctionAt& f,
                   Slice& slice, int64_t index) {
  const SliceGrid& grid = slice.grid;
  const auto at = static_cast<size_t>(index);
  const Direction* second = request.second.parts.empty() ? nullptr : &request.second;
  try {
    const double x = grid.x.at(grid.ix(index)), y = grid.y.at(grid.iy(index));
    const SlicePoint point = f(moved(base, &request.first, x, second, y), x, y);
    if (std::isfinite(point.loss)) {
      slice.state[at] = PointState::done;
      slice.loss[at] = point.loss;
      slice.metric[at] = std::isfinite(point.metric) ? point.metric : kHole;
      return;
    }
    slice.reasons[index] = str("the loss is ", point.loss);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::numerical) throw;
    slice.reasons[index] = error.what();
  }
  slice.state[at] = PointState::failed;
}

}  // namespace

double SliceAxis::at(int i) const {
  check(i >= 0 && i < count, "slice: point ", i, " of an axis of ", count);
  if (i == 0) return low;
  if (i == count - 1) return high;
  // Symmetric in both ends: on [-r, r] the points mirror each other exactly and the middle is 0.
  return (static_cast<double>(count - 1 - i) * low + static_cast<double>(i) * high) / (count - 1);
}

std::string_view name_of(BatchStatistics s) {
  return s == BatchStatistics::frozen ? "frozen" : "re-estimated";
}

Slice::Slice(SliceGrid g, SliceFields fields) : grid(std::move(g)), asked(std::move(fields)) {
  check_axis(grid.x, "x");
  check_axis(grid.y, "y");
  check(grid.size() <= kMaxPoints, "slice: ", grid.size(), " points, at most ", kMaxPoints);
  const auto n = static_cast<size_t>(grid.size());
  state.assign(n, PointState::missing);
  loss.assign(n, kHole);
  metric.assign(n, kHole);
}

int64_t Slice::count(PointState s) const { return std::count(state.begin(), state.end(), s); }

int64_t Slice::lowest() const {
  int64_t best = -1;
  for (size_t i = 0; i < state.size(); ++i) {
    if (state[i] != PointState::done) continue;
    if (best < 0 || loss[i] < loss[static_cast<size_t>(best)]) best = static_cast<int64_t>(i);
  }
  return best;
}

std::string Slice::field(std::string_view name) const {
  for (const auto& [known, value] : asked) {
    if (known == name) return value;
  }
  return {};
}

std::string Slice::metric_name() const {
  const std::string name = field("metric");
  if (name.empty()) return "accuracy";
  constexpr std::string_view kTaken[] = {"point", "x", "y", "loss", "failed"};
  return std::find(std::begin(kTaken), std::end(kTaken), name) == std::end(kTaken) ? name
                                                                                   : "metric";
}

Slice run_slice(const ParamList& base, const SliceRequest& request, const SliceFunction& f,
                const SliceRun& run) {
  return run_slice_at(
      base, request, [&f](const Tensors& params, double, double) { return f(params); }, run);
}

Slice run_slice_at(const ParamList& base, const SliceRequest& request, const SliceFunctionAt& f,
                   const SliceRun& run) {
  check(run.shards >= 1 && run.shard >= 0 && run.shard < run.shards, "slice: shard ", run.shard,
        " of ", run.shards, ", expected 0 <= shard < shards");
  check(!request.second.parts.empty() || request.grid.y.count == 1, "slice: the y axis has ",
        request.grid.y.count, " points but there is no second direction");
  Slice slice(request.grid, asked_fields(base, request));
  std::optional<SliceFile> file;
  if (!run.file.empty()) file.emplace(run.file, slice);
  const int64_t size = slice.grid.size();
  const int64_t total = (size - run.shard + run.shards - 1) / run.shards;
  int64_t computed = 0;
  const auto mine = [&](int64_t index) { return index % run.shards == run.shard; };
  for (int64_t i = 0; i < size; ++i) {
    computed += mine(i) && slice.state[static_cast<size_t>(i)] != PointState::missing;
  }
  for (int64_t i = run.shard; i < size; i += run.shards) {
    if (slice.state[static_cast<size_t>(i)] != PointState::missing) continue;
    compute_point(base, request, f, slice, i);
    if (file) file->append(slice, i);
    if (run.progress && !run.progress(++computed, total)) break;
  }
  return slice;
}

double LocalQuadratic::at(double x, double y) const {
  return loss + g1 * x + g2 * y + 0.5 * (h11 * x * x + 2 * h12 * x * y + h22 * y * y);
}

LocalQuadratic local_quadratic(double loss, const Tensor& gradient, const SymmetricOperator& h,
                               const ParamList& params, const std::vector<int>& indices,
                               const Direction& first, const Direction* second) {
  const int64_t n = h.size(), lanes = second ? 2 : 1;
  Tensor d = Tensor::empty({lanes, n}, DType::f64);
  for (int64_t lane = 0; lane < lanes; ++lane) {
    const Tensor flat = flatten(lane == 0 ? first : *second, params, indices);
    check(flat.numel() == n && gradient.defined() && gradient.numel() == n &&
              gradient.dtype() == DType::f64,
          "slice: the operator has size ", n, ", the direction ", flat.numel(),
          " elements; the gradient must be as long and f64");
    std::copy_n(flat.data<double>(), n, d.mutable_data<double>() + lane * n);
  }
  const Tensor hd = h.apply(d);
  const auto product = [n](const double* a, const double* b) {
    double sum = 0;
    for (int64_t k = 0; k < n; ++k) sum += a[k] * b[k];
    return sum;
  };
  const double *g = gradient.data<double>(), *d1 = d.data<double>(), *h1 = hd.data<double>();
  LocalQuadratic q{.loss = loss, .g1 = product(g, d1), .h11 = product(d1, h1)};
  if (second) {
    const double *d2 = d1 + n, *h2 = h1 + n;
    q.g2 = product(g, d2);
    q.h12 = 0.5 * (product(d1, h2) + product(d2, h1));  // equal but for rounding
    q.h22 = product(d2, h2);
  }
  return q;
}

Departure departure(const Slice& slice, const LocalQuadratic& model, double share,
                    double rounding) {
  check(share > 0 && rounding >= 0, "slice: departure expects share > 0 and rounding >= 0, given ",
        share, " and ", rounding);
  Departure out;
  out.difference.assign(slice.loss.size(), kHole);
  out.holds_within = std::numeric_limits<double>::infinity();
  double squares = 0;
  for (int64_t i = 0; i < slice.grid.size(); ++i) {
    const auto at = static_cast<size_t>(i);
    if (slice.state[at] == PointState::missing) continue;
    const double x = slice.grid.x.at(slice.grid.ix(i)), y = slice.grid.y.at(slice.grid.iy(i));
    bool fails = slice.state[at] == PointState::failed;
    if (!fails) {
      const double q = model.at(x, y), difference = slice.loss[at] - q, size = std::abs(difference);
      out.difference[at] = difference;
      squares += difference * difference;
      if (out.where < 0 || size > out.largest) out.largest = size, out.where = i;
      const double slack = rounding * std::max(std::abs(slice.loss[at]), std::abs(model.loss));
      fails = size > share * std::abs(q - model.loss) && size > slack;
    }
    if (fails) out.holds_within = std::min(out.holds_within, std::hypot(x, y));
  }
  const int64_t done = slice.count(PointState::done);
  if (done > 0) out.rms = std::sqrt(squares / static_cast<double>(done));
  return out;
}

std::string slice_csv(const Slice& slice) {
  constexpr std::string_view kStates[] = {"missing", "done", "failed"};
  CsvTable out({"ix", "iy", "x", "y", "state", "loss", slice.metric_name(), "reason"});
  for (int64_t i = 0; i < slice.grid.size(); ++i) {
    const auto at = static_cast<size_t>(i);
    const int ix = slice.grid.ix(i), iy = slice.grid.iy(i);
    const auto reason = slice.reasons.find(i);
    out.row({ix, iy, slice.grid.x.at(ix), slice.grid.y.at(iy),
             kStates[static_cast<int>(slice.state[at])], slice.loss[at], slice.metric[at],
             reason == slice.reasons.end() ? std::string() : reason->second});
  }
  return out.text();
}

}  // namespace basin
