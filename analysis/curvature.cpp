// Products with the Hessian (forward over reverse, Pearlmutter 1994) and with the generalised
// Gauss-Newton matrix, J^T (H_l (J v)) (Schraudolph 2002), batch by batch. Only the members of the
// parameter space are inputs of the recording; all other parameters are constants of it, so that
// the Hessian of a layer costs what that layer's part of the sweeps costs. The vectors of an
// apply() share one sweep where the network has an op that shares work between them, and are pushed
// one by one elsewhere, where one sweep would take as long and hold so many times the memory.
#include "basin/analysis/curvature.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "basin/core/parallel.h"
#include "basin/core/storage.h"

namespace basin {
namespace {

constexpr int64_t kGrain = 1 << 14;
constexpr int64_t kTogether = 8;  // most vectors in one sweep, which holds the tangents of them all

// f as a function of the members alone; its further outputs are dropped when `scalar`.
Fn on_members(const Fn& f, const Tensors& values, const std::vector<int>& indices, bool scalar) {
  return [f, values, indices, scalar](const Tensors& members) {
    Tensors all = values;
    for (size_t m = 0; m < members.size(); ++m) all[static_cast<size_t>(indices[m])] = members[m];
    Tensors out = f(all);
    check(!out.empty(), "curvature: a function of a batch returned nothing");
    if (scalar) out.resize(1);
    return out;
  };
}

// to += share * from; false when a number of `from` is not finite.
bool add_to(double* to, double share, const Tensor& from) {
  const Tensor host = from.to(Device::cpu);
  std::atomic<bool> finite{true};
  dispatch_float(host.dtype(), "curvature", [&](auto z) {
    const auto* x = host.data<decltype(z)>();
    parallel_for(host.numel(), kGrain, [&](int64_t begin, int64_t end) {
      bool all = true;
      for (int64_t i = begin; i < end; ++i) {
        const auto value = static_cast<double>(x[i]);
        all = all && std::isfinite(value);
        to[i] += share * value;
      }
      if (!all) finite = false;
    });
  });
  return finite;
}

}  // namespace

std::string_view name_of(CurvatureKind kind) {
  return kind == CurvatureKind::hessian ? "hessian" : "gauss_newton";
}

// One batch recorded: `outer` is the Hessian's map, or the Jacobian of the outputs with the
// Hessian of the loss in them as `inner`.
struct CurvatureOperator::Recording {
  LinearMap outer;
  std::unique_ptr<LinearMap> inner;

  // How many vectors products() should be given at once: their results are all held.
  int64_t together() const { return outer.lanes_share_work() ? kTogether : 1; }
  std::vector<Tensors> products(const std::vector<Tensors>& v) const {
    if (!inner) return outer.lanes(v);
    std::vector<Tensors> out;
    for (const Tensors& u : inner->lanes(outer.lanes(v))) out.push_back(outer.transpose(u));
    return out;
  }
};

CurvatureOperator::CurvatureOperator(std::vector<LossBatch> batches, const ParamList& params,
                                     CurvatureOptions options)
    : batches_(std::move(batches)),
      values_(params.clone().values()),
      space_(params, options.indices),
      options_(std::move(options)),
      kept_(batches_.size()) {
  check(!batches_.empty(), "curvature: expects at least one batch, got none");
  for (size_t b = 0; b < batches_.size(); ++b) {
    const LossBatch& batch = batches_[b];
    check(batch.examples > 0, "curvature: batch ", b, " has ", batch.examples,
          " examples, expected at least one");
    check(static_cast<bool>(batch.loss), "curvature: batch ", b, " has no loss");
    check(options_.kind == CurvatureKind::hessian || (batch.outputs && batch.loss_of_outputs),
          "curvature: gauss_newton needs outputs and loss_of_outputs, batch ", b,
          " does not have both");
    examples_ += batch.examples;
  }
}

double CurvatureOperator::share(size_t batch) const {
  return static_cast<double>(batches_[batch].examples) / static_cast<double>(examples_);
}

std::string CurvatureOperator::describe(size_t batch) const {
  return str("batch ", batch + 1, " of ", batches_.size(), " (", batches_[batch].examples,
             " examples)");
}

Tensors CurvatureOperator::members() const {
  Tensors out;
  for (const int i : space_.indices()) out.push_back(values_[static_cast<size_t>(i)]);
  return out;
}

std::shared_ptr<const CurvatureOperator::Recording> CurvatureOperator::recorded(
    size_t index) const {
  if (kept_[index]) return kept_[index];
  const LossBatch& batch = batches_[index];
  const Device device = values_.front().device();
  const size_t before = allocator_stats(device).live_bytes;
  std::shared_ptr<const Recording> made;
  if (options_.kind == CurvatureKind::hessian) {
    const Fn loss = on_members(batch.loss, values_, space_.indices(), true);
    made = std::make_shared<const Recording>(Recording{linearize(grad(loss), members()), nullptr});
  } else {
    const Fn outputs = on_members(batch.outputs, values_, space_.indices(), false);
    LinearMap jacobian = linearize(outputs, members());
    auto inner =
        std::make_unique<LinearMap>(linearize(grad(batch.loss_of_outputs), jacobian.value()));
    made = std::make_shared<const Recording>(Recording{std::move(jacobian), std::move(inner)});
  }
  const size_t after = allocator_stats(device).live_bytes;
  const auto held = static_cast<int64_t>(after > before ? after - before : 0);
  if (kept_bytes_ + held <= options_.keep_bytes) {
    kept_bytes_ += held;
    kept_[index] = made;
  }
  return made;
}

Tensor CurvatureOperator::apply(const Tensor& v) const {
  const int64_t n = size();
  check(v.defined() && v.rank() == 2 && v.size(1) == n && v.dtype() == DType::f64,
        "curvature: expects vectors [lanes, ", n, "] in f64, got ", v);
  const int64_t lanes = v.size(0);
  Tensor out = Tensor::zeros({lanes, n}, DType::f64);
  double* rows = out.mutable_data<double>();
  for (size_t b = 0; b < batches_.size(); ++b) {
    double* to = rows;
    const std::shared_ptr<const Recording> recording = recorded(b);
    const int64_t together = recording->together();
    for (int64_t first = 0; first < lanes; first += together) {
      std::vector<Tensors> block;
      for (int64_t l = first; l < std::min(lanes, first + together); ++l) {
        block.push_back(space_.members_of(v, l));
      }
      for (const Tensors& product : recording->products(block)) {
        add_product(b, product, to);
        to += n;
      }
    }
  }
  return out;
}

void CurvatureOperator::add_product(size_t batch, const Tensors& product, double* to) const {
  ++products_;
  for (size_t m = 0; m < product.size(); ++m) {
    if (!add_to(to + space_.offset(m), share(batch), product[m])) {
      fail(ErrorKind::numerical, "curvature: the ", name_of(options_.kind), " product with ",
           describe(batch), " is not finite, first in ", space_.names()[m],
           "; the loss or its derivatives overflow at these parameters");
    }
  }
}

void CurvatureOperator::evaluate() const {
  if (gradient_.defined()) return;
  Tensor total = Tensor::zeros({size()}, DType::f64);
  double* sum = total.mutable_data<double>();
  double loss = 0;
  for (size_t b = 0; b < batches_.size(); ++b) {
    const Fn f = on_members(batches_[b].loss, values_, space_.indices(), true);
    const ValueGrad result = value_and_grad(f)(members());
    bool finite = std::isfinite(result.value.item());
    for (size_t m = 0; m < result.grads.size(); ++m) {
      finite = add_to(sum + space_.offset(m), share(b), result.grads[m]) && finite;
    }
    if (!finite) {
      fail(ErrorKind::numerical, "curvature: loss or gradient of ", describe(b),
           " is not finite (loss ", result.value.item(), ")");
    }
    loss += share(b) * result.value.item();
  }
  loss_ = loss;
  gradient_ = total;
}

double CurvatureOperator::loss() const {
  evaluate();
  return loss_;
}

Tensor CurvatureOperator::gradient() const {
  evaluate();
  return gradient_.clone();
}

}  // namespace basin
