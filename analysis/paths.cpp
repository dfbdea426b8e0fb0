// Barriers, principal directions through the Gram matrix of the path, projections.
#include "basin/analysis/paths.h"

#include <algorithm>
#include <cmath>

#include "basin/core/error.h"
#include "basin/kernels/linalg.h"

namespace basin {
namespace {

constexpr double kFlat =
    1e-14;  // of the largest variance: rounding of f32 weights, not a direction

Tensor as_f64(const Tensor& t) { return t.to(Device::cpu).to(DType::f64); }

void check_same_network(const ParamList& a, const ParamList& b, const char* what) {
  check(a.size() == b.size(), what, ": the checkpoints have ", a.size(), " and ", b.size(),
        " tensors");
  for (size_t i = 0; i < a.size(); ++i) {
    check(a[i].name == b[i].name && a[i].value.shape() == b[i].value.shape(), what,
          ": the checkpoints differ at '", a[i].name, "' ", a[i].value.shape(), " and '", b[i].name,
          "' ", b[i].value.shape());
  }
}

// w_i - origin of one parameter, as rows.   [n, numel] f64
Tensor differences(const std::vector<ParamList>& path, const ParamList& origin, size_t parameter) {
  const Tensor start = as_f64(origin[parameter].value);
  const int64_t size = start.numel();
  Tensor out = Tensor::empty({static_cast<int64_t>(path.size()), size}, DType::f64);
  for (size_t i = 0; i < path.size(); ++i) {
    const Tensor w = as_f64(path[i][parameter].value);
    double* row = out.mutable_data<double>() + static_cast<int64_t>(i) * size;
    for (int64_t k = 0; k < size; ++k) row[k] = w.data<double>()[k] - start.data<double>()[k];
  }
  return out;
}

// <w_i - w_n, w_j - w_n>.   [n, n] f64
std::vector<double> gram_of(const std::vector<ParamList>& path) {
  const size_t n = path.size();
  std::vector<double> gram(n * n, 0);
  for (size_t p = 0; p < path.back().size(); ++p) {
    const Tensor d = differences(path, path.back(), p);
    const int64_t size = d.size(1);
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j <= i; ++j) {
        const double* a = d.data<double>() + static_cast<int64_t>(i) * size;
        const double* b = d.data<double>() + static_cast<int64_t>(j) * size;
        double sum = 0;
        for (int64_t k = 0; k < size; ++k) sum += a[k] * b[k];
        gram[i * n + j] += sum;
      }
    }
  }
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < i; ++j) gram[j * n + i] = gram[i * n + j];
  }
  return gram;
}

// The same about the mean of the path.
std::vector<double> centred(const std::vector<double>& gram, size_t n) {
  std::vector<double> row(n, 0);
  double all = 0;
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) row[i] += gram[i * n + j] / static_cast<double>(n);
    all += row[i] / static_cast<double>(n);
  }
  std::vector<double> out(n * n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) out[i * n + j] = gram[i * n + j] - row[i] - row[j] + all;
  }
  return out;
}

// sum_i weight_i (w_i - w_n), of length 1.
Direction combination(const std::vector<ParamList>& path, const std::vector<double>& weights) {
  Direction out;
  for (size_t p = 0; p < path.back().size(); ++p) {
    const Tensor d = differences(path, path.back(), p);
    const int64_t size = d.size(1);
    Tensor part = Tensor::zeros(path.back()[p].value.shape(), DType::f64);
    double* to = part.mutable_data<double>();
    for (size_t i = 0; i < path.size(); ++i) {
      const double* row = d.data<double>() + static_cast<int64_t>(i) * size;
      for (int64_t k = 0; k < size; ++k) to[k] += weights[i] * row[k];
    }
    out.parts.push_back(std::move(part));
  }
  return out;
}

void scale_direction(Direction& d, double by) {
  for (Tensor& part : d.parts) {
    for (int64_t k = 0; k < part.numel(); ++k) part.mutable_data<double>()[k] *= by;
  }
}

// weights: of the given lists, summing to 1; an integer is that of the largest weight.
ParamList weighted(const std::vector<const ParamList*>& lists, const std::vector<double>& weights) {
  const auto largest =
      static_cast<size_t>(std::max_element(weights.begin(), weights.end()) - weights.begin());
  for (const ParamList* list : lists) check_same_network(*lists.front(), *list, "statistics");
  ParamList out = lists[largest]->clone();
  if (weights[largest] == 1) return out;
  for (size_t i = 0; i < out.size(); ++i) {
    const DType dtype = out[i].value.dtype();
    if (!is_float(dtype)) continue;
    Tensor sum = Tensor::zeros(out[i].value.shape(), DType::f64);
    for (size_t l = 0; l < lists.size(); ++l) {
      const Tensor value = as_f64((*lists[l])[i].value);
      for (int64_t k = 0; k < sum.numel(); ++k) {
        sum.mutable_data<double>()[k] += weights[l] * value.data<double>()[k];
      }
    }
    out[i].value = sum.to(dtype).to(out[i].value.device());
  }
  return out;
}

}  // namespace

Barrier line_barrier(const Slice& line) {
  const SliceAxis& t = line.grid.x;
  check(line.grid.y.count == 1 && t.low == 0 && t.high == 1 && t.count >= 2,
        "line_barrier: expects a line of at least 2 points from 0 to 1, given ", t.count, " from ",
        t.low, " to ", t.high);
  Barrier out;
  out.points = line.count(PointState::done);
  const double from = line.loss.front(), to = line.loss.back();
  if (!std::isfinite(from) || !std::isfinite(to)) return out;
  for (int i = 0; i < t.count; ++i) {
    const double at = t.at(i), loss = line.loss[static_cast<size_t>(i)];
    const double rise = loss - ((1 - at) * from + at * to);
    if (!std::isfinite(loss) || !(std::isnan(out.height) || rise > out.height)) continue;
    out.height = rise;
    out.at = at;
    out.loss = loss;
  }
  return out;
}

PathPlane principal_plane(const std::vector<ParamList>& path) {
  const size_t n = path.size();
  check(n >= 3, "principal_plane: expects at least three checkpoints, given ", n);
  for (const ParamList& w : path) check_same_network(path.back(), w, "principal_plane");
  const std::vector<double> gram = centred(gram_of(path), n);
  const auto side = static_cast<int64_t>(n);
  const EighFactors e = Eigh::cpu(Tensor::from(gram, {side, side}));
  double total = 0;
  for (size_t i = 0; i < n; ++i) total += gram[i * n + i];
  PathPlane out;
  for (int64_t k = 0; k < 2; ++k) {
    const int64_t column = side - 1 - k;
    const double variance = e.values.at(column);
    if (!(variance > kFlat * total)) {
      fail(ErrorKind::numerical, "principal_plane: the ", n, " checkpoints lie ",
           k == 0 ? "on one point" : "on a line", ", which spans no plane");
    }
    // About the mean of the path: the weights of a centred combination sum to zero.
    std::vector<double> weights(n);
    double mean = 0;
    for (size_t i = 0; i < n; ++i) {
      weights[i] = e.vectors.at(static_cast<int64_t>(i) * side + column);
      mean += weights[i] / static_cast<double>(n);
    }
    for (double& w : weights) w -= mean;
    Direction d = combination(path, weights);
    d.what = str("principal direction ", k + 1, " of ", n, " checkpoints");
    const std::string what = d.what;
    if (k == 1) remove_component(d, out.first);  // of rounding
    d.what = what;
    scale_direction(d, 1 / d.norm());
    const Direction start = difference_direction(path.back(), path.front(), "start");
    if (start.dot(d) < 0) scale_direction(d, -1);  // an eigenvector has no sign of its own
    (k == 0 ? out.first : out.second) = std::move(d);
    out.shares[static_cast<size_t>(k)] = variance / total;
  }
  return out;
}

ProjectedPath projected_path(const std::vector<ParamList>& path, const ParamList& origin,
                             const Direction& first, const Direction& second) {
  check(!path.empty(), "projected_path: expects checkpoints, given none");
  ProjectedPath out;
  for (const ParamList& w : path) {
    const Direction d = difference_direction(origin, w, "checkpoint of a path");
    out.x.push_back(d.dot(first));
    out.y.push_back(d.dot(second));
  }
  const auto spread = [](const std::vector<double>& values) {
    double mean = 0, sum = 0;
    for (double v : values) mean += v / static_cast<double>(values.size());
    for (double v : values) sum += (v - mean) * (v - mean);
    return sum;
  };
  const std::vector<double> gram = centred(gram_of(path), path.size());
  double total = 0;
  for (size_t i = 0; i < path.size(); ++i) total += gram[i * path.size() + i];
  out.share = total > 0 ? (spread(out.x) + spread(out.y)) / total
                        : std::numeric_limits<double>::quiet_NaN();
  return out;
}

ParamList between(const ParamList& a, const ParamList& b, double t) {
  return weighted({&a, &b}, {1 - t, t});
}

ParamList between(const ParamList& a, const ParamList& b, const ParamList& c, double u, double v) {
  return weighted({&a, &b, &c}, {1 - u - v, u, v});
}

}  // namespace basin
