// Elementwise ops. One rule each: the derivative as public ops (used while recording) next to the
// formula d(x, y, p) of kernels/scalar.h (one pass, used otherwise); the op table holds the two
// together.
#include <numbers>

#include "basin/autograd/node.h"
#include "basin/autograd/ops.h"
#include "basin/kernels/elementwise.h"
#include "basin/kernels/launch.h"

namespace basin {
namespace {

enum class Reads : uint8_t { nothing, x, y };

using Derivative = Tensor (*)(const Tensor& x, const Tensor& y, double p);  // undefined = 0

struct UnaryOp final : Op {
  UnaryOp(Unary k, std::string_view n, Reads r, Derivative d, double attribute)
      : kind(k), id(n), reads(r), derivative(d), p(attribute) {}
  std::string_view name() const override { return id; }

  Tensors forward(const Tensors& in) const override {
    Tensor out = Tensor::empty(in[0].shape(), in[0].dtype(), in[0].device());
    launch<UnaryMap>(out.device(), kind, in[0], p, out);
    return {out};
  }
  // t times the derivative at this node.
  Tensor chain(const Node& node, const Tensor& t) const {
    const Tensor x = reads == Reads::x ? node.input(0) : Tensor{};
    const Tensor y = reads == Reads::y ? node.output(0) : Tensor{};
    switch (kind) {  // constant derivatives
      case Unary::neg: return neg(t);
      case Unary::scale: return scale(t, p);
      case Unary::shift: return t;
      case Unary::step:
      case Unary::sign: return {};
      default: break;
    }
    if (tracking()) return mul(t, derivative(x, y, p));
    Tensor out = Tensor::empty(t.shape(), t.dtype(), t.device());
    launch<UnaryChain>(out.device(), kind, t.detach(), x.detach(), y.detach(), p, out);
    return out;
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
  Derivative derivative;
  double p;
};

Tensor unary(Unary kind, std::string_view name, const Tensor& x, Reads reads, Derivative derivative,
             double p = 0) {
  check(x.defined(), name, ": the argument is undefined");
  check(is_float(x.dtype()), name, ": expects f32 or f64, got ", name_of(x.dtype()));
  return emit1(std::make_shared<UnaryOp>(kind, name, reads, derivative, p), {x});
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

Tensor neg(const Tensor& x) { return unary(Unary::neg, "neg", x, Reads::nothing, nullptr); }

Tensor exp(const Tensor& x) {
  return unary(Unary::exp, "exp", x, Reads::y,
               [](const Tensor&, const Tensor& y, double) { return y; });
}

Tensor expm1(const Tensor& x) {
  return unary(Unary::expm1, "expm1", x, Reads::y,
               [](const Tensor&, const Tensor& y, double) { return shift(y, 1); });
}

Tensor log(const Tensor& x) {
  return unary(Unary::log, "log", x, Reads::x,
               [](const Tensor& x, const Tensor&, double) { return reciprocal(x); });
}

Tensor log1p(const Tensor& x) {
  return unary(Unary::log1p, "log1p", x, Reads::x,
               [](const Tensor& x, const Tensor&, double) { return reciprocal(shift(x, 1)); });
}

Tensor sqrt(const Tensor& x) {
  return unary(Unary::sqrt, "sqrt", x, Reads::y,
               [](const Tensor&, const Tensor& y, double) { return scale(reciprocal(y), 0.5); });
}

Tensor rsqrt(const Tensor& x) {
  return unary(Unary::rsqrt, "rsqrt", x, Reads::y, [](const Tensor&, const Tensor& y, double) {
    return scale(mul(square(y), y), -0.5);
  });
}

Tensor reciprocal(const Tensor& x) {
  return unary(Unary::reciprocal, "reciprocal", x, Reads::y,
               [](const Tensor&, const Tensor& y, double) { return neg(square(y)); });
}

Tensor square(const Tensor& x) {
  return unary(Unary::square, "square", x, Reads::x,
               [](const Tensor& x, const Tensor&, double) { return scale(x, 2); });
}

Tensor pow(const Tensor& x, double p) {
  return unary(
      Unary::pow, "pow", x, Reads::x,
      [](const Tensor& x, const Tensor&, double p) {
        if (p == 0) return scale(x, 0);
        return scale(pow(x, p - 1), p);
      },
      p);
}

Tensor sin(const Tensor& x) {
  return unary(Unary::sin, "sin", x, Reads::x,
               [](const Tensor& x, const Tensor&, double) { return cos(x); });
}

Tensor cos(const Tensor& x) {
  return unary(Unary::cos, "cos", x, Reads::x,
               [](const Tensor& x, const Tensor&, double) { return neg(sin(x)); });
}

Tensor tanh(const Tensor& x) {
  return unary(Unary::tanh, "tanh", x, Reads::y,
               [](const Tensor&, const Tensor& y, double) { return shift(neg(square(y)), 1); });
}

Tensor erf(const Tensor& x) {
  return unary(Unary::erf, "erf", x, Reads::x, [](const Tensor& x, const Tensor&, double) {
    return scale(exp(neg(square(x))), 2 * std::numbers::inv_sqrtpi);
  });
}

Tensor sigmoid(const Tensor& x) {
  return unary(Unary::sigmoid, "sigmoid", x, Reads::y,
               [](const Tensor&, const Tensor& y, double) { return mul(y, shift(neg(y), 1)); });
}

Tensor softplus(const Tensor& x) {
  return unary(Unary::softplus, "softplus", x, Reads::x,
               [](const Tensor& x, const Tensor&, double) { return sigmoid(x); });
}

Tensor silu(const Tensor& x) {
  return unary(Unary::silu, "silu", x, Reads::x, [](const Tensor& x, const Tensor&, double) {
    const Tensor s = sigmoid(x);
    return add(s, mul(mul(x, s), shift(neg(s), 1)));
  });
}

Tensor gelu(const Tensor& x) {
  return unary(Unary::gelu, "gelu", x, Reads::x, [](const Tensor& x, const Tensor&, double) {
    const Tensor cdf = scale(shift(erf(scale(x, 1 / std::numbers::sqrt2)), 1), 0.5);
    const Tensor density =
        scale(exp(scale(square(x), -0.5)), std::numbers::inv_sqrtpi / std::numbers::sqrt2);
    return add(cdf, mul(x, density));
  });
}

Tensor relu(const Tensor& x) {
  return unary(Unary::relu, "relu", x, Reads::y,
               [](const Tensor&, const Tensor& y, double) { return step(y, 0); });
}

Tensor leaky_relu(const Tensor& x, double slope) {
  return unary(
      Unary::leaky_relu, "leaky_relu", x, Reads::x,
      [](const Tensor& x, const Tensor&, double p) { return step(x, p); }, slope);
}

Tensor abs(const Tensor& x) {
  return unary(Unary::abs, "abs", x, Reads::x,
               [](const Tensor& x, const Tensor&, double) { return sign(x); });
}

Tensor scale(const Tensor& x, double c) {
  return unary(Unary::scale, "scale", x, Reads::nothing, nullptr, c);
}

Tensor shift(const Tensor& x, double c) {
  return unary(Unary::shift, "shift", x, Reads::nothing, nullptr, c);
}

Tensor step(const Tensor& x, double below) {
  return unary(Unary::step, "step", x, Reads::nothing, nullptr, below);
}

Tensor sign(const Tensor& x) { return unary(Unary::sign, "sign", x, Reads::nothing, nullptr); }

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
