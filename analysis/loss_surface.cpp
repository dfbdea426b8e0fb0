// The loss and its gradient away from the parameters. Only the parameters that may move are inputs
// of the recording behind a gradient.
#include "basin/analysis/loss_surface.h"

#include <cmath>

#include "basin/core/error.h"

namespace basin {

LossSurface::LossSurface(std::vector<LossBatch> batches, const ParamList& params,
                         std::vector<int> indices)
    : batches_(std::move(batches)), params_(params.clone()), space_(params, std::move(indices)) {
  check(!batches_.empty(), "loss surface: expects at least one batch, got none");
  for (size_t b = 0; b < batches_.size(); ++b) {
    check(batches_[b].examples > 0, "loss surface: batch ", b, " has ", batches_[b].examples,
          " examples, expected at least one");
    check(static_cast<bool>(batches_[b].loss), "loss surface: batch ", b, " has no loss");
    examples_ += batches_[b].examples;
  }
  weights_ = space_.flatten(params_.values());
  loss_ = loss_at(Tensor::zeros({size()}, DType::f64));
  if (!std::isfinite(loss_)) {
    fail(ErrorKind::numerical, "loss surface: the loss at the given parameters is ", loss_);
  }
}

double LossSurface::share(const LossBatch& batch) const {
  return static_cast<double>(batch.examples) / static_cast<double>(examples_);
}

Tensors LossSurface::moved(const Tensor& displacement) const {
  check(displacement.defined() && displacement.shape() == weights_.shape() &&
            displacement.dtype() == DType::f64,
        "loss surface: a displacement is a vector of ", size(), " f64 numbers, got ", displacement);
  Tensor w = weights_.clone();
  double* x = w.mutable_data<double>();
  const double* d = displacement.data<double>();
  for (int64_t i = 0; i < size(); ++i) x[i] += d[i];
  Tensors all = params_.values();
  const Tensors members = space_.unflatten(w);
  for (const int i : space_.indices()) all[i] = members[i];
  return all;
}

double LossSurface::loss_at(const Tensor& displacement) const {
  const Tensors all = moved(displacement);
  double sum = 0;
  for (const LossBatch& batch : batches_) sum += share(batch) * batch.loss(all).at(0).item();
  ++evaluations_;
  return sum;
}

LossSurface::Point LossSurface::gradient_at(const Tensor& displacement) const {
  const Tensors all = moved(displacement);
  const std::vector<int>& indices = space_.indices();
  Tensors members;
  for (const int i : indices) members.push_back(all[i]);
  Point point{.gradient = Tensor::zeros({size()}, DType::f64)};
  double* sum = point.gradient.mutable_data<double>();
  for (const LossBatch& batch : batches_) {
    const ValueGrad vg = value_and_grad([&](const Tensors& x) {
      Tensors with = all;
      for (size_t m = 0; m < x.size(); ++m) with[indices[m]] = x[m];
      return Tensors{batch.loss(with).at(0)};
    })(members);
    Tensors grads(all.size());
    for (size_t m = 0; m < members.size(); ++m) grads[indices[m]] = vg.grads[m];
    const Tensor flat = space_.flatten(grads);
    point.loss += share(batch) * vg.value.item();
    for (int64_t i = 0; i < size(); ++i) sum[i] += share(batch) * flat.data<double>()[i];
  }
  ++evaluations_;
  return point;
}

}  // namespace basin
