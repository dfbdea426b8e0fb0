// Rows of the op table: softmax and losses.
#include <cmath>

#include "basin/tests/autograd/op_table.h"

using namespace basin;
using namespace basin::table;

namespace {

Cases last_axis(Rng& rng, const Unary& f, const Unary& reference) {
  Cases cases;
  for (const Shape& shape :
       std::vector<Shape>{{5}, {1}, {3, 4}, {4, 1}, {2, 3, 4}, {0, 4}, {1, 7}}) {
    cases.push_back(one(shape.to_string(), uniform(rng, shape, -3, 3), f, reference));
  }
  cases[2].order = 3;
  cases.push_back(large(one("[2500, 40]", uniform(rng, {2500, 40}, -3, 3), f)));
  return cases;
}

Case with_labels(Rng& rng, int64_t batch, int64_t classes, double smoothing) {
  std::vector<int64_t> labels(batch);
  for (int64_t& l : labels) l = rng.below(classes);
  std::vector<double> q(batch * classes, classes > 1 ? smoothing / (classes - 1.0) : 0);
  for (int64_t i = 0; i < batch; ++i) q[i * classes + labels[i]] = 1 - smoothing;
  const Tensor target = Tensor::from(q, {batch, classes});
  const Tensor label = int64s(labels);
  return one(
      str("[", batch, ", ", classes, "], smoothing ", smoothing),
      uniform(rng, {batch, classes}, -3, 3),
      [=](const Tensor& x) { return cross_entropy(x, like(label, x), smoothing); },
      [=](const Tensor& x) {
        const Tensor log_p = x - logsumexp(x, -1, true);
        return sum(like(target, x) * log_p) * (-1.0 / static_cast<double>(batch));
      });
}

Cases pair_losses(Rng& rng, const Binary& f, const Generator& left, const Generator& right,
                  const Binary& reference) {
  Cases cases;
  for (const Shape& shape : std::vector<Shape>{{}, {6}, {3, 4}, {1}, {2, 1, 3}}) {
    cases.push_back(two(shape.to_string(), left(rng, shape), right(rng, shape), f, reference));
  }
  cases.push_back(large(two("[1300, 77]", left(rng, {1300, 77}), right(rng, {1300, 77}), f)));
  return cases;
}

Tensor any(Rng& rng, const Shape& shape) { return uniform(rng, shape, -3, 3); }
Tensor low(Rng& rng, const Shape& shape) { return uniform(rng, shape, -2, -0.1); }
Tensor both(Rng& rng, const Shape& shape) { return off_zero(rng, shape) * 4.0; }
Tensor small(Rng& rng, const Shape& shape) { return uniform(rng, shape, -0.3, 0.3); }
Tensor probability(Rng& rng, const Shape& shape) { return uniform(rng, shape, 0, 1); }

}  // namespace

OP_ROW(softmax) {
  Cases cases = last_axis(
      rng, [](const Tensor& x) { return softmax(x); },
      [](const Tensor& x) { return exp(x) / sum(exp(x), -1, true); });
  Case c = one("value", Tensor::from(std::vector<double>{0, std::log(3.0)}, {2}),
               [](const Tensor& x) { return softmax(x); });
  c.values = {0.25, 0.75};
  cases.push_back(c);
  return cases;
}

OP_ROW(log_softmax) {
  Cases cases = last_axis(
      rng, [](const Tensor& x) { return log_softmax(x); },
      [](const Tensor& x) { return x - log(sum(exp(x), -1, true)); });
  for (Case& c : cases) {
    if (c.x[0].size(-1) > 1) continue;
    c.reference = nullptr;  // one class: exactly zero, where the reference has rounding
    c.values.assign(c.x[0].numel(), 0.0);
  }
  return cases;
}

OP_ROW(cross_entropy) {
  Cases cases;
  for (double smoothing : {0.0, 0.2}) {
    cases.push_back(with_labels(rng, 4, 5, smoothing));
    cases.push_back(with_labels(rng, 1, 3, smoothing));
    cases.push_back(with_labels(rng, 6, 2, smoothing));
    cases.push_back(large(with_labels(rng, 2500, 40, smoothing)));
  }
  // Equal logits: ln C whatever the label.
  Case c = one("uniform", Tensor::zeros({3, 4}, DType::f64), [](const Tensor& x) {
    return cross_entropy(x, like(int64s({0, 3, 1}), x), 0.2);
  });
  c.values = {std::log(4.0)};
  cases.push_back(c);
  return cases;
}

OP_ROW(mse_loss) {
  return pair_losses(
      rng, [](const Tensor& p, const Tensor& t) { return mse_loss(p, t); }, any, any,
      [](const Tensor& p, const Tensor& t) { return mean(square(p - t)); });
}

OP_ROW(l1_loss) {
  Cases cases = pair_losses(
      rng, [](const Tensor& p, const Tensor& t) { return l1_loss(p, t); }, both, small,
      [](const Tensor& p, const Tensor& t) { return mean(maximum(p - t, t - p)); });
  cases.push_back(two(
      "one sign", any(rng, {4}) + 4, low(rng, {4}),
      [](const Tensor& p, const Tensor& t) { return l1_loss(p, t); },
      [](const Tensor& p, const Tensor& t) { return mean(p - t); }));
  return cases;
}

OP_ROW(bce_with_logits) {
  return pair_losses(
      rng, [](const Tensor& x, const Tensor& t) { return bce_with_logits(x, t); }, any, probability,
      [](const Tensor& x, const Tensor& t) {
        const Tensor one_minus = neg(t) + 1;
        return neg(mean(t * log(sigmoid(x)) + one_minus * log(sigmoid(neg(x)))));
      });
}
