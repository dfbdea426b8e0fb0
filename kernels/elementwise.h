// Elementwise kernels: unary maps and their chain rule, binary maps with NumPy broadcasting. The
// formulas are in scalar.h; visit_unary and visit_binary tie the enums to them.
#pragma once
#include "basin/core/tensor.h"
#include "basin/kernels/scalar.h"

namespace basin {

enum class Unary : uint8_t {
  neg,
  exp,
  expm1,
  log,
  log1p,
  sqrt,
  rsqrt,
  reciprocal,
  square,
  pow,
  sin,
  cos,
  tanh,
  erf,
  sigmoid,
  softplus,
  silu,
  gelu,
  relu,
  leaky_relu,
  abs,
  scale,
  shift,
  step,
  sign,
};
enum class Binary : uint8_t { add, sub, mul, div, maximum, minimum, greater_equal };

template <class F>
void visit_unary(Unary op, F&& f) {
  switch (op) {
    case Unary::neg: return f(scalar::Neg{});
    case Unary::exp: return f(scalar::Exp{});
    case Unary::expm1: return f(scalar::Expm1{});
    case Unary::log: return f(scalar::Log{});
    case Unary::log1p: return f(scalar::Log1p{});
    case Unary::sqrt: return f(scalar::Sqrt{});
    case Unary::rsqrt: return f(scalar::Rsqrt{});
    case Unary::reciprocal: return f(scalar::Reciprocal{});
    case Unary::square: return f(scalar::Square{});
    case Unary::pow: return f(scalar::Pow{});
    case Unary::sin: return f(scalar::Sin{});
    case Unary::cos: return f(scalar::Cos{});
    case Unary::tanh: return f(scalar::Tanh{});
    case Unary::erf: return f(scalar::Erf{});
    case Unary::sigmoid: return f(scalar::Sigmoid{});
    case Unary::softplus: return f(scalar::Softplus{});
    case Unary::silu: return f(scalar::Silu{});
    case Unary::gelu: return f(scalar::Gelu{});
    case Unary::relu: return f(scalar::Relu{});
    case Unary::leaky_relu: return f(scalar::LeakyRelu{});
    case Unary::abs: return f(scalar::Abs{});
    case Unary::scale: return f(scalar::Scale{});
    case Unary::shift: return f(scalar::Shift{});
    case Unary::step: return f(scalar::Step{});
    case Unary::sign: return f(scalar::Sign{});
  }
}

template <class F>
void visit_binary(Binary op, F&& f) {
  switch (op) {
    case Binary::add: return f(scalar::Add{});
    case Binary::sub: return f(scalar::Sub{});
    case Binary::mul: return f(scalar::Mul{});
    case Binary::div: return f(scalar::Div{});
    case Binary::maximum: return f(scalar::Maximum{});
    case Binary::minimum: return f(scalar::Minimum{});
    case Binary::greater_equal: return f(scalar::GreaterEqual{});
  }
}

// out[i] = f(x[i], p). out has x's shape and dtype; out may be x.
struct UnaryMap {
  static constexpr const char* name = "unary";
  using Run = void(Unary op, const Tensor& x, double p, Tensor& out);
  static Run cpu, cuda;
};

// out[i] = t[i] * d(x[i], y[i], p): the chain rule in one pass. Either of x, y may be undefined
// when the formula does not read it.
struct UnaryChain {
  static constexpr const char* name = "unary_chain";
  using Run = void(Unary op, const Tensor& t, const Tensor& x, const Tensor& y, double p,
                   Tensor& out);
  static Run cpu, cuda;
};

// out = f(a, b), a and b broadcast to out's shape. out may be a or b when it has the same shape.
struct BinaryMap {
  static constexpr const char* name = "binary";
  using Run = void(Binary op, const Tensor& a, const Tensor& b, Tensor& out);
  static Run cpu, cuda;
};

// The broadcast pattern of up to two inputs over an output, with adjacent axes merged where both
// inputs allow it: what the CPU and the CUDA kernel iterate over.
struct BroadcastPlan {
  int rank = 0;                  // merged axes, at least 1
  int64_t sizes[kMaxRank] = {};  // of the output
  int64_t a_strides[kMaxRank] = {};
  int64_t b_strides[kMaxRank] = {};
};
BroadcastPlan plan_broadcast(const Shape& a, const Shape& b, const Shape& out);

}  // namespace basin
