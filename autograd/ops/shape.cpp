// Ops that rearrange elements: all linear, each the transpose of another.
#include <algorithm>

#include "basin/autograd/families.h"
#include "basin/autograd/ops.h"
#include "basin/kernels/copy.h"
#include "basin/kernels/elementwise.h"
#include "basin/kernels/launch.h"
#include "basin/kernels/reduce.h"

namespace basin {
namespace {

Tensor like(const Tensor& x, const Shape& shape) {
  return Tensor::empty(shape, x.dtype(), x.device());
}

Shape with_axis(const Shape& shape, int axis, int64_t size) {
  Shape s = shape;
  s.set(axis, size);
  return s;
}

Tensor broadcast_kernel(const Tensor& x, const Shape& shape) {
  std::array<int64_t, kMaxRank> strides{};
  int64_t stride = 1;
  for (int back = 1; back <= x.rank(); ++back) {
    strides[shape.rank() - back] = x.size(-back) == 1 ? 0 : stride;
    stride *= x.size(-back);
  }
  Tensor out = like(x, shape);
  launch<StridedCopy>(out.device(), x, strides, out);
  return out;
}

// Sums away the axes along which `shape` was broadcast to x's shape, neighbouring axes together.
Tensor sum_to_kernel(const Tensor& x, const Shape& shape) {
  Tensor t = x;
  const int extra = x.rank() - shape.rank();
  int axis = 0;
  while (axis < x.rank()) {
    const auto summed = [&](int k) {
      return k < extra || (shape[k - extra] == 1 && x.size(k) != 1);
    };
    if (!summed(axis)) {
      ++axis;
      continue;
    }
    AxisView v;
    for (int k = 0; k < axis; ++k) v.outer *= t.size(k);
    Shape kept = t.shape();
    int end = axis;
    for (; end < x.rank() && summed(end); ++end) {
      v.n *= t.size(end);
      kept.set(end, 1);
    }
    for (int k = end; k < x.rank(); ++k) v.inner *= t.size(k);
    Tensor out = like(x, kept);
    launch<ReduceSum>(out.device(), t, v, out);
    t = out;
    axis = end;
  }
  return t.view(shape);
}

Tensor slice_kernel(const Tensor& x, int axis, int64_t begin, int64_t end) {
  Tensor out = like(x, with_axis(x.shape(), axis, end - begin));
  launch<CopyAxis>(out.device(), x, axis, begin, end - begin, out, 0);
  return out;
}

Tensor pad_kernel(const Tensor& x, int axis, int64_t before, int64_t after) {
  const int64_t n = x.size(axis);
  Tensor out = like(x, with_axis(x.shape(), axis, before + n + after));
  launch<Fill>(out.device(), 0.0, out);
  launch<CopyAxis>(out.device(), x, axis, 0, n, out, before);
  return out;
}

Tensor permute_kernel(const Tensor& x, const std::vector<int>& axes) {
  int64_t in_strides[kMaxRank];
  int64_t stride = 1;
  for (int k = x.rank() - 1; k >= 0; --k) {
    in_strides[k] = stride;
    stride *= x.size(k);
  }
  Shape shape;
  std::array<int64_t, kMaxRank> strides{};
  for (size_t i = 0; i < axes.size(); ++i) {
    shape.push_back(x.size(axes[i]));
    strides[i] = in_strides[axes[i]];
  }
  Tensor out = like(x, shape);
  launch<StridedCopy>(out.device(), x, strides, out);
  return out;
}

struct ConcatOp final : Op {
  explicit ConcatOp(int a) : axis(a) {}  // from the end
  std::string_view name() const override { return "concat"; }
  Tensors forward(const Tensors& in) const override {
    int64_t total = 0;
    for (const Tensor& t : in) total += t.size(axis);
    Tensor out = like(in[0], with_axis(in[0].shape(), axis, total));
    int64_t at = 0;
    for (const Tensor& t : in) {
      launch<CopyAxis>(out.device(), t, axis, 0, t.size(axis), out, at);
      at += t.size(axis);
    }
    return {out};
  }
  Tensors vjp(const Node& node, const Tensors& ct, Positions needs) const override {
    Tensors grads(node.inputs.size());
    int64_t at = 0;
    for (size_t i = 0; i < grads.size(); ++i) {
      const int64_t n = node.input_meta(i).size(axis);
      if (needs.contains(i)) grads[i] = slice(ct[0], axis, at, at + n);
      at += n;
    }
    return grads;
  }
  Tensors jvp(const Node& node, const Tensors& t) const override {
    Tensors parts;
    for (size_t i = 0; i < t.size(); ++i) {
      parts.push_back(or_zeros_on_tape(t[i], node.input_meta(i)));
    }
    return {concat(parts, axis)};
  }
  Keep keep(Positions) const override { return {}; }
  int axis;
};

// The transpose of concat.
struct SplitOp final : Op {
  SplitOp(int a, std::vector<int64_t> s) : axis(a), sizes(std::move(s)) {}  // axis from the end
  std::string_view name() const override { return "split"; }
  Tensors forward(const Tensors& in) const override {
    Tensors parts;
    int64_t at = 0;
    for (const int64_t size : sizes) {
      parts.push_back(slice_kernel(in[0], axis, at, at + size));
      at += size;
    }
    return parts;
  }
  Tensors vjp(const Node& node, const Tensors& ct, Positions) const override {
    Tensors parts;
    for (size_t i = 0; i < ct.size(); ++i) {
      parts.push_back(or_zeros_on_tape(ct[i], node.output_meta(i)));
    }
    return {concat(parts, axis)};
  }
  Tensors jvp(const Node&, const Tensors& t) const override { return split(t[0], axis, sizes); }
  Keep keep(Positions) const override { return {}; }
  int axis;
  std::vector<int64_t> sizes;
};

}  // namespace

Tensor reshape(const Tensor& x, const Shape& shape) {
  check(x.defined(), "reshape: the argument is undefined");
  check(x.numel() == shape.numel(), "reshape: ", x.shape(), " has ", x.numel(), " elements, ",
        shape, " has ", shape.numel());
  return linear_op({"reshape", [shape](const Tensor& t) { return t.view(shape); },
                    [](const Tensor& ct, const Tensor& in) { return reshape(ct, in.shape()); }},
                   x);
}

Tensor broadcast_to(const Tensor& x, const Shape& shape) {
  check(broadcast_shapes(x.shape(), shape, "broadcast_to") == shape, "broadcast_to: ", x.shape(),
        " does not broadcast to ", shape);
  if (x.shape() == shape) return x;
  return linear_op({"broadcast_to", [shape](const Tensor& t) { return broadcast_kernel(t, shape); },
                    [](const Tensor& ct, const Tensor& in) { return sum_to(ct, in.shape()); }},
                   x);
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  check(broadcast_shapes(shape, x.shape(), "sum_to") == x.shape(), "sum_to: ", shape,
        " does not broadcast to ", x.shape());
  if (x.shape() == shape) return x;
  return linear_op(
      {"sum_to", [shape](const Tensor& t) { return sum_to_kernel(t, shape); },
       [](const Tensor& ct, const Tensor& in) { return broadcast_to(ct, in.shape()); }},
      x);
}

Tensor permute(const Tensor& x, const std::vector<int>& axes) {
  check(static_cast<int>(axes.size()) == x.rank(), "permute: ", x.shape(), " needs ", x.rank(),
        " axes, got ", axes.size());
  std::vector<int> forward(axes.size()), inverse(axes.size(), -1);
  for (size_t i = 0; i < axes.size(); ++i) {
    forward[i] = x.shape().normalise(axes[i], "permute");
    check(inverse[forward[i]] < 0, "permute: axis ", axes[i], " appears twice");
    inverse[forward[i]] = static_cast<int>(i);
  }
  return linear_op({"permute", [forward](const Tensor& t) { return permute_kernel(t, forward); },
                    [inverse](const Tensor& ct, const Tensor&) { return permute(ct, inverse); }},
                   x);
}

Tensor transpose(const Tensor& x) {
  check(x.rank() >= 2, "transpose: needs at least two axes, got ", x.shape());
  std::vector<int> axes;
  for (int i = 0; i < x.rank(); ++i) axes.push_back(i);
  std::swap(axes[x.rank() - 1], axes[x.rank() - 2]);
  return permute(x, axes);
}

Tensor concat(const Tensors& parts, int axis) {
  check(!parts.empty(), "concat: needs at least one tensor");
  const int from_end = parts[0].shape().normalise(axis, "concat") - parts[0].rank();
  for (const Tensor& t : parts) {
    check(t.dtype() == parts[0].dtype() && t.rank() == parts[0].rank() &&
              with_axis(t.shape(), from_end, 0) == with_axis(parts[0].shape(), from_end, 0),
          "concat: ", t, " does not fit beside ", parts[0], " along axis ", axis);
  }
  return emit1(std::make_shared<ConcatOp>(from_end), parts);
}

Tensors split(const Tensor& x, int axis, const std::vector<int64_t>& sizes) {
  const int from_end = x.shape().normalise(axis, "split") - x.rank();
  int64_t total = 0, least = 0;
  for (const int64_t size : sizes) {
    total += size;
    least = std::min(least, size);
  }
  check(!sizes.empty() && least >= 0 && total == x.size(from_end), "split: the parts have ", total,
        " entries along axis ", axis, " of ", x.shape());
  return emit(std::make_shared<SplitOp>(from_end, sizes), {x});
}

Tensor slice(const Tensor& x, int axis, int64_t begin, int64_t end) {
  const int at = x.shape().normalise(axis, "slice") - x.rank();
  const int64_t n = x.size(at);
  check(0 <= begin && begin <= end && end <= n, "slice: [", begin, ", ", end, ") leaves axis ",
        axis, " of ", x.shape());
  if (begin == 0 && end == n) return x;
  return linear_op(
      {"slice", [=](const Tensor& t) { return slice_kernel(t, at, begin, end); },
       [=](const Tensor& ct, const Tensor&) { return pad_zeros(ct, at, begin, n - end); }},
      x);
}

Tensor pad_zeros(const Tensor& x, int axis, int64_t before, int64_t after) {
  const int at = x.shape().normalise(axis, "pad_zeros") - x.rank();
  const int64_t n = x.size(at);
  check(before >= 0 && after >= 0, "pad_zeros: counts must not be negative, got ", before, " and ",
        after);
  if (before == 0 && after == 0) return x;
  return linear_op(
      {"pad_zeros", [=](const Tensor& t) { return pad_kernel(t, at, before, after); },
       [=](const Tensor& ct, const Tensor&) { return slice(ct, at, before, before + n); }},
      x);
}

Tensor stack(const Tensors& parts) {
  Tensors rows;
  for (const Tensor& t : parts) {
    Shape row = t.shape();
    row.push_front(1);
    rows.push_back(reshape(t, row));
  }
  return concat(rows, 0);
}

}  // namespace basin
