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

Tensor like(const Tensor& t) { return Tensor::empty(t.shape(), t.dtype(), t.device()); }

// y = x - logsumexp(x)
Tensor log_softmax_reference(const Tensor& x) {
  // x - max first: a common shift of the logits then costs no digits.
  const Tensor centred = sub(x, max(x, -1, true));
  return sub(centred, log(sum(exp(centred), -1, true)));
}

FusedRule softmax_rule(bool log) {
  FusedRule rule;
  rule.name = log ? "log_softmax" : "softmax";
  rule.forward = [log](const Tensors& in) {
    Tensor y = like(in[0]);
    launch<Softmax>(y.device(), log, in[0], y);
    return Tensors{y};
  };
  rule.vjp = [log](const Tensors& in, const Tensors& out, const Tensor& ct) {
    Tensor dx = like(in[0]);
    launch<SoftmaxVjp>(dx.device(), log, out[0], ct, dx);
    return Tensors{dx};
  };
  rule.reference = [log](const Tensors& in, const Tensors&) {
    const Tensor y = log_softmax_reference(in[0]);
    return log ? y : exp(y);
  };
  rule.jvp = [log](const Tensors& in, const Tensors& out, const Tensors& t) {
    Tensor y_t = like(in[0]);
    launch<SoftmaxJvp>(y_t.device(), log, out[0], t[0], y_t);
    return y_t;
  };
  rule.vjp_jvp = [log](const Tensors& in, const Tensors& out, const Tensor& ct, const Tensors& t,
                       const Tensor& ct_t) {
    Tensor dx_t = like(in[0]);
    launch<SoftmaxVjpJvp>(dx_t.device(), log, out[0], ct, t[0], ct_t, dx_t);
    return Tensors{dx_t};
  };
  return rule;
}

// in: logits, labels; out: the loss and log-softmax of the logits
Tensor cross_entropy_reference(const Tensors& in, double smoothing) {
  const int64_t batch = in[0].size(0), classes = in[0].size(1);
  Tensor target = one_hot(in[1], classes, in[0].dtype());
  if (smoothing > 0) {  // 1 - s on the label, s / (C - 1) elsewhere
    const double other = smoothing / static_cast<double>(classes - 1);
    target = shift(scale(target, 1 - smoothing - other), other);
  }
  const Tensor y = log_softmax_reference(in[0]);
  return scale(sum(mul(y, target)), -1.0 / static_cast<double>(batch));
}

FusedRule cross_entropy_rule(double s) {
  FusedRule rule;
  rule.name = "cross_entropy";
  rule.forward = [s](const Tensors& in) {
    Tensor y = like(in[0]), loss = Tensor::empty({}, y.dtype(), y.device());
    launch<CrossEntropy>(y.device(), in[0], in[1], s, y, loss);
    return Tensors{loss, y};
  };
  rule.vjp = [s](const Tensors& in, const Tensors& out, const Tensor& ct) {
    Tensor dx = like(in[0]);
    launch<CrossEntropyVjp>(dx.device(), out[1], in[1], s, ct, dx);
    return Tensors{dx, Tensor()};
  };
  rule.reference = [s](const Tensors& in, const Tensors&) {
    return cross_entropy_reference(in, s);
  };
  rule.differentiable = Positions::of({0});
  rule.jvp = [s](const Tensors& in, const Tensors& out, const Tensors& t) {
    Tensor loss_t = like(out[0]);
    launch<CrossEntropyJvp>(loss_t.device(), out[1], in[1], s, t[0], loss_t);
    return loss_t;
  };
  rule.vjp_jvp = [s](const Tensors& in, const Tensors& out, const Tensor& ct, const Tensors& t,
                     const Tensor& ct_t) {
    Tensor dx_t = like(in[0]);
    launch<CrossEntropyVjpJvp>(dx_t.device(), out[1], in[1], s, ct, t[0], ct_t, dx_t);
    return Tensors{dx_t, Tensor()};
  };
  return rule;
}

void check_same_shape(const char* op, const Tensor& a, const Tensor& b) {
  check(a.shape() == b.shape(), op, ": shapes differ, ", a.shape(), " and ", b.shape());
}

}  // namespace

Tensor log_softmax(const Tensor& x) {
  check(x.rank() >= 1 && x.size(-1) >= 1, "log_softmax: the last axis is empty, ", x.shape());
  return fused_op(softmax_rule(true), {x})[0];
}

Tensor softmax(const Tensor& x) {
  check(x.rank() >= 1 && x.size(-1) >= 1, "softmax: the last axis is empty, ", x.shape());
  return fused_op(softmax_rule(false), {x})[0];
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
  return fused_op(cross_entropy_rule(smoothing), {logits, labels.detach()})[0];
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
