// Coordinate descent over groups of hidden units.
#include "basin/analysis/alignment.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "basin/analysis/assignment.h"
#include "basin/autograd/ops.h"
#include "basin/core/random.h"

namespace basin {
namespace {

constexpr double kRise = 1e-12;  // of ||A|| ||B||: less is rounding

double dot(const ParamList& a, const ParamList& b) {
  double sum = 0;
  for (size_t p = 0; p < a.size(); ++p) {
    const double *x = a[p].value.data<double>(), *y = b[p].value.data<double>();
    for (int64_t i = 0; i < a[p].value.numel(); ++i) sum += x[i] * y[i];
  }
  return sum;
}

void check_alike(const ParamList& a, const ParamList& b) {
  bool same = a.size() == b.size();
  for (size_t i = 0; same && i < a.size(); ++i) {
    same = a[i].name == b[i].name && a[i].value.shape() == b[i].value.shape();
  }
  check(same, "align_units: expects networks with the same parameters");
}

class Descent {
 public:
  Descent(const ModelState& a, const ModelState& b, const std::vector<HiddenUnits>& hidden)
      : a_(a), now_(b), hidden_(hidden) {
    rise_ = kRise * std::sqrt(dot(a.params, a.params) * dot(b.params, b.params));
    for (const HiddenUnits& units : hidden) {
      orders.emplace_back(static_cast<size_t>(units.count));
      std::iota(orders.back().begin(), orders.back().end(), int64_t{0});
    }
  }

  double product() const { return dot(a_.params, now_.params); }

  // Whether the group moved. known: groups whose places count; of the others nothing is asked.
  bool improve(size_t group, const std::vector<bool>* known) {
    const HiddenUnits& units = hidden_[group];
    Tensor value = Tensor::zeros({units.count, units.count}, DType::f64);
    bool any = false;
    for (const UnitAxis& axis : units.axes) {
      if (axis.buffer || (known != nullptr && !stands(axis, *known))) continue;
      value = value + matmul(unit_rows(a_, units, axis), unit_rows(now_, units, axis), false, true);
      any = true;
    }
    if (!any) return false;
    const Assignment best = best_assignment(value);
    double held = 0;
    for (int64_t i = 0; i < units.count; ++i) held += value.at(i * units.count + i);
    if (!(best.total > held + rise_)) return false;
    ModelState moved = reordered(now_, {units}, {best.column});
    if (known == nullptr && !(dot(a_.params, moved.params) > product() + rise_)) return false;
    now_ = std::move(moved);
    std::vector<int64_t> order;
    for (const int64_t i : best.column) order.push_back(orders[group][static_cast<size_t>(i)]);
    orders[group] = std::move(order);
    return true;
  }

  void align_in_order() {
    std::vector<bool> known(hidden_.size(), false);
    for (size_t g = 0; g < hidden_.size(); ++g) {
      improve(g, &known);
      known[g] = true;
    }
  }

  void sweep_until_settled(const AlignmentOptions& options) {
    Rng rng(options.seed, stream_id("align_units"));
    std::vector<size_t> order(hidden_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    for (sweeps = 0; sweeps < options.sweeps && !settled; ++sweeps) {
      rng.shuffle(std::span<size_t>(order));
      settled = true;
      for (const size_t g : order) settled = !improve(g, nullptr) && settled;
    }
  }

  UnitOrders orders;
  int64_t sweeps = 0;
  bool settled = false;

 private:
  // All other axes of the tensor are input, output or of groups that are known.
  bool stands(const UnitAxis& axis, const std::vector<bool>& known) const {
    for (size_t g = 0; g < hidden_.size(); ++g) {
      if (known[g]) continue;
      for (const UnitAxis& other : hidden_[g].axes) {
        const bool here = other.tensor == axis.tensor && other.buffer == axis.buffer;
        const bool across = other.axis != axis.axis || other.view != axis.view;
        if (here && across) return false;
      }
    }
    return true;
  }

  const ModelState& a_;
  ModelState now_;
  const std::vector<HiddenUnits>& hidden_;
  double rise_ = 0;
};

}  // namespace

Alignment align_units(const ModelState& reference, const ModelState& other,
                      const std::vector<HiddenUnits>& hidden, const AlignmentOptions& options) {
  check(!hidden.empty(), "align_units: expects groups of hidden units, given none");
  check_alike(reference.params, other.params);
  const ModelState a = reference.to(DType::f64), b = other.to(DType::f64);
  check_hidden_units(hidden, a);
  Descent as_it_is(a, b, hidden), in_order(a, b, hidden);
  Alignment out;
  out.product_before = as_it_is.product();
  in_order.align_in_order();
  as_it_is.sweep_until_settled(options);
  in_order.sweep_until_settled(options);
  const Descent& kept = in_order.product() > as_it_is.product() ? in_order : as_it_is;
  out.orders = kept.orders;
  out.product = kept.product();
  out.sweeps = kept.sweeps;
  out.settled = kept.settled;
  const double squares = dot(a.params, a.params) + dot(b.params, b.params);
  out.distance_before = std::sqrt(std::max(0.0, squares - 2 * out.product_before));
  const ModelState aligned = reordered(b, hidden, out.orders);
  double sum = 0;
  for (size_t p = 0; p < a.params.size(); ++p) {
    const double *x = a.params[p].value.data<double>(), *y = aligned.params[p].value.data<double>();
    for (int64_t i = 0; i < a.params[p].value.numel(); ++i) sum += (x[i] - y[i]) * (x[i] - y[i]);
  }
  out.distance = std::sqrt(sum);
  for (const std::vector<int64_t>& order : out.orders) {
    out.units += std::ssize(order);
    for (int64_t i = 0; i < std::ssize(order); ++i) {
      out.moved += order[static_cast<size_t>(i)] == i ? 0 : 1;
    }
  }
  return out;
}

}  // namespace basin
