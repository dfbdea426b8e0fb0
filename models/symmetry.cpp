// Measuring symmetry errors: see symmetry.h.
#include "basin/models/symmetry.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "basin/autograd/ops.h"
#include "basin/core/io.h"
#include "basin/core/random.h"

namespace basin {
namespace {

constexpr std::array<double, 3> kNoShift{0, 0, 0};
constexpr Matrix3 kIdentity{{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};

// One transformation of a cloud and of what a layer says about it.
struct Transformation {
  Matrix3 q = kIdentity;
  std::array<double, 3> shift = kNoShift;
  std::vector<int64_t> order = {};  // empty: points stay
};

Transformation draw(SymmetryKind kind, int64_t points, uint64_t index,
                    const SymmetryOptions& options) {
  const uint64_t seed = stream_id("symmetry", static_cast<uint64_t>(kind), index) ^ options.seed;
  Transformation out;
  switch (kind) {
    case SymmetryKind::rotation: out.q = random_orthogonal(seed, false); break;
    case SymmetryKind::reflection: out.q = random_orthogonal(seed, true); break;
    case SymmetryKind::permutation: out.order = random_permutation(points, seed); break;
    case SymmetryKind::translation: {
      Rng rng(seed, 4);
      for (double& s : out.shift) s = rng.uniform(-options.shift, options.shift);
      break;
    }
  }
  return out;
}

// The transformation of a batch of clouds, or of an activation that has points.
Tensor apply(const Transformation& g, const Tensor& x, bool coordinates, bool has_points) {
  Tensor out = coordinates ? moved(x, g.q, g.shift) : x;
  return has_points && !g.order.empty() ? permuted(out, g.order) : out;
}

double relative_error(const Tensor& actual, const Tensor& expected) {
  double worst = 0, scale = 0;
  dispatch_float(actual.dtype(), "symmetry", [&](auto zero) {
    using T = decltype(zero);
    const T *a = actual.data<T>(), *e = expected.data<T>();
    for (int64_t i = 0; i < actual.numel(); ++i) {
      const double gap = std::abs(static_cast<double>(a[i]) - static_cast<double>(e[i]));
      if (!std::isfinite(gap)) worst = INFINITY;
      worst = std::max(worst, gap);
      scale = std::max(scale, std::abs(static_cast<double>(e[i])));
    }
  });
  if (worst == 0) return 0;
  return scale > 0 ? worst / scale : INFINITY;
}

struct Layer {
  std::string name;
  Tensor value;
};

std::vector<Layer> layers_of(const Model& model, const ModelState& state, const Tensor& points) {
  ForwardOptions options = ForwardOptions::evaluation();
  options.keep_activations = true;
  const ForwardResult result =
      model.forward(state.params.values(), state.buffers.values(), points, options);
  std::vector<Layer> out;
  for (const auto& [name, value] : result.activations) out.push_back({name, value});
  out.push_back({"logits", result.logits});
  return out;
}

// Which activations have one row per point: those that grow with the cloud. (Their shapes alone do
// not tell: a T-Net gives [B, 64, 64] for 64 points too.)
std::vector<bool> rows_per_point(const Model& model, const ModelState& state,
                                 const Tensor& points) {
  const Tensor one = slice(points, 0, 0, 1);
  const std::vector<Layer> small = layers_of(model, state, one);
  const std::vector<Layer> large = layers_of(model, state, concat({one, slice(one, 1, 0, 1)}, 1));
  std::vector<bool> out;
  for (size_t i = 0; i < small.size(); ++i) {
    out.push_back(small[i].value.rank() == 3 && small[i].value.size(1) != large[i].value.size(1));
  }
  return out;
}

using Neighbours = std::vector<std::set<int64_t>>;

// Numbers of the original points: order[j] of the transformed point j.
Neighbours neighbours_of(const Tensor& points, int64_t k, const std::vector<int64_t>& order) {
  const Tensor index = knn(points, k, false);
  const int64_t n = points.size(1);
  Neighbours out(static_cast<size_t>(points.size(0) * n));
  for (int64_t row = 0; row < points.size(0) * n; ++row) {
    const int64_t cloud = row / n, i = row % n;
    const int64_t original = order.empty() ? i : order[static_cast<size_t>(i)];
    auto& set = out[static_cast<size_t>(cloud * n + original)];
    for (int64_t q = 0; q < k; ++q) {
      const int64_t j = index.data<int32_t>()[row * k + q];
      set.insert(order.empty() ? j : order[static_cast<size_t>(j)]);
    }
  }
  return out;
}

double changed_share(const Neighbours& a, const Neighbours& b) {
  size_t changed = 0;
  for (size_t i = 0; i < a.size(); ++i) changed += a[i] != b[i] ? 1 : 0;
  return static_cast<double>(changed) / static_cast<double>(a.size());
}

int64_t neighbours_option(const Model& model) {
  const auto it = model.options.find("k");
  int64_t k = 0;
  return it != model.options.end() && parse_int64(it->second, k) ? k : 0;
}

void measure(SymmetryReport& report, const Model& model, const ModelState& state,
             const Tensor& points, const SymmetryOptions& options, SymmetryKind kind,
             const std::vector<bool>& has_points) {
  const std::vector<Layer> clean = layers_of(model, state, points);
  const size_t first = report.layers.size();
  for (const Layer& layer : clean) {
    SymmetryError entry;
    entry.kind = kind;
    entry.dtype = points.dtype();
    entry.layer = layer.name;
    entry.equivariant = layer.name.starts_with("coordinates") && kind != SymmetryKind::permutation;
    entry.declared = declares_symmetry(model.name, kind);
    report.layers.push_back(entry);
  }
  const int64_t k = std::min(neighbours_option(model), points.size(1) - 1);
  const Neighbours graph = k > 0 ? neighbours_of(points, k, {}) : Neighbours{};
  GraphChange change{kind, points.dtype(), 0};
  for (int64_t t = 0; t < options.transformations; ++t) {
    const Transformation g = draw(kind, points.size(1), static_cast<uint64_t>(t), options);
    const Tensor other = apply(g, points, true, true);
    const std::vector<Layer> result = layers_of(model, state, other);
    for (size_t i = 0; i < clean.size(); ++i) {
      SymmetryError& entry = report.layers[first + i];
      const Tensor expected = apply(g, clean[i].value, entry.equivariant, has_points[i]);
      entry.errors.push_back(relative_error(result[i].value, expected));
    }
    if (k > 0)
      change.share = std::max(change.share, changed_share(neighbours_of(other, k, g.order), graph));
  }
  if (k > 0) report.graph.push_back(change);
}

}  // namespace

std::string_view name_of(SymmetryKind kind) {
  constexpr std::string_view names[] = {"rotation", "reflection", "translation", "permutation"};
  return names[static_cast<int>(kind)];
}

bool declares_symmetry(const std::string& model, SymmetryKind kind) {
  if (model == "egnn") return true;
  return (model == "pointnet" || model == "dgcnn") && kind == SymmetryKind::permutation;
}

Matrix3 random_orthogonal(uint64_t seed, bool reflection) {
  Rng rng(seed, 3);
  Matrix3 q{};
  for (size_t r = 0; r < 2; ++r) {
    for (double& v : q[r]) v = rng.normal();
    if (r == 1) {
      const double along = q[0][0] * q[1][0] + q[0][1] * q[1][1] + q[0][2] * q[1][2];
      for (size_t c = 0; c < 3; ++c) q[1][c] -= along * q[0][c];
    }
    const double length = std::hypot(q[r][0], q[r][1], q[r][2]);
    for (double& v : q[r]) v /= length;
  }
  for (size_t c = 0; c < 3; ++c) {
    const size_t a = (c + 1) % 3, b = (c + 2) % 3;
    q[2][c] = (reflection ? -1 : 1) * (q[0][a] * q[1][b] - q[0][b] * q[1][a]);
  }
  return q;
}

std::vector<int64_t> random_permutation(int64_t n, uint64_t seed) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  Rng(seed, 2).shuffle(std::span<int64_t>(order));
  return order;
}

Tensor moved(const Tensor& x, const Matrix3& q, const std::array<double, 3>& shift) {
  check(x.rank() > 0 && x.size(x.rank() - 1) == 3, "moved: expects points [.., 3], got ",
        x.shape());
  Tensor out = Tensor::empty(x.shape(), x.dtype());
  dispatch_float(x.dtype(), "moved", [&](auto zero) {
    using T = decltype(zero);
    const T* from = x.data<T>();
    T* to = out.mutable_data<T>();
    for (int64_t p = 0; p < x.numel(); p += 3) {
      for (size_t c = 0; c < 3; ++c) {
        double value = shift[c];
        for (size_t i = 0; i < 3; ++i)
          value += q[c][i] * static_cast<double>(from[p + static_cast<int64_t>(i)]);
        to[p + static_cast<int64_t>(c)] = static_cast<T>(value);
      }
    }
  });
  return out;
}

Tensor permuted(const Tensor& x, const std::vector<int64_t>& order) {
  check(x.rank() == 3 && x.size(1) == static_cast<int64_t>(order.size()),
        "permuted: expects [B, N, C] and an order of N points, got ", x.shape(), " and ",
        order.size());
  const int64_t n = x.size(1), channels = x.size(2);
  Tensor out = Tensor::empty(x.shape(), x.dtype());
  dispatch_float(x.dtype(), "permuted", [&](auto zero) {
    using T = decltype(zero);
    const T* from = x.data<T>();
    T* to = out.mutable_data<T>();
    for (int64_t r = 0; r < x.size(0) * n; ++r) {
      const int64_t row = r / n * n + order[static_cast<size_t>(r % n)];
      std::copy_n(from + row * channels, channels, to + r * channels);
    }
  });
  return out;
}

double SymmetryError::largest() const {
  return errors.empty() ? 0 : *std::max_element(errors.begin(), errors.end());
}

double SymmetryError::mean() const {
  return errors.empty() ? 0
                        : std::accumulate(errors.begin(), errors.end(), 0.0) /
                              static_cast<double>(errors.size());
}

const SymmetryError& SymmetryReport::at(SymmetryKind kind, DType dtype,
                                        std::string_view layer) const {
  for (const SymmetryError& e : layers) {
    if (e.kind == kind && e.dtype == dtype && e.layer == layer) return e;
  }
  fail(ErrorKind::usage, "symmetry report: no layer '", layer, "' under ", name_of(kind), " in ",
       name_of(dtype));
}

SymmetryReport measure_symmetry(const Model& model, const ModelState& state, const Tensor& points,
                                const SymmetryOptions& options) {
  check(points.rank() == 3 && points.size(2) == 3 && points.numel() > 0,
        "measure_symmetry: expects points [B, N, 3], got ", points.shape());
  check(options.transformations > 0, "measure_symmetry: expects at least one transformation, got ",
        options.transformations);
  const ModelState single = state.to(DType::f32), twice = state.to(DType::f64);
  const Tensor points32 = points.to(DType::f32);
  const Tensor points64 = points.dtype() == DType::f64 ? points : points32.to(DType::f64);
  const std::vector<bool> has_points = rows_per_point(model, single, points32);
  SymmetryReport report;
  for (const SymmetryKind kind : kSymmetryKinds) {
    measure(report, model, single, points32, options, kind, has_points);
    measure(report, model, twice, points64, options, kind, has_points);
  }
  return report;
}

}  // namespace basin
