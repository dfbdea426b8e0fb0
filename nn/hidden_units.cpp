// Permuting, rotating and reading hidden units.
#include "basin/nn/hidden_units.h"

#include <algorithm>
#include <numeric>
#include <span>

#include "basin/core/random.h"

namespace basin {
namespace {

// A tensor about one of its axes: [before, length, after].
struct AboutAxis {
  int64_t before = 1, length = 1, after = 1;
};

AboutAxis about(const UnitAxis& axis, const Shape& own) {
  const Shape& shape = axis.view.rank() == 0 ? own : axis.view;
  AboutAxis out;
  for (int i = 0; i < shape.rank(); ++i) {
    const int64_t n = shape[i];
    (i < axis.axis ? out.before : i == axis.axis ? out.length : out.after) *= n;
  }
  return out;
}

const ParamList& list_of(const ModelState& state, const UnitAxis& axis) {
  return axis.buffer ? state.buffers : state.params;
}

Param& tensor_of(ModelState& state, const UnitAxis& axis) {
  return (axis.buffer ? state.buffers : state.params)[static_cast<size_t>(axis.tensor)];
}

void check_order(const HiddenUnits& units, const std::vector<int64_t>& order) {
  std::vector<bool> seen(static_cast<size_t>(units.count), false);
  bool fits = std::ssize(order) == units.count;
  for (size_t i = 0; fits && i < order.size(); ++i) {
    fits = order[i] >= 0 && order[i] < units.count && !seen[static_cast<size_t>(order[i])];
    if (fits) seen[static_cast<size_t>(order[i])] = true;
  }
  check(fits, "hidden units '", units.name, "': expects a permutation of ", units.count,
        " units, given one of ", order.size(), " entries");
}

template <class T>
void reorder(Tensor& t, const UnitAxis& axis, const std::vector<int64_t>& order) {
  const AboutAxis a = about(axis, t.shape());
  const Tensor from = t.clone();
  for (int64_t b = 0; b < a.before; ++b) {
    const int64_t start = (b * a.length + axis.offset) * a.after;
    T* to = t.mutable_data<T>() + start;
    for (const int64_t unit : order) {
      const T* old = from.data<T>() + start + unit * a.after;
      to = std::copy(old, old + a.after, to);
    }
  }
}

template <class T>
void rotate(Tensor& t, const UnitAxis& axis, const Tensor& q) {
  const AboutAxis a = about(axis, t.shape());
  const int64_t n = q.size(0);
  const Tensor from = t.clone();
  const T* old = from.data<T>();
  T* now = t.mutable_data<T>();
  std::vector<double> sum(static_cast<size_t>(a.after));
  for (int64_t b = 0; b < a.before; ++b) {
    const int64_t start = (b * a.length + axis.offset) * a.after;
    for (int64_t i = 0; i < n; ++i) {
      std::fill(sum.begin(), sum.end(), 0.0);
      for (int64_t j = 0; j < n; ++j) {
        const double by = q.data<double>()[i * n + j];
        const T* row = old + start + j * a.after;
        for (int64_t k = 0; k < a.after; ++k) {
          sum[static_cast<size_t>(k)] += by * static_cast<double>(row[k]);
        }
      }
      T* to = now + start + i * a.after;
      for (int64_t k = 0; k < a.after; ++k) to[k] = static_cast<T>(sum[static_cast<size_t>(k)]);
    }
  }
}

}  // namespace

HiddenUnits& HiddenUnits::made_by(const Linear& map) {
  also({.tensor = map.weight});
  return map.bias < 0 ? *this : also({.tensor = map.bias});
}

HiddenUnits& HiddenUnits::read_by(const Linear& map, int64_t offset) {
  return also({.tensor = map.weight, .axis = 1, .offset = offset});
}

HiddenUnits& HiddenUnits::normed_by(const BatchNorm& norm) {
  also({.tensor = norm.gamma}).also({.tensor = norm.beta});
  return also({.buffer = true, .tensor = 3 * norm.layer})
      .also({.buffer = true, .tensor = 3 * norm.layer + 1});
}

HiddenUnits& HiddenUnits::also(UnitAxis axis) {
  axes.push_back(std::move(axis));
  return *this;
}

void check_hidden_units(const std::vector<HiddenUnits>& hidden, const ModelState& state) {
  for (const HiddenUnits& units : hidden) {
    check(units.count > 0, "hidden units '", units.name, "': expects at least one unit");
    for (const UnitAxis& axis : units.axes) {
      const ParamList& list = list_of(state, axis);
      check(axis.tensor >= 0 && axis.tensor < std::ssize(list), "hidden units '", units.name,
            "': no ", axis.buffer ? "buffer " : "parameter ", axis.tensor, " among ", list.size());
      const Param& p = list[static_cast<size_t>(axis.tensor)];
      const Shape& shape = axis.view.rank() == 0 ? p.value.shape() : axis.view;
      const bool there = axis.axis >= 0 && axis.axis < shape.rank();
      const AboutAxis a = there ? about(axis, p.value.shape()) : AboutAxis{};
      check(there && a.before * a.length * a.after == p.value.numel() && axis.offset >= 0 &&
                axis.offset + units.count <= a.length,
            "hidden units '", units.name, "': ", units.count, " units from ", axis.offset,
            " on do not lie on axis ", axis.axis, " of '", p.name, "' ", p.value.shape());
    }
  }
}

ModelState reordered(const ModelState& state, const std::vector<HiddenUnits>& hidden,
                     const UnitOrders& orders) {
  check_hidden_units(hidden, state);
  check(orders.size() == hidden.size(), "reordered: expects one order per group of hidden units, ",
        hidden.size(), ", given ", orders.size());
  ModelState out = state.clone();
  for (size_t g = 0; g < hidden.size(); ++g) {
    check_order(hidden[g], orders[g]);
    for (const UnitAxis& axis : hidden[g].axes) {
      Tensor& t = tensor_of(out, axis).value;
      dispatch_float(t.dtype(), "reordered",
                     [&](auto zero) { reorder<decltype(zero)>(t, axis, orders[g]); });
    }
  }
  return out;
}

UnitOrders random_orders(const std::vector<HiddenUnits>& hidden, uint64_t seed) {
  Rng rng(seed, stream_id("random_orders"));
  UnitOrders out;
  for (const HiddenUnits& units : hidden) {
    std::vector<int64_t>& order = out.emplace_back(static_cast<size_t>(units.count));
    std::iota(order.begin(), order.end(), int64_t{0});
    rng.shuffle(std::span<int64_t>(order));
  }
  return out;
}

ModelState rotated(const ModelState& state, const HiddenUnits& units, const Tensor& q) {
  check_hidden_units({units}, state);
  check(units.rotates, "rotated: the hidden units '", units.name,
        "' pass through a function of each unit; only their permutations leave the network as it "
        "is");
  check(q.dtype() == DType::f64 && q.shape() == Shape{units.count, units.count},
        "rotated: expects a matrix f64 [", units.count, ", ", units.count, "], given ",
        name_of(q.dtype()), " ", q.shape());
  ModelState out = state.clone();
  for (const UnitAxis& axis : units.axes) {
    Tensor& t = tensor_of(out, axis).value;
    dispatch_float(t.dtype(), "rotated", [&](auto zero) { rotate<decltype(zero)>(t, axis, q); });
  }
  return out;
}

Tensor unit_rows(const ModelState& state, const HiddenUnits& units, const UnitAxis& axis) {
  const Tensor t = list_of(state, axis)[static_cast<size_t>(axis.tensor)].value.to(DType::f64);
  const AboutAxis a = about(axis, t.shape());
  Tensor out = Tensor::empty({units.count, a.before * a.after}, DType::f64);
  double* to = out.mutable_data<double>();
  for (int64_t i = 0; i < units.count; ++i) {
    for (int64_t b = 0; b < a.before; ++b) {
      const double* from = t.data<double>() + (b * a.length + axis.offset + i) * a.after;
      to = std::copy(from, from + a.after, to);
    }
  }
  return out;
}

}  // namespace basin
