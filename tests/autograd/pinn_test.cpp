// A physics-informed loss through the whole engine: u(x; theta) a small tanh network, u_xx by
// forward mode (twice) or reverse mode (twice) in x, L = mean (u_xx + sin u)^2. Its parameter
// gradient and Hessian-vector products use derivatives of orders 3 and 4.
#include <doctest/doctest.h>

#include "basin/autograd/detail/compare.h"
#include "basin/autograd/ops.h"
#include "basin/autograd/transform.h"
#include "basin/core/random.h"

using namespace basin;

namespace {

constexpr int64_t kPoints = 12, kWidth = 6;

Tensor network(const Tensors& theta, const Tensor& x) {  // x [P, 1] -> [P, 1]
  const Tensor h = tanh(linear(x, theta[0], theta[1]));
  return linear(tanh(linear(h, theta[2], theta[3])), theta[4], theta[5]);
}

Tensors parameters() {
  Rng rng(11, 0);
  const auto zeros = [](const Shape& s) { return Tensor::zeros(s, DType::f64); };
  return random_like(rng, {zeros({kWidth, 1}), zeros({kWidth}), zeros({kWidth, kWidth}),
                           zeros({kWidth}), zeros({1, kWidth}), zeros({1})});
}

Tensor points() {
  std::vector<double> x(kPoints);
  for (int64_t i = 0; i < kPoints; ++i) x[i] = -1 + 2.0 * static_cast<double>(i) / (kPoints - 1);
  return Tensor::from(x, {kPoints, 1});
}

// d/dx of a function that works point by point.
using Pointwise = std::function<Tensor(const Tensor&)>;
Pointwise slope(Pointwise u, bool forward) {
  return [u, forward](const Tensor& x) {
    const Tensor ones = Tensor::full(x.shape(), x.dtype(), 1);
    const Fn f = [u](const Tensors& in) -> Tensors { return {u(in[0])}; };
    return forward ? jvp(f, {x}, {ones}).second[0] : vjp(f, {x}, {ones}).second[0];
  };
}

Fn loss(bool first_forward, bool second_forward) {
  return [=](const Tensors& theta) -> Tensors {
    const Pointwise u = [theta](const Tensor& x) { return network(theta, x); };
    const Tensor x = points();
    const Tensor u_xx = slope(slope(u, first_forward), second_forward)(x);
    return {mean(square(u_xx + sin(u(x))))};
  };
}

// Fourth-order central difference of f along t.
Tensors central(const Fn& f, const Tensors& x, const Tensors& t, double h) {
  const Tensors near = difference(f(moved(x, h, t)), f(moved(x, -h, t)), 8 / (12 * h));
  const Tensors far = difference(f(moved(x, 2 * h, t)), f(moved(x, -2 * h, t)), 1 / (12 * h));
  return difference(near, far);
}

}  // namespace

TEST_CASE("pinn: gradient and Hessian-vector product of |u_xx + sin u|^2") {
  const Tensors theta = parameters();
  Rng rng(12, 0);
  const Tensors a = random_like(rng, theta), b = random_like(rng, theta);
  const Fn l = loss(true, true);
  const Tensors g = grad(l)(theta);
  CHECK(norm(g) > 1e-2);
  CHECK(relative_error({Tensor::scalar(inner(g, a), DType::f64)}, central(l, theta, a, 1e-3)) <=
        1e-8);
  CHECK(relative_error(jvp(l, theta, a).second, central(l, theta, a, 1e-3)) <= 1e-8);

  const LinearMap h = linearize(grad(l), theta);
  const Tensors ha = h(a), hb = h(b);
  CHECK(relative_error(ha, central(grad(l), theta, a, 1e-3)) <= 1e-8);
  CHECK(relative_error(ha, h.transpose(a)) <= 1e-11);
  CHECK(inner(a, hb) == doctest::Approx(inner(b, ha)).epsilon(1e-11));
}

TEST_CASE("pinn: every mix of modes for u_xx gives the same loss, gradient and curvature") {
  const Tensors theta = parameters();
  Rng rng(13, 0);
  const Tensors b = random_like(rng, theta);
  const Tensors value = loss(true, true)(theta), g = grad(loss(true, true))(theta);
  const Tensors hb = jvp(grad(loss(true, true)), theta, b).second;
  for (int modes = 0; modes < 3; ++modes) {
    CAPTURE(modes);
    const Fn l = loss(modes & 1, modes & 2);
    CHECK(relative_error(l(theta), value) <= 1e-12);
    CHECK(relative_error(grad(l)(theta), g) <= 1e-11);
    CHECK(relative_error(jvp(grad(l), theta, b).second, hb) <= 1e-11);
    CHECK(relative_error(vjp(grad(l), theta, b).second, hb) <= 1e-11);
  }
}
