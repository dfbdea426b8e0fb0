// Singular points: kinks, ties, zeros, empty segments, repeated and missing indices, extreme
// arguments. The rule at each is stated in ops.h; here values, first and second derivatives are
// held to it.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "basin/autograd/detail/compare.h"
#include "basin/autograd/ops.h"
#include "basin/autograd/transform.h"
#include "basin/tests/autograd/composites.h"

using namespace basin;

namespace {

using Values = std::vector<double>;
using Map = std::function<Tensor(const Tensor&)>;

Tensor vec(const Values& v) { return Tensor::from(v, {static_cast<int64_t>(v.size())}); }
Tensor mat(const Values& v, int64_t rows, int64_t cols) { return Tensor::from(v, {rows, cols}); }
Tensor ints(const std::vector<int32_t>& v) {
  return Tensor::from(v, {static_cast<int64_t>(v.size())});
}
Values values(const Tensor& t) { return t.to_vector<double>(); }

Fn total(const Map& f) {
  return [f](const Tensors& x) -> Tensors { return {sum(f(x[0]))}; };
}
// The gradient of sum f, by reverse and by forward mode (unit tangents), which must agree.
Values gradient(const Map& f, const Tensor& x) {
  const Tensor reverse = grad(total(f))({x})[0];
  const LinearMap j = linearize(total(f), {x});
  for (int64_t i = 0; i < x.numel(); ++i) {
    Values unit(x.numel(), 0.0);
    unit[i] = 1;
    CHECK(j({Tensor::from(unit, x.shape())})[0].item() == doctest::Approx(reverse.at(i)));
  }
  return values(reverse);
}
// H of sum f times ones, forward over reverse and reverse over reverse.
Values curvature(const Map& f, const Tensor& x) {
  const Tensors ones{Tensor::full(x.shape(), x.dtype(), 1)};
  const Tensors forward = jvp(grad(total(f)), {x}, ones).second;
  const Tensors reverse = vjp(grad(total(f)), {x}, ones).second;
  CHECK(relative_error(forward, reverse, 1) <= 1e-12);
  return values(forward[0]);
}
bool finite(const Values& v) {
  return std::all_of(v.begin(), v.end(), [](double d) { return std::isfinite(d); });
}

// Gradients input by input, and tangents, along random directions.
void check_same_derivatives(Rng& rng, const Fn& fused, const Fn& plain, const Tensors& p) {
  const Tensors u = random_like(rng, fused(p));
  const Tensors g = vjp(fused, p, u).second, h = vjp(plain, p, u).second;
  for (size_t i = 0; i < g.size(); ++i) {
    CAPTURE(i);
    CHECK(relative_error({g[i]}, {h[i]}, 1e-3) <= 1e-12);
  }
  const Tensors t = random_like(rng, p);
  CHECK(relative_error(jvp(fused, p, t).second, jvp(plain, p, t).second) <= 1e-12);
}

}  // namespace

TEST_CASE("singular: relu, leaky_relu, abs, step, sign at 0") {
  const Tensor x = vec({-1, 0, 2});
  CHECK(values(relu(x)) == Values{0, 0, 2});
  CHECK(gradient([](const Tensor& t) { return relu(t); }, x) == Values{0, 0, 1});
  CHECK(curvature([](const Tensor& t) { return square(relu(t)); }, x) == Values{0, 0, 2});
  CHECK(gradient([](const Tensor& t) { return leaky_relu(t, 0.2); }, x) == Values{0.2, 0.2, 1});
  CHECK(values(abs(x)) == Values{1, 0, 2});
  CHECK(gradient([](const Tensor& t) { return abs(t); }, x) == Values{-1, 0, 1});
  CHECK(curvature([](const Tensor& t) { return abs(t); }, x) == Values{0, 0, 0});
  CHECK(values(step(x, 0.2)) == Values{0.2, 0.2, 1});
  CHECK(values(sign(x)) == Values{-1, 0, 1});
  CHECK(gradient([](const Tensor& t) { return step(t, 0.2) + sign(t); }, x) == Values{0, 0, 0});
}

TEST_CASE("singular: max and min over an axis give ties to the first index") {
  const Tensor x = mat({3, 5, 5, 1, 5, 2, 2, 2, 2, 2}, 2, 5);
  const auto greatest = [](const Tensor& t) { return max(t, 1); };
  const auto least = [](const Tensor& t) { return min(t, 1); };
  CHECK(values(greatest(x)) == Values{5, 2});
  CHECK(gradient(greatest, x) == Values{0, 1, 0, 0, 0, 1, 0, 0, 0, 0});
  CHECK(gradient(least, x) == Values{0, 0, 0, 1, 0, 1, 0, 0, 0, 0});
  CHECK(values(argmax(x, 1)) == Values{1, 0});
  const auto rows = [](const Tensor& t) { return max(t, 0); };
  CHECK(gradient(rows, mat({1, 4, 1, 3}, 2, 2)) == Values{1, 1, 0, 0});
  CHECK(curvature([](const Tensor& t) { return square(max(t, 1)); }, x) ==
        Values{0, 2, 0, 0, 0, 2, 0, 0, 0, 0});
}

TEST_CASE("singular: maximum and minimum give ties to the first argument") {
  const Tensors x{vec({1, 2, 3}), vec({2, 2, 2})};
  const auto both = [](bool greater) -> Fn {
    return [greater](const Tensors& in) -> Tensors {
      return {sum(greater ? maximum(in[0], in[1]) : minimum(in[0], in[1]))};
    };
  };
  const Tensors up = grad(both(true))(x), down = grad(both(false))(x);
  CHECK(values(up[0]) == Values{0, 1, 1});
  CHECK(values(up[1]) == Values{1, 0, 0});
  CHECK(values(down[0]) == Values{1, 1, 0});
  CHECK(values(down[1]) == Values{0, 0, 1});
  CHECK(jvp(both(true), x, {vec({0, 1, 0}), Tensor()}).second[0].item() == 1);
  CHECK(jvp(both(true), x, {Tensor(), vec({0, 1, 0})}).second[0].item() == 0);
}

TEST_CASE("singular: safe_norm is 0 at 0, with all its derivatives") {
  const Tensor x = mat({0, 0, 0, 3, 0, 4}, 2, 3);
  const auto f = [](const Tensor& t) { return safe_norm(t, 1); };
  CHECK(values(f(x)) == Values{0, 5});
  const Values g = gradient(f, x);
  CHECK((g[0] == 0 && g[1] == 0 && g[2] == 0 && g[4] == 0));
  CHECK(relative_error({vec(g)}, {vec({0, 0, 0, 0.6, 0, 0.8})}) <= 1e-15);
  const Values h = curvature(f, x);  // (I - n n^T) 1 / |x|, n = (0.6, 0, 0.8)
  CHECK(h[0] == 0);
  CHECK(h[1] == 0);
  CHECK(h[2] == 0);
  CHECK(h[3] == doctest::Approx((1 - 0.6 * 1.4) / 5).epsilon(1e-13));
  CHECK(h[4] == doctest::Approx(0.2).epsilon(1e-13));
  CHECK(h[5] == doctest::Approx((1 - 0.8 * 1.4) / 5).epsilon(1e-13));
  const auto third = [&](const Tensor& t) {
    return grad([&](const Tensors& z) -> Tensors { return {sum(grad(total(f))(z)[0])}; })({t})[0];
  };
  const Values t = gradient(third, x);
  CHECK(finite(t));
  CHECK((t[0] == 0 && t[1] == 0 && t[2] == 0));
}

TEST_CASE("singular: safe_norm at small and large arguments") {
  const auto f = [](const Tensor& t) { return safe_norm(t, 0); };
  for (double size : {1e-3, 1.0, 1e3}) {
    const Tensor x = vec({3 * size, 4 * size});
    CHECK(f(x).item() == doctest::Approx(5 * size).epsilon(1e-14));
    CHECK(gradient(f, x)[0] == doctest::Approx(0.6).epsilon(1e-13));
  }
}

TEST_CASE("singular: sqrt near 0") {
  const auto f = [](const Tensor& t) { return sqrt(t); };
  const Tensor x = vec({1e-12, 1e-300});
  CHECK(gradient(f, x)[0] == doctest::Approx(5e5).epsilon(1e-13));
  CHECK(gradient(f, x)[1] == doctest::Approx(5e149).epsilon(1e-13));
  CHECK(curvature(f, vec({1e-12}))[0] == doctest::Approx(-2.5e17).epsilon(1e-13));
  CHECK(f(vec({0})).item() == 0);
  CHECK(std::isinf(grad(total(f))({vec({0})})[0].item()));
}

TEST_CASE("singular: segments that are empty") {
  const Tensor x = mat({1, 2, 5, 4, -3, -6}, 3, 2), offsets = ints({0, 0, 2, 2, 3, 3});
  const auto add_up = [&](const Tensor& t) { return segment_sum(t, offsets); };
  const auto average = [&](const Tensor& t) { return segment_mean(t, offsets); };
  const auto greatest = [&](const Tensor& t) { return segment_max(t, offsets); };
  CHECK(values(add_up(x)) == Values{0, 0, 6, 6, 0, 0, -3, -6, 0, 0});
  CHECK(values(average(x)) == Values{0, 0, 3, 3, 0, 0, -3, -6, 0, 0});
  CHECK(values(greatest(x)) == Values{0, 0, 5, 4, 0, 0, -3, -6, 0, 0});
  CHECK(gradient(add_up, x) == Values{1, 1, 1, 1, 1, 1});
  CHECK(gradient(average, x) == Values{0.5, 0.5, 0.5, 0.5, 1, 1});
  CHECK(gradient(greatest, x) == Values{0, 0, 1, 1, 1, 1});
  CHECK(curvature([&](const Tensor& t) { return square(greatest(t)); }, x) ==
        Values{0, 0, 2, 2, 2, 2});
  const Tensor tied = mat({7, 7, 7}, 3, 1);
  CHECK(gradient(
            [](const Tensor& t) {
              return segment_max(t, ints({0, 3}));
            },
            tied) == Values{1, 0, 0});
  CHECK(values(segment_expand(vec({1, 2, 3}), ints({0, 2, 2, 3}))) == Values{1, 1, 3});
  const auto none = [](const Tensor& t) { return segment_max(t, ints({0, 0, 0})); };
  CHECK(values(none(Tensor::zeros({0, 2}, DType::f64))) == Values{0, 0, 0, 0});
}

TEST_CASE("singular: repeated, unused and missing indices") {
  const Tensor x = vec({1, 2, 3});
  const auto twice = [](const Tensor& t) { return square(gather(t, ints({2, 0, 2}))); };
  CHECK(values(twice(x)) == Values{9, 1, 9});
  CHECK(gradient(twice, x) == Values{2, 0, 12});
  CHECK(curvature(twice, x) == Values{2, 0, 4});
  CHECK(values(scatter_sum(x, ints({1, 1, 3}), 5)) == Values{0, 3, 0, 3, 0});

  const Tensor m = mat({1, 2, 3, 4, 5, 6}, 2, 3);
  const Tensor picks = Tensor::from(std::vector<int32_t>{2, -1, -1, -1, 0, 0}, {2, 3});
  const auto take = [&](const Tensor& t) { return take_along(t, picks, 1); };
  CHECK(values(take(m)) == Values{3, 0, 0, 0, 4, 4});
  CHECK(gradient(take, m) == Values{0, 0, 1, 2, 0, 0});
  CHECK(curvature([&](const Tensor& t) { return square(take(t)); }, m) == Values{0, 0, 2, 4, 0, 0});
  CHECK(values(put_along(m, picks, 1, 4)) == Values{0, 0, 1, 0, 11, 0, 0, 0});
}

TEST_CASE("singular: softmax, log_softmax and logsumexp of large arguments") {
  const Tensor x = mat({1e4, 1e4, -1e4, -1e4, 0, -1e4}, 2, 3);
  const double ln2 = std::log(2.0);
  CHECK(relative_error({softmax(x)}, {mat({0.5, 0.5, 0, 0, 1, 0}, 2, 3)}) <= 1e-15);
  CHECK(relative_error({log_softmax(x)}, {mat({-ln2, -ln2, -2e4 - ln2, -1e4, 0, -1e4}, 2, 3)}) <=
        1e-15);
  CHECK(relative_error({logsumexp(x, 1)}, {vec({1e4 + ln2, 0})}) <= 1e-15);
  CHECK(gradient([](const Tensor& t) { return logsumexp(t, 1); }, x) == Values{.5, .5, 0, 0, 1, 0});
  for (const Map& f : std::vector<Map>{[](const Tensor& t) { return softmax(t); },
                                       [](const Tensor& t) { return log_softmax(t); },
                                       [](const Tensor& t) { return logsumexp(t, 1); }}) {
    CHECK(finite(gradient(f, x)));
    CHECK(finite(curvature(f, x)));
  }
  // logsumexp of shifted arguments is the shifted logsumexp, for every size of the shift.
  CHECK(logsumexp(vec({-1e4, -1e4}), 0).item() == doctest::Approx(-1e4 + ln2).epsilon(1e-15));
  const Tensor label = Tensor::from(std::vector<int64_t>{2, 1}, {2});
  CHECK(cross_entropy(x, label).item() == doctest::Approx((2e4 + ln2) / 2).epsilon(1e-15));
}

// A common shift of a row cancels before any rounding: p of [1e4, 1e4] is that of [0, 0], in f32
// too.
TEST_CASE("singular: softmax and log_softmax do not see a common shift") {
  const Tensor x = mat({0, 0, 1, 2, -1, 0}, 2, 3),
               label = Tensor::from(std::vector<int64_t>{2, 1}, {2});
  const Fn loss = [&](const Tensors& in) -> Tensors { return {cross_entropy(in[0], label)}; };
  for (DType d : {DType::f32, DType::f64}) {
    CAPTURE(std::string(name_of(d)));
    const double bound = d == DType::f32 ? 1e-6 : 1e-15;
    const Tensor at = x.to(d), far = (x + 8192).to(d);
    CHECK(relative_error({softmax(far)}, {softmax(at)}) <= bound);
    CHECK(relative_error({log_softmax(far)}, {log_softmax(at)}) <= bound);
    CHECK(relative_error(grad(loss)({far}), grad(loss)({at})) <= bound);
  }
}

TEST_CASE("singular: sigmoid, softplus, silu, gelu, tanh and bce at extreme arguments") {
  const Tensor x = vec({-1e4, -745, -40, 0, 40, 745, 1e4});
  CHECK(values(sigmoid(x))[0] == 0);
  CHECK(values(sigmoid(x))[2] == doctest::Approx(std::exp(-40.0)).epsilon(1e-13));
  CHECK(values(sigmoid(x))[6] == 1);
  CHECK(values(softplus(x))[0] == 0);
  CHECK(values(softplus(x))[2] == doctest::Approx(std::exp(-40.0)).epsilon(1e-13));
  CHECK(values(softplus(x))[3] == doctest::Approx(std::log(2.0)).epsilon(1e-15));
  CHECK(values(softplus(x))[6] == 1e4);
  CHECK(values(silu(x))[0] == 0);
  CHECK(values(silu(x))[6] == 1e4);
  CHECK(values(gelu(x))[0] == 0);
  CHECK(values(gelu(x))[6] == 1e4);
  CHECK(values(tanh(x))[0] == -1);
  for (const Map& f : std::vector<Map>{
           [](const Tensor& t) { return sigmoid(t); }, [](const Tensor& t) { return softplus(t); },
           [](const Tensor& t) { return silu(t); }, [](const Tensor& t) { return gelu(t); },
           [](const Tensor& t) { return tanh(t); }, [](const Tensor& t) { return erf(t); }}) {
    CHECK(finite(values(f(x))));
    CHECK(finite(gradient(f, x)));
    CHECK(finite(curvature(f, x)));
    CHECK(finite(values(f(x.to(DType::f32)))));
    CHECK(finite(values(grad(total(f))({x.to(DType::f32)})[0])));
  }
  CHECK(bce_with_logits(vec({1e4, -1e4}), vec({1, 0})).item() == 0);
  CHECK(bce_with_logits(vec({1e4, -1e4}), vec({0, 1})).item() == 1e4);
}

TEST_CASE("singular: batch_norm of a constant column and of equal rows") {
  const Tensor x = mat({2, 1, 2, -1, 2, 3}, 3, 2);
  const Fn f = [](const Tensors& in) -> Tensors {
    return {batch_norm(in[0], in[1], in[2], 1e-5, Act::relu).y};
  };
  const Tensors at{x, vec({1.5, -0.5}), vec({0.25, 0.1})};
  const Tensor y = f(at)[0];
  for (int row = 0; row < 3; ++row) CHECK(y.at(2 * row) == 0.25);
  const Tensors g = vjp(f, at, {Tensor::full({3, 2}, DType::f64, 1)}).second;
  for (const Tensor& t : g) CHECK(finite(values(t)));
}

TEST_CASE("singular: batch statistics of batch_norm and linear_bn_act_max are constants") {
  const Tensors x{mat({1, 2, 3, 4, 6, 9}, 3, 2), vec({1, -1}), vec({0, 0})};
  const BatchNormResult r = batch_norm(x[0], x[1], x[2]);
  CHECK(relative_error({r.mean, r.var}, {vec({10.0 / 3, 5}), vec({38.0 / 9, 26.0 / 3})}) <= 1e-14);
  const Fn statistics = [](const Tensors& in) -> Tensors {
    const BatchNormResult b = batch_norm(in[0], in[1], in[2]);
    return {sum(b.mean) + sum(b.var)};
  };
  CHECK(norm(grad(statistics)(x)) == 0);
  Rng rng(5, 0);
  const Tensors p =
      random_like(rng, {Tensor::zeros({2, 6, 3}, DType::f64), Tensor::zeros({4, 3}, DType::f64),
                        Tensor::zeros({4}, DType::f64), Tensor::zeros({4}, DType::f64),
                        Tensor::zeros({4}, DType::f64)});
  const BatchNormResult fused = linear_bn_act_max(p[0], p[1], p[2], p[3], p[4]);
  const BatchNormResult plain = table::linear_bn_act_max_composite(p, 1e-5, Act::relu, 0);
  CHECK(relative_error({fused.mean, fused.var}, {plain.mean, plain.var}) <= 1e-12);
  const Fn pooled_statistics = [](const Tensors& in) -> Tensors {
    const BatchNormResult b = linear_bn_act_max(in[0], in[1], in[2], in[3], in[4]);
    return {sum(b.mean) + sum(b.var)};
  };
  CHECK(norm(grad(pooled_statistics)(p)) == 0);
}

// Points that occur twice, a gain of zero (every point ties), and a NaN, which is the maximum.
TEST_CASE("singular: bn_act_max_mean with duplicated points, with gamma 0 and with a NaN") {
  Rng rng(13, 0);
  const auto zeros = [](const Shape& s) { return Tensor::zeros(s, DType::f64); };
  for (Act act : {Act::none, Act::relu}) {
    for (bool zero_gain : {false, true}) {
      CAPTURE(zero_gain);
      Tensors p = random_like(rng, {zeros({2, 4, 5}), zeros({5}), zeros({5})});
      p[0] = concat({p[0], p[0]}, 1);  // points 4..7 repeat 0..3
      if (zero_gain) p[1] = vec({0, 0.7, 0, -0.7, 0});
      const Fn fused = [act](const Tensors& x) -> Tensors {
        return {bn_act_max_mean(x[0], x[1], x[2], 1e-5, act).y};
      };
      const Fn plain = [act](const Tensors& x) -> Tensors {
        return {table::bn_act_max_mean_composite(x, 1e-5, act, 0).y};
      };
      check_same_derivatives(rng, fused, plain, p);
    }
  }
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Tensor x = Tensor::from<double>({1, 5, nan, 2, 0, 7}, {1, 3, 2});  // of channel 0, point 1
  const Tensor y = bn_act_max_mean_frozen(x, vec({1, 1}), vec({0, 0}), vec({0, 0}), vec({1, 1}), 0);
  CHECK(std::isnan(y.at(0)));
  CHECK(std::isnan(y.at(2)));
  CHECK(y.at(1) == 7);
  CHECK(std::abs(y.at(3) - 14.0 / 3) <= 1e-15);
}

TEST_CASE("singular: a bias in front of batch statistics has no derivative") {
  Rng rng(6, 0);
  const auto zeros = [](const Shape& s) { return Tensor::zeros(s, DType::f64); };
  const Tensors p =
      random_like(rng, {zeros({2, 6, 3}), zeros({4, 3}), zeros({4}), zeros({4}), zeros({4})});
  const Fn f = [](const Tensors& x) -> Tensors {
    return {linear_bn_act_max(x[0], x[1], x[2], x[3], x[4], 1e-5, Act::none).y};
  };
  const Tensors g = vjp(f, p, random_like(rng, f(p))).second;
  CHECK(norm(g) > 0.1);
  CHECK(norm({g[2]}) <= 1e-13 * norm(g));
}

// Points that occur twice, and a gain of zero (every point ties): the first point takes the
// derivative, in the fused op as in the composite.
TEST_CASE("singular: linear_bn_act_max with duplicated points and with gamma 0") {
  Rng rng(9, 0);
  const Tensors like{Tensor::zeros({2, 4, 3}, DType::f64), Tensor::zeros({5, 3}, DType::f64),
                     Tensor::zeros({5}, DType::f64), Tensor::zeros({5}, DType::f64),
                     Tensor::zeros({5}, DType::f64)};
  for (Act act : {Act::none, Act::relu}) {
    for (bool zero_gain : {false, true}) {
      CAPTURE(zero_gain);
      Tensors p = random_like(rng, like);
      p[0] = concat({p[0], p[0]}, 1);  // points 4..7 repeat 0..3
      if (zero_gain) p[3] = vec({0, 0.7, 0, -0.7, 0});
      const Fn fused = [act](const Tensors& x) -> Tensors {
        return {linear_bn_act_max(x[0], x[1], x[2], x[3], x[4], 1e-5, act).y};
      };
      const Fn plain = [act](const Tensors& x) -> Tensors {
        return {table::linear_bn_act_max_composite(x, 1e-5, act, 0).y};
      };
      check_same_derivatives(rng, fused, plain, p);
    }
  }
}
