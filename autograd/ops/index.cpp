// Ops over constant indices. gather and scatter_sum, segment_sum and segment_expand, take_along and
// put_along are each other's transposes.
#include "basin/kernels/index.h"

#include "basin/autograd/families.h"
#include "basin/autograd/ops.h"
#include "basin/autograd/ops/labels.h"
#include "basin/kernels/index_map.h"
#include "basin/kernels/launch.h"

namespace basin {
namespace {

void check_rows_index(const Tensor& index, const char* op) {
  check(index.defined() && index.dtype() == DType::i32 && index.rank() == 1, op,
        ": the index must be i32 [E], got ", index);
}

Tensor with_rows(const Tensor& x, int64_t rows) {
  Shape shape = x.shape();
  shape.set(0, rows);
  return Tensor::empty(shape, x.dtype(), x.device());
}

Shape take_shape(const Tensor& x, const Tensor& index, int axis, const char* op) {
  check(index.defined() && index.dtype() == DType::i32 && index.rank() == x.rank(), op,
        ": the index must be i32 of x's rank, got ", index, " for ", x.shape());
  Shape shape = x.shape();
  shape.set(axis, index.size(axis));
  check(shape == index.shape(), op, ": index ", index.shape(), " and x ", x.shape(),
        " differ beside axis ", axis);
  return shape;
}

}  // namespace

Tensor gather(const Tensor& x, const Tensor& index) {
  check_rows_index(index, "gather");
  check(x.rank() >= 1, "gather: x needs at least one axis");
  return linear_op(
      {"gather",
       [index](const Tensor& t) {
         Tensor out = with_rows(t, index.numel());
         launch<Gather>(out.device(), t, index, out);
         return out;
       },
       [index](const Tensor& ct, const Tensor& in) { return scatter_sum(ct, index, in.size(0)); }},
      x);
}

Tensor scatter_sum(const Tensor& x, const Tensor& index, int64_t rows) {
  check_rows_index(index, "scatter_sum");
  check(x.rank() >= 1 && x.size(0) == index.numel(), "scatter_sum: x ", x.shape(),
        " has other rows than ", "index ", index.shape());
  check(rows >= 0, "scatter_sum: rows must not be negative, got ", rows);
  return linear_op({"scatter_sum",
                    [index, rows](const Tensor& t) {
                      Tensor out = with_rows(t, rows);
                      launch<ScatterSum>(out.device(), t, index, out);
                      return out;
                    },
                    [index](const Tensor& ct, const Tensor&) { return gather(ct, index); }},
                   x);
}

Tensor segment_sum(const Tensor& x, const Tensor& offsets) {
  check(x.rank() >= 1, "segment_sum: x needs at least one axis");
  check_offsets(offsets, x.size(0), "segment_sum");
  return linear_op(
      {"segment_sum",
       [offsets](const Tensor& t) {
         Tensor out = with_rows(t, offsets.numel() - 1);
         launch<SegmentSum>(out.device(), t, offsets, out);
         return out;
       },
       [offsets](const Tensor& ct, const Tensor&) { return segment_expand(ct, offsets); }},
      x);
}

Tensor segment_expand(const Tensor& x, const Tensor& offsets) {
  check(x.rank() >= 1 && offsets.rank() == 1 && x.size(0) == offsets.numel() - 1,
        "segment_expand: x ", x.shape(), " does not fit offsets ", offsets.shape());
  // The one value that the shape of the result needs: on a GPU this waits.
  const auto rows = static_cast<int64_t>(offsets.at(offsets.numel() - 1));
  check_offsets(offsets, rows, "segment_expand");
  return linear_op(
      {"segment_expand",
       [offsets, rows](const Tensor& t) {
         Tensor out = with_rows(t, rows);
         launch<SegmentExpand>(out.device(), t, offsets, out);
         return out;
       },
       [offsets](const Tensor& ct, const Tensor&) { return segment_sum(ct, offsets); }},
      x);
}

Tensor segment_mean(const Tensor& x, const Tensor& offsets) {
  const Tensor total = segment_sum(x, offsets);
  const int64_t segments = offsets.numel() - 1;
  Shape column{segments};
  for (int k = 1; k < x.rank(); ++k) column.push_back(1);
  Tensor inverse = Tensor::empty(column, x.dtype(), x.device());
  launch<SegmentInverse>(x.device(), offsets, inverse);
  return mul(total, inverse);
}

Tensor segment_max(const Tensor& x, const Tensor& offsets) {
  check(x.rank() >= 1, "segment_max: x needs at least one axis");
  check_offsets(offsets, x.size(0), "segment_max");
  Shape shape = x.shape();
  shape.set(0, offsets.numel() - 1);
  const Tensor index = opaque_op("segment_argmax",
                                 [&](const Tensors& in) {
                                   Tensor out = Tensor::empty(shape, DType::i32, in[0].device());
                                   launch<SegmentArgmax>(out.device(), in[0], in[1], out);
                                   return Tensors{out};
                                 },
                                 {x, offsets})[0];
  return take_along(x, index, 0);
}

Tensor take_along(const Tensor& x, const Tensor& index, int axis) {
  const int at = x.shape().normalise(axis, "take_along") - x.rank();
  const Shape shape = take_shape(x, index, at, "take_along");
  return linear_op(
      {"take_along",
       [=](const Tensor& t) {
         Tensor out = Tensor::empty(shape, t.dtype(), t.device());
         launch<TakeAlong>(out.device(), t, index, at, out);
         return out;
       },
       [=](const Tensor& ct, const Tensor& in) { return put_along(ct, index, at, in.size(at)); }},
      x);
}

Tensor put_along(const Tensor& x, const Tensor& index, int axis, int64_t size) {
  const int at = x.shape().normalise(axis, "put_along") - x.rank();
  check(take_shape(x, index, at, "put_along") == x.shape(), "put_along: index ", index.shape(),
        " and x ", x.shape(), " differ");
  return linear_op({"put_along",
                    [=](const Tensor& t) {
                      Shape shape = t.shape();
                      shape.set(at, size);
                      Tensor out = Tensor::empty(shape, t.dtype(), t.device());
                      launch<PutAlong>(out.device(), t, index, at, out);
                      return out;
                    },
                    [=](const Tensor& ct, const Tensor&) { return take_along(ct, index, at); }},
                   x);
}

namespace {

// A kernel, so that a recorded step looks at the labels of each batch.
struct LabelCheck {
  static constexpr const char* name = "label_check";
  static void cpu(std::string_view op, const Tensor& labels, int64_t classes) {
    const int64_t* label = labels.data<int64_t>();
    for (int64_t b = 0; b < labels.numel(); ++b) {
      check(label[b] >= 0 && label[b] < classes, op, ": label ", label[b], " at position ", b,
            " is outside 0..", classes - 1);
    }
  }
};

}  // namespace

void check_labels(std::string_view op, const Tensor& labels, int64_t classes) {
  check(labels.rank() == 1 && labels.dtype() == DType::i64, op, ": labels must be i64 [B], got ",
        labels);
  if (labels.device() == Device::cpu) {
    launch<LabelCheck>(Device::cpu, op, labels, classes);
  } else if (device_checks()) {
    check_labels(op, labels.to(Device::cpu), classes);
  }
}

Tensor one_hot(const Tensor& labels, int64_t classes, DType dtype) {
  check_labels("one_hot", labels, classes);
  check(is_float(dtype), "one_hot: expects f32 or f64, got ", name_of(dtype));
  Tensor out = Tensor::empty({labels.numel(), classes}, dtype, labels.device());
  launch<OneHot>(out.device(), labels, out);
  return out;
}

}  // namespace basin
