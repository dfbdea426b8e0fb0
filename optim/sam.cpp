// SAM and ASAM, on the device of the parameters.
#include "basin/optim/detail/sam.h"

#include <cmath>

#include "basin/kernels/elementwise.h"
#include "basin/kernels/launch.h"
#include "basin/optim/clip.h"

namespace basin {
namespace {

Tensor like(const Tensor& t) { return Tensor::empty(t.shape(), t.dtype(), t.device()); }

Tensor mapped(Unary op, const Tensor& x, double p) {
  Tensor out = like(x);
  launch<UnaryMap>(x.device(), op, x, p, out);
  return out;
}

Tensor combined(Binary op, const Tensor& a, const Tensor& b) {
  Tensor out = like(a);
  launch<BinaryMap>(a.device(), op, a, b, out);
  return out;
}

}  // namespace

Sam::Sam(const SamConfig& config, std::unique_ptr<Optimizer> inner)
    : config_(config), inner_(std::move(inner)) {
  check(config.rho > 0 && std::isfinite(config.rho), name(), ": expects sam above 0, got ",
        config.rho);
  check(config.eta >= 0, name(), ": expects sam_eta of at least 0, got ", config.eta);
  check(inner_->loss_use() != LossUse::line_search, name(),
        ": its line search needs the gradient at the parameters; take sam away");
}

// w + e; undefined gradients count as zero.
Tensors Sam::shifted(const ParamList& params, const Tensors& grads) const {
  Tensors scaled = grads, scales(grads.size());  // T g and T
  for (size_t i = 0; config_.adaptive && i < grads.size(); ++i) {
    if (!grads[i].defined()) continue;
    scales[i] = mapped(Unary::shift, mapped(Unary::abs, params[i].value, 0), config_.eta);
    scaled[i] = combined(Binary::mul, scales[i], grads[i]);
  }
  const double norm = global_norm(scaled);
  Tensors out = params.values();
  if (norm == 0) return out;
  for (size_t i = 0; i < out.size(); ++i) {
    if (!scaled[i].defined()) continue;
    const Tensor along = config_.adaptive ? combined(Binary::mul, scales[i], scaled[i]) : scaled[i];
    out[i] = combined(Binary::add, out[i], mapped(Unary::scale, along, config_.rho / norm));
  }
  return out;
}

void Sam::step(ParamList& params, const Tensors& grads, const StepInfo& info) {
  check(info.evaluate != nullptr, name(), ": sam needs the gradient at other parameters ",
        "(StepInfo::evaluate)");
  const LossAndGrads there = info.evaluate(shifted(params, grads), true);
  if (!std::isfinite(there.loss) || !std::isfinite(global_norm(there.grads))) {
    fail(ErrorKind::numerical, name(), ": loss or gradient at the distance sam=", config_.rho,
         " from the parameters is not finite (loss ", there.loss, ", step ", info.step + 1,
         "); try a smaller one");
  }
  inner_->set_observer(observer());
  inner_->step(params, there.grads, info);
}

}  // namespace basin
