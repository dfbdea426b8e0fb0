// Softmax and losses. log_softmax is one op with its VJP; the rest are composites of a few ops.
#include "basin/autograd/node.h"
#include "basin/autograd/ops.h"
#include "basin/autograd/ops/labels.h"

namespace basin {
namespace {

// y = x - logsumexp(x). With p = e^y: J t = t - sum(p t), J^T c = c - p sum(c).
struct LogSoftmaxOp final : Op {
  std::string_view name() const override { return "log_softmax"; }
  Tensors forward(const Tensors& in) const override {
    // x - max first: a common shift of the logits then costs no digits.
    const Tensor centred = sub(in[0], max(in[0], -1, true));
    return {sub(centred, log(sum(exp(centred), -1, true)))};
  }
  Tensors vjp(const Node& node, const Tensors& ct, Positions) const override {
    return {sub(ct[0], mul(exp(node.output(0)), sum(ct[0], -1, true)))};
  }
  Tensors jvp(const Node& node, const Tensors& t) const override {
    return {sub(t[0], sum(mul(exp(node.output(0)), t[0]), -1, true))};
  }
  Tensors jvp_lanes(const Node& node, const Tensors& t, int64_t) const override {
    return jvp(node, t);  // everything broadcasts from the right
  }
  Keep keep(Positions) const override { return {{}, Positions::of({0})}; }
};

void check_same_shape(const char* op, const Tensor& a, const Tensor& b) {
  check(a.shape() == b.shape(), op, ": shapes differ, ", a.shape(), " and ", b.shape());
}

}  // namespace

Tensor log_softmax(const Tensor& x) {
  check(x.rank() >= 1 && x.size(-1) >= 1, "log_softmax: the last axis is empty, ", x.shape());
  static const OpRef op = std::make_shared<LogSoftmaxOp>();
  return emit1(op, {x});
}

Tensor softmax(const Tensor& x) { return exp(log_softmax(x)); }

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
  Tensor target = one_hot(labels, classes, logits.dtype());
  if (smoothing > 0) {  // 1 - s on the label, s / (C - 1) elsewhere
    const double other = smoothing / static_cast<double>(classes - 1);
    target = shift(scale(target, 1 - smoothing - other), other);
  }
  return scale(sum(mul(log_softmax(logits), target)), -1.0 / static_cast<double>(batch));
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
