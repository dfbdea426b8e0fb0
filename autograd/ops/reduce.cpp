// Reductions. Sums are linear; extremes take the element at a constant index (the first extreme),
// so that their derivatives of every order are those of a gather.
#include "basin/kernels/reduce.h"

#include "basin/autograd/families.h"
#include "basin/autograd/ops.h"
#include "basin/kernels/launch.h"

namespace basin {
namespace {

Shape without_axis(const Shape& shape, int axis) {
  Shape out;
  const int at = shape.normalise(axis);
  for (int k = 0; k < shape.rank(); ++k) {
    if (k != at) out.push_back(shape[k]);
  }
  return out;
}

Tensor arg_extreme(Extreme which, const Tensor& x, int axis, std::string_view op) {
  x.shape().normalise(axis, op);
  check(x.size(axis) >= 1, op, ": axis ", axis, " of ", x.shape(), " is empty");
  Shape kept = x.shape();
  kept.set(axis, 1);
  return opaque_op("argmax",
                   [&](const Tensors& in) {
                     Tensor index = Tensor::empty(kept, DType::i32, in[0].device());
                     launch<ArgExtreme>(in[0].device(), which, in[0], axis_view(x.shape(), axis),
                                        index);
                     return Tensors{index};
                   },
                   {x})[0];
}

Tensor extreme(Extreme which, const Tensor& x, int axis, bool keep_axis) {
  const Tensor index = arg_extreme(which, x, axis, which == Extreme::max ? "max" : "min");
  const Tensor y = take_along(x, index, axis);
  return keep_axis ? y : reshape(y, without_axis(x.shape(), axis));
}

}  // namespace

Tensor sum(const Tensor& x) { return sum_to(x, Shape{}); }

Tensor sum(const Tensor& x, int axis, bool keep_axis) {
  x.shape().normalise(axis, "sum");
  Shape kept = x.shape();
  kept.set(axis, 1);
  const Tensor y = sum_to(x, kept);
  return keep_axis ? y : reshape(y, without_axis(x.shape(), axis));
}

Tensor mean(const Tensor& x) {
  check(x.numel() > 0, "mean: the tensor is empty");
  return scale(sum(x), 1.0 / static_cast<double>(x.numel()));
}

Tensor mean(const Tensor& x, int axis, bool keep_axis) {
  x.shape().normalise(axis, "mean");
  check(x.size(axis) > 0, "mean: axis ", axis, " of ", x.shape(), " is empty");
  return scale(sum(x, axis, keep_axis), 1.0 / static_cast<double>(x.size(axis)));
}

Tensor max(const Tensor& x, int axis, bool keep_axis) {
  return extreme(Extreme::max, x, axis, keep_axis);
}

Tensor min(const Tensor& x, int axis, bool keep_axis) {
  return extreme(Extreme::min, x, axis, keep_axis);
}

Tensor argmax(const Tensor& x, int axis, bool keep_axis) {
  const Tensor index = arg_extreme(Extreme::max, x, axis, "argmax");
  return keep_axis ? index : index.view(without_axis(x.shape(), axis));
}

Tensor logsumexp(const Tensor& x, int axis, bool keep_axis) {
  x.shape().normalise(axis, "logsumexp");
  const Tensor top =
      max(x.detach(), axis, true);  // any constant is exact; this one does not overflow
  const Tensor y = add(log(sum(exp(sub(x, top)), axis, true)), top);
  return keep_axis ? y : reshape(y, without_axis(x.shape(), axis));
}

Tensor safe_norm(const Tensor& x, int axis, bool keep_axis) {
  x.shape().normalise(axis, "safe_norm");
  const Tensor squares = sum(square(x), axis, keep_axis);
  // Where the sum is 0 the root is taken of 1 instead and then multiplied by 0: no 0/0 at any
  // order.
  const Tensor positive = step(squares.detach(), 0);
  return mul(sqrt(add(squares, shift(neg(positive), 1))), positive);
}

Tensor dot(const Tensor& a, const Tensor& b) {
  check(a.shape() == b.shape(), "dot: shapes differ, ", a.shape(), " and ", b.shape());
  return sum(mul(a, b));
}

}  // namespace basin
