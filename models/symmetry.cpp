// Measuring symmetry errors: transformations of inputs and of what the layers say about them.
#include "basin/models/symmetry.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>
#include <optional>
#include <set>

#include "basin/autograd/ops.h"
#include "basin/core/random.h"
#include "basin/models/harmonics.h"

namespace basin {
namespace {

constexpr Matrix3 kIdentity{{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};

// One transformation of a batch and of what a layer says about it.
struct Transformation {
  Matrix3 q = kIdentity;
  std::array<double, 3> shift{0, 0, 0};
  std::vector<int64_t> rows = {};  // row r becomes row rows[r] of the batch; empty: all stay
};

// Which rows of a batch change places, and which belong together.
struct Places {
  std::optional<Rows> rows;                         // point or node; none: no input has such rows
  int64_t total = 0;                                // in the whole batch
  std::vector<std::vector<int64_t>> examples = {};  // the rows of each, by rising number
};

// Whether a rotation acts on its last axis.
bool turns(const Slot& slot) {
  return slot.kind == SlotKind::coordinates || slot.kind == SlotKind::direction;
}

bool moves(const Slot& slot) { return slot.rows == Rows::point || slot.rows == Rows::node; }

// How many rows of points or nodes a tensor has in the whole batch.
int64_t leading_rows(Rows rows, const Tensor& x) {
  return rows == Rows::point && x.rank() > 1 ? x.size(0) * x.size(1) : x.size(0);
}

void check_input(const Slot& slot, const Tensor& x, Places& places) {
  if (turns(slot)) {
    check(is_float(x.dtype()) && x.rank() >= 2 && x.size(-1) == 3 && x.numel() > 0,
          "measure_symmetry: expects the ",
          slot.kind == SlotKind::direction ? "directions '" : "coordinates '", slot.name,
          "' as floats [", slot.rows == Rows::point ? "B, N" : "..", ", 3], got ",
          name_of(x.dtype()), " ", x.shape());
  }
  if (!moves(slot)) return;
  const int axes = slot.rows == Rows::point ? 2 : 1;
  check(x.rank() >= axes + (turns(slot) ? 1 : 0) && x.numel() > 0, "measure_symmetry: expects '",
        slot.name, "' as [", axes == 2 ? "B, N" : "V", ", ..], got ", x.shape());
  const int64_t total = leading_rows(slot.rows, x);
  check(!places.rows || (*places.rows == slot.rows && places.total == total), "measure_symmetry: '",
        slot.name, "' has other rows than the inputs before it: ", x.shape());
  places.rows = slot.rows;
  places.total = total;
}

// The groups of rows within which places change: the points of one cloud, the nodes of one owner.
void group_rows(const std::vector<Slot>& slots, const Tensors& inputs, Places& places) {
  std::map<int64_t, std::vector<int64_t>> by_example;
  for (size_t i = 0; i < slots.size(); ++i) {
    if (!moves(slots[i])) continue;
    const bool owner = slots[i].kind == SlotKind::owner;
    if (slots[i].rows == Rows::node && !owner) continue;
    const int64_t points = owner ? 0 : inputs[i].size(1);
    by_example.clear();
    for (int64_t r = 0; r < places.total; ++r) {
      by_example[owner ? static_cast<int64_t>(inputs[i].at(r)) : r / points].push_back(r);
    }
  }
  if (by_example.empty()) {
    auto& all = by_example[0];
    all.resize(static_cast<size_t>(places.total));
    std::iota(all.begin(), all.end(), int64_t{0});
  }
  for (auto& [example, rows] : by_example) places.examples.push_back(std::move(rows));
}

Places places_of(const Model& model, const Tensors& inputs) {
  check(inputs.size() == model.inputs.size(), "measure_symmetry: the model takes ",
        model.inputs.size(), " inputs (Model::inputs), got ", inputs.size());
  Places places;
  for (size_t i = 0; i < inputs.size(); ++i) check_input(model.inputs[i], inputs[i], places);
  if (places.rows) group_rows(model.inputs, inputs, places);
  return places;
}

// The same order for all examples of one size, so that clouds are permuted alike.
std::vector<int64_t> shuffled(const Places& places, uint64_t seed) {
  std::vector<int64_t> rows(static_cast<size_t>(places.total));
  for (const std::vector<int64_t>& own : places.examples) {
    const std::vector<int64_t> order = random_permutation(static_cast<int64_t>(own.size()), seed);
    for (size_t i = 0; i < own.size(); ++i) {
      rows[static_cast<size_t>(own[i])] = own[static_cast<size_t>(order[i])];
    }
  }
  return rows;
}

Transformation draw(SymmetryKind kind, const Places& places, uint64_t index,
                    const SymmetryOptions& options) {
  const uint64_t seed = stream_id("symmetry", static_cast<uint64_t>(kind), index) ^ options.seed;
  Transformation out;
  switch (kind) {
    case SymmetryKind::rotation: out.q = random_orthogonal(seed, false); break;
    case SymmetryKind::reflection: out.q = random_orthogonal(seed, true); break;
    case SymmetryKind::permutation: out.rows = shuffled(places, seed); break;
    case SymmetryKind::translation: {
      Rng rng(seed, 4);
      for (double& s : out.shift) s = rng.uniform(-options.shift, options.shift);
      break;
    }
  }
  return out;
}

// Row r is row rows[r] of x, whose leading axes count that many.
Tensor with_rows(const Tensor& x, const std::vector<int64_t>& rows) {
  Tensor out = Tensor::empty(x.shape(), x.dtype());
  const size_t width = x.bytes() / rows.size();
  const auto* from = static_cast<const std::byte*>(x.raw());
  auto* to = static_cast<std::byte*>(out.mutable_raw());
  for (size_t r = 0; r < rows.size(); ++r) {
    std::memcpy(to + r * width, from + static_cast<size_t>(rows[r]) * width, width);
  }
  return out;
}

// Values that number rows, after the rows have changed places.
Tensor renumbered(const Tensor& index, const std::vector<int64_t>& rows) {
  std::vector<int64_t> place(rows.size());
  for (size_t r = 0; r < rows.size(); ++r) {
    place[static_cast<size_t>(rows[r])] = static_cast<int64_t>(r);
  }
  std::vector<int64_t> values;
  for (int64_t i = 0; i < index.numel(); ++i) {
    const auto row = static_cast<int64_t>(index.at(i));
    check(row >= 0 && row < static_cast<int64_t>(rows.size()),
          "measure_symmetry: an index slot holds ", row, ", the batch has ", rows.size(), " rows");
    values.push_back(place[static_cast<size_t>(row)]);
  }
  return Tensor::from(values, index.shape()).to(index.dtype());
}

Tensor apply(const Transformation& g, const Slot& slot, const Tensor& x) {
  const bool shifts = slot.kind == SlotKind::coordinates;
  Tensor out = turns(slot) ? moved(x, g.q, shifts ? g.shift : std::array<double, 3>{}) : x;
  if (g.rows.empty()) return out;
  if (moves(slot)) out = with_rows(out, g.rows);
  return slot.kind == SlotKind::index ? renumbered(out, g.rows) : out;
}

// `moved_along`: the layer follows rotations or shifts of the input.
Tensor apply(const Transformation& g, const Activation& layer, bool moved_along,
             const Places& places) {
  std::array<double, 3> shift = g.shift;
  for (double& s : shift) s *= layer.translates ? layer.unit : 0;
  Tensor out = layer.value;
  if (moved_along) out = layer.degree > 1 ? turned(out, g.q, layer.degree) : moved(out, g.q, shift);
  if (g.rows.empty() || layer.rows != places.rows) return out;
  check(out.rank() > 0 && leading_rows(layer.rows, out) == places.total,
        "measure_symmetry: the layer '", layer.name, "' is said to have a row per ",
        layer.rows == Rows::point ? "point" : "node", " of ", places.total, ", it is ",
        out.shape());
  return with_rows(out, g.rows);
}

bool follows(const Activation& layer, SymmetryKind kind) {
  if (layer.degree < 1 || kind == SymmetryKind::permutation) return false;
  return kind != SymmetryKind::translation || layer.translates;
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

std::vector<Activation> layers_of(const Model& model, const ModelState& state,
                                  const Tensors& inputs) {
  ForwardOptions options = ForwardOptions::evaluation();
  options.keep_activations = true;
  ForwardResult result =
      model.forward(state.params.values(), state.buffers.values(), inputs, options);
  std::vector<Activation> out = std::move(result.activations);
  for (size_t i = 0; i < result.outputs.size(); ++i) {
    out.push_back({i == 0 ? model.output_name : str(model.output_name, i + 1), result.outputs[i]});
  }
  return out;
}

using Neighbours = std::vector<std::set<int64_t>>;

// Of every point, the rows of its k nearest; both numbered as before the transformation.
Neighbours neighbours_of(const Tensor& points, int64_t k, const std::vector<int64_t>& rows) {
  const Tensor index = knn(points, k, false);
  const int64_t n = points.size(1), total = points.size(0) * n;
  const auto original = [&](int64_t row) {
    return rows.empty() ? row : rows[static_cast<size_t>(row)];
  };
  Neighbours out(static_cast<size_t>(total));
  for (int64_t row = 0; row < total; ++row) {
    auto& set = out[static_cast<size_t>(original(row))];
    for (int64_t q = 0; q < k; ++q) {
      set.insert(original(row / n * n + index.data<int32_t>()[row * k + q]));
    }
  }
  return out;
}

double changed_share(const Neighbours& a, const Neighbours& b) {
  size_t changed = 0;
  for (size_t i = 0; i < a.size(); ++i) changed += a[i] != b[i] ? 1 : 0;
  return static_cast<double>(changed) / static_cast<double>(a.size());
}

// One batch in one precision.
class Measurement {
 public:
  Measurement(const Model& model, const ModelState& state, const Tensors& inputs, DType dtype,
              const Places& places, const SymmetryOptions& options)
      : model_(model), state_(state.to(dtype)), dtype_(dtype), places_(places), options_(options) {
    // In f64 the points are those of f32, unless they came in f64.
    for (const Tensor& x : inputs) {
      const bool exact = !is_float(x.dtype()) || x.dtype() == dtype;
      inputs_.push_back(exact ? x : x.to(DType::f32).to(dtype));
    }
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Slot& slot = model.inputs[i];
      if (slot.kind != SlotKind::coordinates) continue;
      has_coordinates_ = true;
      if (model.neighbours > 0 && slot.rows == Rows::point) graph_of_ = i;
    }
    if (model.neighbours == 0) return;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Slot& slot = model.inputs[i];
      if (slot.kind == SlotKind::direction && slot.rows == Rows::point) along_.push_back(i);
    }
  }

  void run(SymmetryKind kind, SymmetryReport& report) const {
    if (kind == SymmetryKind::permutation ? !places_.rows : !has_coordinates_) return;
    const std::vector<Activation> clean = layers_of(model_, state_, inputs_);
    const size_t first = report.layers.size();
    for (const Activation& layer : clean) {
      report.layers.push_back(
          {kind, dtype_, layer.name, follows(layer, kind), model_.declares(kind), {}});
    }
    const int64_t k = graph_of_ ? std::min(model_.neighbours, inputs_[*graph_of_].size(1) - 1) : 0;
    const Neighbours graph = k > 0 ? neighbours_of(graph_space(inputs_), k, {}) : Neighbours{};
    GraphChange change{kind, dtype_, 0};
    for (int64_t t = 0; t < options_.transformations; ++t) {
      const Transformation g = draw(kind, places_, static_cast<uint64_t>(t), options_);
      Tensors other;
      for (size_t i = 0; i < inputs_.size(); ++i) {
        other.push_back(apply(g, model_.inputs[i], inputs_[i]));
      }
      const std::vector<Activation> result = layers_of(model_, state_, other);
      for (size_t i = 0; i < clean.size(); ++i) {
        SymmetryError& entry = report.layers[first + i];
        const Tensor expected = apply(g, clean[i], entry.equivariant, places_);
        entry.errors.push_back(relative_error(result[i].value, expected));
      }
      if (k == 0) continue;
      const Neighbours now = neighbours_of(graph_space(other), k, g.rows);
      change.share = std::max(change.share, changed_share(now, graph));
    }
    if (k > 0) report.graph.push_back(change);
  }

 private:
  // The coordinates, and directions beside them.
  Tensor graph_space(const Tensors& inputs) const {
    Tensors parts{inputs[*graph_of_]};
    for (const size_t i : along_) parts.push_back(inputs[i]);
    return parts.size() == 1 ? parts.front() : concat(parts, 2);
  }

  const Model& model_;
  ModelState state_;
  DType dtype_;
  const Places& places_;
  const SymmetryOptions& options_;
  Tensors inputs_;
  bool has_coordinates_ = false;
  std::optional<size_t> graph_of_;  // the slot whose points have neighbours
  std::vector<size_t> along_;       // directions that stand beside them
};

}  // namespace

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
  const auto n = static_cast<int64_t>(order.size());
  check(x.rank() >= 2 && x.size(1) == n, "permuted: expects [B, N, ..] and an order of N points, ",
        "got ", x.shape(), " and ", n);
  std::vector<int64_t> rows;
  for (int64_t r = 0; r < x.size(0) * n; ++r) {
    rows.push_back(r / n * n + order[static_cast<size_t>(r % n)]);
  }
  return with_rows(x, rows);
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

SymmetryReport measure_symmetry(const Model& model, const ModelState& state, const Tensors& inputs,
                                const SymmetryOptions& options) {
  const Places places = places_of(model, inputs);
  check(options.transformations > 0, "measure_symmetry: expects at least one transformation, got ",
        options.transformations);
  const Measurement single(model, state, inputs, DType::f32, places, options);
  const Measurement twice(model, state, inputs, DType::f64, places, options);
  SymmetryReport report;
  for (const SymmetryKind kind : kSymmetryKinds) {
    single.run(kind, report);
    twice.run(kind, report);
  }
  return report;
}

}  // namespace basin
