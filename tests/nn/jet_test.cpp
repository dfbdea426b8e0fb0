// Jets: the algebra against nested forward mode and against central differences, what is zero and
// stays undefined, the warning of relu, and what is refused.
#include "basin/nn/jet.h"

#include <doctest/doctest.h>

#include <cmath>

#include "basin/autograd/ops.h"
#include "basin/core/log.h"
#include "basin/core/random.h"

namespace basin {
namespace {

Tensor random_points(int64_t rows, int64_t d) {
  Rng rng(5, stream_id("jet"));
  std::vector<double> v(static_cast<size_t>(rows * d));
  for (double& x : v) x = rng.uniform(-1.5, 1.5);
  return Tensor::from(v, {rows, d});
}

double gap(const Tensor& a, const Tensor& b) {
  const auto p = a.to_vector<double>(), q = b.to_vector<double>();
  REQUIRE(p.size() == q.size());
  double worst = 0, largest = 1;
  for (size_t i = 0; i < p.size(); ++i) {
    worst = std::max(worst, std::abs(p[i] - q[i]));
    largest = std::max(largest, std::abs(q[i]));
  }
  return worst / largest;
}

void check_same(const Jet& a, const Jet& b, double bound) {
  CHECK(gap(a.value, b.value) <= bound);
  for (size_t i = 0; i < a.orders.size(); ++i) {
    CAPTURE(i);
    if (a.orders[i] > 0) CHECK(gap(a.d(i), b.d(i)) <= bound);
    if (a.orders[i] > 1) CHECK(gap(a.dd(i), b.dd(i)) <= bound);
  }
}

// Keeps what is logged: relu warns once of its second derivative.
struct Heard {
  Heard() : previous(set_log_sink([this](LogLevel, const std::string& m) { said += m; })) {}
  ~Heard() { set_log_sink(previous); }
  std::string said;
  LogSink previous;
};

// By central differences of the values, along every coordinate.
Jet by_differences(const std::function<Tensor(const Tensor&)>& f, const Tensor& x,
                   const JetOrders& orders) {
  constexpr double kStep = 1e-4;
  Jet out = jet_constant(f(x), orders);
  for (size_t i = 0; i < orders.size(); ++i) {
    std::vector<double> e(orders.size());
    e[i] = kStep;
    const Tensor step = Tensor::from(e, {1, static_cast<int64_t>(e.size())});
    const Tensor above = f(x + step), below = f(x - step);
    out.first[i] = scale(above - below, 0.5 / kStep);
    out.second[i] = scale(above + below - scale(out.value, 2), 1 / (kStep * kStep));
  }
  return out;
}

// The same function of a tensor or of a jet, of every rule.
template <class Value>
Value mixture(const Value& x, const Tensor& w, const Tensor& b) {
  const Value y = linear(x, w, b), p = apply(Nonlinearity::tanh, y);
  return shift(scale(p * sin(y), 0.7), 0.2) + cos(p) - exp(scale(y, 0.3));
}

TEST_CASE("jet: products, sums and functions as nested forward mode and differences have them") {
  const Tensor x = random_points(7, 2), w = random_points(3, 2), b = random_points(1, 3).view({3});
  const auto f = [&](const Tensor& at) { return mixture(at, w, b); };
  for (const JetOrders& orders : {JetOrders{2, 1}, JetOrders{2, 2}, JetOrders{0, 2}}) {
    const Jet jet = mixture(jet_seed(x, orders), w, b);
    check_same(jet, nested_jet([&](const Tensors& in) { return Tensors{f(in[0])}; }, x, orders),
               1e-12);
    check_same(jet, by_differences(f, x, orders), 1e-6);
  }
}

TEST_CASE("jet: every nonlinearity") {
  const Heard heard;
  const Tensor x = random_points(9, 2);
  for (size_t k = 0; k < std::size(kNonlinearities); ++k) {
    CAPTURE(kNonlinearities[k]);
    const auto phi = static_cast<Nonlinearity>(k);
    const JetOrders orders{2, 2};
    const Tensor w = random_points(4, 2);
    const auto f = [&](const Tensor& at) { return apply(phi, linear(at, w, {})); };
    const Jet jet = apply(phi, linear(jet_seed(x, orders), w, {}));
    check_same(jet, nested_jet([&](const Tensors& in) { return Tensors{f(in[0])}; }, x, orders),
               1e-12);
    check_same(jet, by_differences(f, x, orders), 1e-6);
  }
}

TEST_CASE("jet: parts side by side, and columns of them") {
  const Tensor x = random_points(4, 2);
  const Jet seed = jet_seed(x, {2, 1});
  const Jet both = beside({sin(seed), jet_constant(x, {2, 1})});
  CHECK(both.value.shape() == Shape{4, 4});
  check_same(columns(both, 0, 2), sin(seed), 0);
  CHECK(gap(columns(both, 2, 4).d(0), Tensor::zeros({4, 2}, DType::f64)) == 0);
}

TEST_CASE("jet: a third derivative by nesting further") {
  // u = sin(x) t: u_xxx = -cos(x) t
  const Tensor x = random_points(6, 2);
  const Fn second = [](const Tensors& in) {
    const Jet seed = jet_seed(in[0], {2, 0});
    return Tensors{(sin(columns(seed, 0, 1)) * columns(seed, 1, 2)).dd(0)};
  };
  const Tensor along = broadcast_to(Tensor::from(std::vector<double>{1, 0}, {1, 2}), x.shape());
  const Tensor third = jvp(second, {x}, {along}).second.front();
  CHECK(gap(third, neg(cos(slice(x, 1, 0, 1)) * slice(x, 1, 1, 2))) <= 1e-13);
}

TEST_CASE("jet: relu says once that its second derivative is zero, and refusals") {
  const Tensor x = random_points(3, 2);
  const Heard heard;
  apply(Nonlinearity::relu, jet_seed(x, {1, 0}));
  CHECK(heard.said.empty());  // no second derivative was asked for
  const Jet bent = apply(Nonlinearity::relu, jet_seed(x, {2, 0}));
  apply(Nonlinearity::relu, jet_seed(x, {2, 0}));
  CHECK(gap(bent.dd(0), Tensor::zeros({3, 2}, DType::f64)) == 0);
  CHECK(heard.said.size() < 200);  // once at most: another test may have had it

  CHECK_THROWS_WITH_AS(jet_seed(x, {1}), "jet_seed: expects x [B, 1], got [3, 2]", Error);
  CHECK_THROWS_WITH_AS(jet_seed(x, {3, 0}),
                       "jet_seed: derivatives of order 0 to 2 along a coordinate, got 3", Error);
  CHECK_THROWS_WITH_AS(bent.d(1), "jet: derivative 1 along coordinate 1 was not asked for", Error);
  CHECK_THROWS_WITH_AS(bent + jet_seed(x, {2, 1}), "jet +: the two jets have other derivatives",
                       Error);
  CHECK_THROWS_AS(beside({}), Error);
}

}  // namespace
}  // namespace basin
