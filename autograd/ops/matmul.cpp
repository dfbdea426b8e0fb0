// Matrix products: bilinear, with two transposes for rules. Batched products and their tangents
// become GEMMs with as many rows as possible.
#include "basin/autograd/families.h"
#include "basin/autograd/node.h"
#include "basin/autograd/ops.h"
#include "basin/autograd/ops/chain_rule.h"
#include "basin/kernels/gemm.h"
#include "basin/kernels/launch.h"

namespace basin {
namespace {

Shape product_shape(const Tensor& a, const Tensor& b, bool ta, bool tb) {
  check(a.rank() >= 2 && b.rank() >= 2, "matmul: both sides need at least two axes, got ",
        a.shape(), " x ", b.shape());
  const int64_t m = a.size(ta ? -1 : -2), inner = a.size(ta ? -2 : -1);
  const int64_t other = b.size(tb ? -1 : -2), n = b.size(tb ? -2 : -1);
  const bool other_fits = b.size(tb ? -2 : -1) == inner;
  check(inner == other, "matmul: inner sizes differ, ", a.shape(), ta ? "^T" : "", " x ", b.shape(),
        tb ? "^T" : "", other_fits ? "; did you mean to change trans_b?" : "");
  Shape batch;
  const Shape& longer = a.rank() >= b.rank() ? a.shape() : b.shape();
  for (int k = 0; k + 2 < longer.rank(); ++k) batch.push_back(longer[k]);
  for (const Tensor* t : {&a, &b}) {
    if (t->rank() == 2) continue;
    bool same = t->rank() == longer.rank();
    for (int k = 0; same && k + 2 < t->rank(); ++k) same = t->size(k) == batch[k];
    check(same, "matmul: batch axes differ, ", a.shape(), " x ", b.shape(),
          "; one side may have rank 2");
  }
  batch.push_back(m);
  batch.push_back(n);
  return batch;
}

// [.., r, c] -> [prod * r, c]
Tensor flatten_rows(const Tensor& x) {
  const int64_t cols = x.size(-1);
  return reshape(x, {cols == 0 ? 0 : x.numel() / cols, cols});
}

// Sums the leading batch axes of [.., r, c] away -> [r, c].
Tensor sum_batch(const Tensor& x) { return sum_to(x, {x.size(-2), x.size(-1)}); }

struct MatmulOp final : Op {
  MatmulOp(bool a, bool b) : ta(a), tb(b) {}
  std::string_view name() const override { return "matmul"; }

  Tensors forward(const Tensors& in) const override {
    Tensor out = Tensor::empty(product_shape(in[0], in[1], ta, tb), in[0].dtype(), in[0].device());
    if (in.size() > 2) {
      launch<MatmulAdd>(out.device(), in[0], in[1], ta, tb, in[2], out);
    } else {
      launch<Matmul>(out.device(), in[0], in[1], ta, tb, out);
    }
    return {out};
  }

  // d<ct, op(A) op(B)>/dA = ct op(B)^T (transposed when A was), and likewise for B. The gradient of
  // a shared side is summed over the batch; where rows can be flattened, inside one GEMM.
  Tensor grad_a(const Node& node, const Tensor& ct) const {
    const Tensor b = node.input(1);
    const bool shared = node.input_meta(0).rank() == 2 && ct.rank() > 2;
    if (!ta) {
      const Tensor g = matmul(ct, b, false, !tb);
      return shared ? sum_batch(g) : g;
    }
    const Tensor g = matmul(b, ct, tb, true);
    return shared ? sum_batch(g) : g;
  }
  Tensor grad_b(const Node& node, const Tensor& ct) const {
    const Tensor a = node.input(0);
    const bool shared = node.input_meta(1).rank() == 2 && ct.rank() > 2;
    if (shared && !ta) {  // all rows of the batch at once
      const Tensor rows = flatten_rows(a), cts = flatten_rows(ct);
      return tb ? matmul(cts, rows, true, false) : matmul(rows, cts, true, false);
    }
    const Tensor g = tb ? matmul(ct, a, true, ta) : matmul(a, ct, !ta, false);
    return shared ? sum_batch(g) : g;
  }
  Tensors vjp(const Node& node, const Tensors& ct, Positions needs) const override {
    Tensors grads(node.inputs.size());
    if (needs.contains(0)) grads[0] = grad_a(node, ct[0]);
    if (needs.contains(1)) grads[1] = grad_b(node, ct[0]);
    if (grads.size() > 2 && needs.contains(2)) {
      grads[2] = sum_to(ct[0], node.input_meta(2).shape());
    }
    return grads;
  }
  Tensors jvp(const Node& node, const Tensors& t) const override {
    Tensor total = t.size() > 2 ? t[2] : Tensor();
    if (t[0].defined()) total = matmul_add(t[0], node.input(1), total, ta, tb);
    if (t[1].defined()) total = matmul_add(node.input(0), t[1], total, ta, tb);
    if (total.defined()) total = broadcast_to(total, node.output_meta(0).shape());
    return {total};
  }
  Keep keep(Positions tracked) const override {
    Keep k;
    if (tracked.contains(1)) k.inputs.insert(0);
    if (tracked.contains(0)) k.inputs.insert(1);
    return k;
  }
  bool ta, tb;
};

// relu(x w^T + bias): a product whose cotangents and tangents pass where the result is positive.
struct LinearReluOp final : Op {
  std::string_view name() const override { return "linear_relu"; }
  Tensors forward(const Tensors& in) const override {
    Tensor out =
        Tensor::empty(product_shape(in[0], in[1], false, true), in[0].dtype(), in[0].device());
    launch<LinearRelu>(out.device(), in[0], in[1], in[2], out);
    return {out};
  }
  static Tensor gate(const Node& node, const Tensor& t) {
    return t.defined() ? chain_rule(Unary::relu, t, {}, node.output(0), 0) : t;
  }
  Tensors vjp(const Node& node, const Tensors& ct, Positions needs) const override {
    return product.vjp(node, {gate(node, ct[0])}, needs);
  }
  Tensors jvp(const Node& node, const Tensors& t) const override {
    return {gate(node, product.jvp(node, t)[0])};
  }
  Keep keep(Positions tracked) const override {
    Keep k = product.keep(tracked);
    k.outputs.insert(0);
    return k;
  }
  MatmulOp product{false, true};
};

void check_linear(const char* op, const Tensor& x, const Tensor& w, const Tensor& bias) {
  check(x.rank() >= 1 && w.rank() == 2 && x.size(-1) == w.size(1), op, ": x ", x.shape(),
        " does not fit w ", w.shape(), "; expects [.., in] and [out, in]");
  check(!bias.defined() || bias.shape() == Shape{w.size(0)}, op, ": bias ", bias.shape(),
        " does not fit w ", w.shape());
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b, bool trans_a, bool trans_b) {
  return matmul_add(a, b, Tensor(), trans_a, trans_b);
}

Tensor matmul_add(const Tensor& a, const Tensor& b, const Tensor& addend, bool trans_a,
                  bool trans_b) {
  check(a.defined() && b.defined(), "matmul: an argument is undefined");
  check(is_float(a.dtype()) && a.dtype() == b.dtype(),
        "matmul: expects two f32 or two f64 tensors, got ", a, " and ", b);
  const Shape shape = product_shape(a, b, trans_a, trans_b);
  static const OpRef ops[4] = {
      std::make_shared<MatmulOp>(false, false), std::make_shared<MatmulOp>(false, true),
      std::make_shared<MatmulOp>(true, false), std::make_shared<MatmulOp>(true, true)};
  const OpRef& op = ops[2 * trans_a + trans_b];
  if (!addend.defined()) return emit1(op, {a, b});
  check(addend.dtype() == a.dtype() &&
            (addend.shape() == shape || addend.shape() == Shape{shape[shape.rank() - 1]}),
        "matmul_add: the addend ", addend, " fits neither the product ", shape, " nor its rows");
  return emit1(op, {a, b, addend});
}

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias) {
  check_linear("linear", x, w, bias);
  const Tensor rows = x.rank() == 1 ? reshape(x, {1, x.size(0)}) : x;
  const Tensor y = matmul_add(rows, w, bias, false, true);
  return x.rank() == 1 ? reshape(y, {w.size(0)}) : y;
}

Tensor linear_relu(const Tensor& x, const Tensor& w, const Tensor& bias) {
  check_linear("linear_relu", x, w, bias);
  check(
      bias.defined() && is_float(x.dtype()) && w.dtype() == x.dtype() && bias.dtype() == x.dtype(),
      "linear_relu: expects x, w and a bias of one type, f32 or f64, got ", x, ", ", w, " and ",
      bias);
  if (x.device() != Device::cpu) return relu(linear(x, w, bias));
  static const OpRef op = std::make_shared<LinearReluOp>();
  const Tensor y = emit1(op, {x.rank() == 1 ? reshape(x, {1, x.size(0)}) : x, w, bias});
  return x.rank() == 1 ? reshape(y, {w.size(0)}) : y;
}

}  // namespace basin
