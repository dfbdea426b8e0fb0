// Softmax and losses. Softmax, its logarithm and cross-entropy are fused: kernels for value and VJP
// and for the tangents of both, their composites as reference. The rest are composites of a few
// ops.
#include "basin/autograd/families.h"
#include "basin/autograd/ops.h"
#include "basin/autograd/ops/labels.h"
#include "basin/kernels/launch.h"
#include "basin/kernels/softmax.h"

namespace basin {
namespace {

// y = x - logsumexp(x)
Tensor log_softmax_reference(const Tensor& x) {
  // x - max first: a common shift of the logits then costs no digits.
  const Tensor centred = sub(x, max(x, -1, true));
  return sub(centred, log(sum(exp(centred), -1, true)));
}

struct SoftmaxRule final : LaneByLaneRule {
  explicit SoftmaxRule(bool logarithm) : log(logarithm) {}
  std::string_view name() const override { return log ? "log_softmax" : "softmax"; }
  Tensors forward(const Tensors& in) const override {
    Tensor y = empty_like(in[0]);
    launch<Softmax>(y.device(), log, in[0], y);
    return {y};
  }
  Tensors vjp(const Tensors& in, const Tensors& out, const Tensor& ct) const override {
    Tensor dx = empty_like(in[0]);
    launch<SoftmaxVjp>(dx.device(), log, out[0], ct, dx);
    return {dx};
  }
  Tensor reference(const Tensors& in, const Tensors&) const override {
    const Tensor y = log_softmax_reference(in[0]);
    return log ? y : exp(y);
  }
  Tensor forward_tangent(const Tensors& in, const Tensors& out, const Tensors& t) const override {
    Tensor y_t = empty_like(in[0]);
    launch<SoftmaxJvp>(y_t.device(), log, out[0], t[0], y_t);
    return y_t;
  }
  Tensors vjp_tangent(const Tensors& in, const Tensors& out, const Tensor& ct, const Tensors& t,
                      const Tensor& ct_t) const override {
    Tensor dx_t = empty_like(in[0]);
    launch<SoftmaxVjpJvp>(dx_t.device(), log, out[0], ct, t[0], ct_t, dx_t);
    return {dx_t};
  }
  bool log;
};

// in: logits, labels; out: the loss and log-softmax of the logits
struct CrossEntropyRule final : LaneByLaneRule {
  explicit CrossEntropyRule(double label_smoothing) : smoothing(label_smoothing) {}
  std::string_view name() const override { return "cross_entropy"; }
  Positions differentiable() const override { return Positions::of({0}); }
  Tensors forward(const Tensors& in) const override {
    Tensor y = empty_like(in[0]), loss = Tensor::empty({}, y.dtype(), y.device());
    launch<CrossEntropy>(y.device(), in[0], in[1], smoothing, y, loss);
    return {loss, y};
  }
  Tensors vjp(const Tensors& in, const Tensors& out, const Tensor& ct) const override {
    Tensor dx = empty_like(in[0]);
    launch<CrossEntropyVjp>(dx.device(), out[1], in[1], smoothing, ct, dx);
    return {dx, Tensor()};
  }
  Tensor reference(const Tensors& in, const Tensors&) const override {
    const int64_t batch = in[0].size(0), classes = in[0].size(1);
    Tensor target = one_hot(in[1], classes, in[0].dtype());
    if (smoothing > 0) {  // 1 - s on the label, s / (C - 1) elsewhere
      const double other = smoothing / static_cast<double>(classes - 1);
      target = shift(scale(target, 1 - smoothing - other), other);
    }
    const Tensor y = log_softmax_reference(in[0]);
    return scale(sum(mul(y, target)), -1.0 / static_cast<double>(batch));
  }
  Tensor forward_tangent(const Tensors& in, const Tensors& out, const Tensors& t) const override {
    Tensor loss_t = empty_like(out[0]);
    launch<CrossEntropyJvp>(loss_t.device(), out[1], in[1], smoothing, t[0], loss_t);
    return loss_t;
  }
  Tensors vjp_tangent(const Tensors& in, const Tensors& out, const Tensor& ct, const Tensors& t,
                      const Tensor& ct_t) const override {
    Tensor dx_t = empty_like(in[0]);
    launch<CrossEntropyVjpJvp>(dx_t.device(), out[1], in[1], smoothing, ct, t[0], ct_t, dx_t);
    return {dx_t, Tensor()};
  }
  double smoothing;
};

void check_same_shape(const char* op, const Tensor& a, const Tensor& b) {
  check(a.shape() == b.shape(), op, ": shapes differ, ", a.shape(), " and ", b.shape());
}

}  // namespace

Tensor log_softmax(const Tensor& x) {
  check(x.rank() >= 1 && x.size(-1) >= 1, "log_softmax: the last axis is empty, ", x.shape());
  return fused_op(std::make_shared<SoftmaxRule>(true), {x})[0];
}

Tensor softmax(const Tensor& x) {
  check(x.rank() >= 1 && x.size(-1) >= 1, "softmax: the last axis is empty, ", x.shape());
  return fused_op(std::make_shared<SoftmaxRule>(false), {x})[0];
}

Tensor cross_entropy(const Tensor& logits, const Tensor& labels, double smoothing) {
  check(logits.rank() == 2 && labels.rank() == 1 && logits.size(0) == labels.size(0),
        "cross_entropy: expects logits [B, C] and labels [B], got ", logits.shape(), " and ",
        labels.shape());
  const int64_t batch = logits.size(0), classes = logits.size(1);
  check(batch >= 1, "cross_entropy: the batch is empty");
  check(smoothing >= 0 && smoothing < 1 && (smoothing == 0 || classes > 1),
        "cross_entropy: label smoothing must be in [0, 1) with at least two classes, got ",
        smoothing, " with ", classes);
  check_labels("cross_entropy", labels, classes);
  return fused_op(std::make_shared<CrossEntropyRule>(smoothing), {logits, labels.detach()})[0];
}

Tensor mse_loss(const Tensor& prediction, const Tensor& target) {
  check_same_shape("mse_loss", prediction, target);
  return mean(square(sub(prediction, target)));
}

Tensor l1_loss(const Tensor& prediction, const Tensor& target) {
  check_same_shape("l1_loss", prediction, target);
  return mean(abs(sub(prediction, target)));
}

Tensor bce_with_logits(const Tensor& logits, const Tensor& targets) {
  check_same_shape("bce_with_logits", logits, targets);
  return mean(sub(softplus(logits), mul(logits, targets)));
}

}  // namespace basin
