// Rows of the op table: elementwise ops of one and two arguments, with their values from <cmath>.
#include <cmath>
#include <numbers>

#include "basin/tests/autograd/op_table.h"

using namespace basin;
using namespace basin::table;

namespace {

double sigmoid_value(double x) { return 1 / (1 + std::exp(-x)); }
double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }

}  // namespace

OP_ROW(neg) {
  return unary(
      rng, [](const Tensor& x) { return neg(x); }, -2, 2, [](double x) { return -x; });
}

OP_ROW(exp) {
  return unary(
      rng, [](const Tensor& x) { return exp(x); }, -3, 3, [](double x) { return std::exp(x); });
}

OP_ROW(expm1) {
  return unary(
      rng, [](const Tensor& x) { return expm1(x); }, -2, 2, [](double x) { return std::expm1(x); },
      [](const Tensor& x) { return exp(x) - 1; });
}

OP_ROW(log) {
  return unary(
      rng, [](const Tensor& x) { return log(x); }, 0.3, 3, [](double x) { return std::log(x); });
}

OP_ROW(log1p) {
  return unary(
      rng, [](const Tensor& x) { return log1p(x); }, -0.6, 3,
      [](double x) { return std::log1p(x); }, [](const Tensor& x) { return log(x + 1); });
}

OP_ROW(sqrt) {
  return unary(
      rng, [](const Tensor& x) { return sqrt(x); }, 0.3, 3, [](double x) { return std::sqrt(x); },
      [](const Tensor& x) { return exp(log(x) * 0.5); });
}

OP_ROW(rsqrt) {
  return unary(
      rng, [](const Tensor& x) { return rsqrt(x); }, 0.3, 3,
      [](double x) { return 1 / std::sqrt(x); },
      [](const Tensor& x) { return reciprocal(sqrt(x)); });
}

OP_ROW(reciprocal) {
  return unary(
      rng, [](const Tensor& x) { return reciprocal(x); }, off_zero, [](double x) { return 1 / x; });
}

OP_ROW(square) {
  return unary(
      rng, [](const Tensor& x) { return square(x); }, -2, 2, [](double x) { return x * x; },
      [](const Tensor& x) { return x * x; });
}

OP_ROW(pow) {
  Cases cases = unary(
      rng, [](const Tensor& x) { return pow(x, 2.5); }, 0.3, 3,
      [](double x) { return std::pow(x, 2.5); }, [](const Tensor& x) { return x * x * sqrt(x); });
  for (double p : {-1.5, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0}) {
    cases.push_back(one(
        str("exponent ", p), uniform(rng, {6}, 0.3, 3), [p](const Tensor& x) { return pow(x, p); },
        [p](const Tensor& x) { return exp(log(x) * p); }));
  }
  // Integer exponents are defined for negative bases too.
  cases.push_back(one(
      "cube of both signs", off_zero(rng, {9}), [](const Tensor& x) { return pow(x, 3); },
      [](const Tensor& x) { return x * x * x; }));
  return cases;
}

OP_ROW(sin) {
  return unary(
      rng, [](const Tensor& x) { return sin(x); }, -4, 4, [](double x) { return std::sin(x); });
}

OP_ROW(cos) {
  return unary(
      rng, [](const Tensor& x) { return cos(x); }, -4, 4, [](double x) { return std::cos(x); },
      [](const Tensor& x) { return sin(x + std::numbers::pi / 2); });
}

OP_ROW(tanh) {
  return unary(
      rng, [](const Tensor& x) { return tanh(x); }, -3, 3, [](double x) { return std::tanh(x); },
      [](const Tensor& x) { return sigmoid(x * 2.0) * 2.0 - 1; });
}

OP_ROW(erf) {
  return unary(
      rng, [](const Tensor& x) { return erf(x); }, -2, 2, [](double x) { return std::erf(x); });
}

OP_ROW(sigmoid) {
  return unary(
      rng, [](const Tensor& x) { return sigmoid(x); }, -4, 4, sigmoid_value,
      [](const Tensor& x) { return reciprocal(exp(neg(x)) + 1); });
}

OP_ROW(softplus) {
  return unary(
      rng, [](const Tensor& x) { return softplus(x); }, -4, 4,
      [](double x) { return std::log1p(std::exp(x)); },
      [](const Tensor& x) { return log1p(exp(x)); });
}

OP_ROW(silu) {
  return unary(
      rng, [](const Tensor& x) { return silu(x); }, -4, 4,
      [](double x) { return x * sigmoid_value(x); },
      [](const Tensor& x) { return x * sigmoid(x); });
}

OP_ROW(gelu) {
  return unary(
      rng, [](const Tensor& x) { return gelu(x); }, -3, 3,
      [](double x) { return x * normal_cdf(x); },
      [](const Tensor& x) { return x * (erf(x * (1 / std::numbers::sqrt2)) + 1) * 0.5; });
}

OP_ROW(relu) {
  return unary(
      rng, [](const Tensor& x) { return relu(x); }, off_zero,
      [](double x) { return std::max(x, 0.0); },
      [](const Tensor& x) { return (x + abs(x)) * 0.5; });
}

OP_ROW(leaky_relu) {
  return unary(
      rng, [](const Tensor& x) { return leaky_relu(x, 0.2); }, off_zero,
      [](double x) { return x > 0 ? x : 0.2 * x; },
      [](const Tensor& x) { return x * 0.6 + abs(x) * 0.4; });
}

OP_ROW(abs) {
  return unary(
      rng, [](const Tensor& x) { return abs(x); }, off_zero, [](double x) { return std::abs(x); },
      [](const Tensor& x) { return sqrt(x * x); });
}

OP_ROW(scale) {
  return unary(
      rng, [](const Tensor& x) { return scale(x, -1.7); }, -2, 2, [](double x) { return -1.7 * x; },
      [](const Tensor& x) { return x * like(Tensor::scalar(-1.7, DType::f64), x); });
}

OP_ROW(shift) {
  return unary(
      rng, [](const Tensor& x) { return shift(x, 0.7); }, -2, 2, [](double x) { return x + 0.7; },
      [](const Tensor& x) { return x + like(Tensor::scalar(0.7, DType::f64), x); });
}

OP_ROW(step) {
  return unary(
      rng, [](const Tensor& x) { return step(x, 0.2); }, off_zero,
      [](double x) { return x > 0 ? 1 : 0.2; });
}

OP_ROW(sign) {
  return unary(
      rng, [](const Tensor& x) { return sign(x); }, off_zero,
      [](double x) { return x > 0   ? 1.0
                            : x < 0 ? -1.0
                                    : 0.0; });
}

namespace {

Tensor any(Rng& rng, const Shape& shape) { return uniform(rng, shape, -2, 2); }

// Two arguments on interleaved grids, so that no element of one equals an element of the other.
Tensor even_grid(Rng& rng, const Shape& shape) {
  std::vector<double> v(shape.numel());
  for (double& d : v) d = 0.1 * static_cast<double>(2 * rng.below(20) - 20) + rng.uniform(0, 0.03);
  return Tensor::from(v, shape);
}
Tensor odd_grid(Rng& rng, const Shape& shape) {
  std::vector<double> v(shape.numel());
  for (double& d : v) d = 0.1 * static_cast<double>(2 * rng.below(20) - 19) + rng.uniform(0, 0.03);
  return Tensor::from(v, shape);
}

}  // namespace

OP_ROW(add) {
  return binary(
      rng, [](const Tensor& a, const Tensor& b) { return add(a, b); }, any, any,
      [](double a, double b) { return a + b; });
}

OP_ROW(sub) {
  return binary(
      rng, [](const Tensor& a, const Tensor& b) { return sub(a, b); }, any, any,
      [](double a, double b) { return a - b; });
}

OP_ROW(mul) {
  return binary(
      rng, [](const Tensor& a, const Tensor& b) { return mul(a, b); }, any, any,
      [](double a, double b) { return a * b; });
}

OP_ROW(div) {
  return binary(
      rng, [](const Tensor& a, const Tensor& b) { return div(a, b); }, any, off_zero,
      [](double a, double b) { return a / b; });
}

OP_ROW(maximum) {
  return binary(
      rng, [](const Tensor& a, const Tensor& b) { return maximum(a, b); }, even_grid, odd_grid,
      [](double a, double b) { return std::max(a, b); });
}

OP_ROW(minimum) {
  return binary(
      rng, [](const Tensor& a, const Tensor& b) { return minimum(a, b); }, even_grid, odd_grid,
      [](double a, double b) { return std::min(a, b); });
}

// The same tensor on both sides: the two cotangents meet in one slot.
TEST_CASE("op add, mul, div, sub: one tensor as both arguments") {
  Rng rng(3, 0);
  const Tensors x{off_zero(rng, {3, 4})};
  const Fn same = [](const Tensors& in) -> Tensors {
    return {in[0] * in[0] + in[0], in[0] - in[0], div(in[0], in[0])};
  };
  const Fn plain = [](const Tensors& in) -> Tensors {
    return {square(in[0]) + in[0], scale(in[0], 0), shift(scale(in[0], 0), 1)};
  };
  CheckReport report = check_derivatives(same, x);
  report.append(check_equal(same, plain, x));
  CHECK_MESSAGE(report.passed(), report.failures());
}
