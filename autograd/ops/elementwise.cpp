// Elementwise ops.
#include "basin/kernels/elementwise.h"
#include "basin/autograd/node.h"
#include "basin/autograd/ops.h"
#include "basin/autograd/ops/chain_rule.h"
#include "basin/autograd/ops/term.h"
#include "basin/kernels/launch.h"

namespace basin {
namespace {

// What the derivative reads; flat: it is zero.
enum class Reads : uint8_t { flat, nothing, x, y };

struct UnaryOp final : Op {
  UnaryOp(Unary k, std::string_view n, Reads r, double attribute)
      : kind(k), id(n), reads(r), p(attribute) {}
  std::string_view name() const override { return id; }

  Tensors forward(const Tensors& in) const override {
    Tensor out = Tensor::empty(in[0].shape(), in[0].dtype(), in[0].device());
    launch<UnaryMap>(out.device(), kind, in[0], p, out);
    return {out};
  }
  // t times the derivative at this node; undefined: zero.
  Tensor chain(const Node& node, const Tensor& t) const {
    if (reads == Reads::flat) return {};
    return chain_rule(kind, t, reads == Reads::x ? node.input(0) : Tensor{},
                      reads == Reads::y ? node.output(0) : Tensor{}, p);
  }
  Tensors vjp(const Node& node, const Tensors& ct, Positions) const override {
    return {chain(node, ct[0])};
  }
  Tensors jvp(const Node& node, const Tensors& t) const override { return {chain(node, t[0])}; }
  Keep keep(Positions) const override {
    Keep k;
    if (reads == Reads::x) k.inputs.insert(0);
    if (reads == Reads::y) k.outputs.insert(0);
    return k;
  }

  Unary kind;
  std::string_view id;
  Reads reads;
  double p;
};

Tensor unary(Unary kind, std::string_view name, const Tensor& x, Reads reads, double p = 0) {
  check(x.defined(), name, ": the argument is undefined");
  check(is_float(x.dtype()), name, ": expects f32 or f64, got ", name_of(x.dtype()));
  return emit1(std::make_shared<UnaryOp>(kind, name, reads, p), {x});
}

// Partial of output with respect to argument k, times t. Undefined: zero.
using Partial = Tensor (*)(int k, const Tensor& t, const Tensor& a, const Tensor& b);

struct BinaryOp final : Op {
  BinaryOp(Binary k, std::string_view n, Partial d, bool linear)
      : kind(k), id(n), partial(d), sum(linear) {}
  std::string_view name() const override { return id; }

  Tensors forward(const Tensors& in) const override {
    Tensor out = Tensor::empty(broadcast_shapes(in[0].shape(), in[1].shape(), id), in[0].dtype(),
                               in[0].device());
    launch<BinaryMap>(out.device(), kind, in[0], in[1], out);
    return {out};
  }
  Tensor term(const Node& node, int k, const Tensor& t) const {
    // A product's partial reads the other argument only.
    const bool a = !sum && (kind != Binary::mul || k == 1),
               b = !sum && (kind != Binary::mul || k == 0);
    return partial(k, t, a ? node.input(0) : Tensor{}, b ? node.input(1) : Tensor{});
  }
  Tensors vjp(const Node& node, const Tensors& ct, Positions needs) const override {
    Tensors grads(2);
    for (int k = 0; k < 2; ++k) {
      if (needs.contains(k)) grads[k] = sum_to(term(node, k, ct[0]), node.input_meta(k).shape());
    }
    return grads;
  }
  Tensors jvp(const Node& node, const Tensors& t) const override {
    const Shape& shape = node.output_meta(0).shape();
    Tensor total;
    for (int k = 0; k < 2; ++k) {
      if (!t[k].defined()) continue;
      const Tensor part = term(node, k, t[k]);
      total = total.defined() ? add(total, part) : part;
    }
    return {total.shape() == shape ? total : broadcast_to(total, shape)};
  }
  // Of a product, an argument is kept only when the other one is tracked.
  Keep keep(Positions tracked) const override {
    if (sum) return {};
    if (kind == Binary::mul && !tracked.contains(0)) return {Positions::of({0}), {}};
    if (kind == Binary::mul && !tracked.contains(1)) return {Positions::of({1}), {}};
    return {Positions::all(), {}};
  }

  Binary kind;
  std::string_view id;
  Partial partial;
  bool sum;  // the partials read no argument
};

Tensor binary(Binary kind, std::string_view name, const Tensor& a, const Tensor& b, Partial partial,
              bool linear) {
  check(a.defined() && b.defined(), name, ": an argument is undefined");
  check(is_float(a.dtype()) && a.dtype() == b.dtype(), name,
        ": expects two f32 or two f64 tensors, got ", a, " and ", b);
  check(a.device() == b.device(), name, ": the arguments are on different devices, ",
        name_of(a.device()), " and ", name_of(b.device()));
  return emit1(std::make_shared<BinaryOp>(kind, name, partial, linear), {a, b});
}

// 1 where a >= b (sign +1) or a <= b (sign -1): a constant.
Tensor mask_of(const Tensor& a, const Tensor& b, bool greater) {
  Tensor out =
      Tensor::empty(broadcast_shapes(a.shape(), b.shape(), "maximum"), a.dtype(), a.device());
  if (greater) {
    launch<BinaryMap>(out.device(), Binary::greater_equal, a.detach(), b.detach(), out);
  } else {
    launch<BinaryMap>(out.device(), Binary::greater_equal, b.detach(), a.detach(), out);
  }
  return out;
}

Tensor through_mask(int k, const Tensor& t, const Tensor& mask) {
  return mul(t, k == 0 ? mask : shift(neg(mask), 1));
}

}  // namespace

Tensor chain_rule(Unary kind, const Tensor& t, const Tensor& x, const Tensor& y, double p) {
  if (!tracking() && (x.defined() || y.defined())) {
    Tensor out = Tensor::empty(t.shape(), t.dtype(), t.device());
    launch<UnaryChain>(out.device(), kind, t.detach(), x.detach(), y.detach(), p, out);
    return out;
  }
  Term d(0.0);
  visit_unary(kind, [&](auto formula) { d = formula.d(Term(x), Term(y), Term(p)); });
  if (!d.constant()) return mul(t, d.t);
  if (d.c == 1) return t;
  return d.c == -1 ? neg(t) : scale(t, d.c);
}

Tensor neg(const Tensor& x) { return unary(Unary::neg, "neg", x, Reads::nothing); }
Tensor exp(const Tensor& x) { return unary(Unary::exp, "exp", x, Reads::y); }
Tensor expm1(const Tensor& x) { return unary(Unary::expm1, "expm1", x, Reads::y); }
Tensor log(const Tensor& x) { return unary(Unary::log, "log", x, Reads::x); }
Tensor log1p(const Tensor& x) { return unary(Unary::log1p, "log1p", x, Reads::x); }
Tensor sqrt(const Tensor& x) { return unary(Unary::sqrt, "sqrt", x, Reads::y); }
Tensor rsqrt(const Tensor& x) { return unary(Unary::rsqrt, "rsqrt", x, Reads::y); }
Tensor reciprocal(const Tensor& x) { return unary(Unary::reciprocal, "reciprocal", x, Reads::y); }
Tensor square(const Tensor& x) { return unary(Unary::square, "square", x, Reads::x); }
Tensor pow(const Tensor& x, double p) { return unary(Unary::pow, "pow", x, Reads::x, p); }
Tensor sin(const Tensor& x) { return unary(Unary::sin, "sin", x, Reads::x); }
Tensor cos(const Tensor& x) { return unary(Unary::cos, "cos", x, Reads::x); }
Tensor tanh(const Tensor& x) { return unary(Unary::tanh, "tanh", x, Reads::y); }
Tensor erf(const Tensor& x) { return unary(Unary::erf, "erf", x, Reads::x); }
Tensor sigmoid(const Tensor& x) { return unary(Unary::sigmoid, "sigmoid", x, Reads::y); }
Tensor softplus(const Tensor& x) { return unary(Unary::softplus, "softplus", x, Reads::x); }
Tensor silu(const Tensor& x) { return unary(Unary::silu, "silu", x, Reads::x); }
Tensor gelu(const Tensor& x) { return unary(Unary::gelu, "gelu", x, Reads::x); }
Tensor relu(const Tensor& x) { return unary(Unary::relu, "relu", x, Reads::y); }
Tensor leaky_relu(const Tensor& x, double slope) {
  return unary(Unary::leaky_relu, "leaky_relu", x, Reads::x, slope);
}
Tensor abs(const Tensor& x) { return unary(Unary::abs, "abs", x, Reads::x); }
Tensor scale(const Tensor& x, double c) {
  return unary(Unary::scale, "scale", x, Reads::nothing, c);
}
Tensor shift(const Tensor& x, double c) {
  return unary(Unary::shift, "shift", x, Reads::nothing, c);
}
Tensor step(const Tensor& x, double below) {
  return unary(Unary::step, "step", x, Reads::flat, below);
}
Tensor sign(const Tensor& x) { return unary(Unary::sign, "sign", x, Reads::flat); }

Tensor add(const Tensor& a, const Tensor& b) {
  return binary(
      Binary::add, "add", a, b,
      [](int, const Tensor& t, const Tensor&, const Tensor&) { return t; }, true);
}

Tensor sub(const Tensor& a, const Tensor& b) {
  return binary(
      Binary::sub, "sub", a, b,
      [](int k, const Tensor& t, const Tensor&, const Tensor&) { return k == 0 ? t : neg(t); },
      true);
}

Tensor mul(const Tensor& a, const Tensor& b) {
  return binary(
      Binary::mul, "mul", a, b,
      [](int k, const Tensor& t, const Tensor& a, const Tensor& b) {
        return mul(t, k == 0 ? b : a);
      },
      false);
}

Tensor div(const Tensor& a, const Tensor& b) {
  return binary(
      Binary::div, "div", a, b,
      [](int k, const Tensor& t, const Tensor& a, const Tensor& b) {
        return k == 0 ? div(t, b) : neg(div(mul(t, div(a, b)), b));
      },
      false);
}

Tensor maximum(const Tensor& a, const Tensor& b) {
  return binary(
      Binary::maximum, "maximum", a, b,
      [](int k, const Tensor& t, const Tensor& a, const Tensor& b) {
        return through_mask(k, t, mask_of(a, b, true));
      },
      false);
}

Tensor minimum(const Tensor& a, const Tensor& b) {
  return binary(
      Binary::minimum, "minimum", a, b,
      [](int k, const Tensor& t, const Tensor& a, const Tensor& b) {
        return through_mask(k, t, mask_of(a, b, false));
      },
      false);
}

}  // namespace basin
