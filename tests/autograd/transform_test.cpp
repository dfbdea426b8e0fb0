// Transforms: nesting to any order, perturbation confusion, reverse over forward, memory, deep
// chains, the rules on tapes and in-place writes, and the error sentences.
#include <doctest/doctest.h>

#include <cmath>
#include <thread>

#include "basin/autograd/detail/compare.h"
#include "basin/autograd/ops.h"
#include "basin/autograd/transform.h"

using namespace basin;

namespace {

Tensor scalar(double v) { return Tensor::scalar(v, DType::f64); }
Tensor vec(const std::vector<double>& v) {
  return Tensor::from(v, {static_cast<int64_t>(v.size())});
}

using Scalar = std::function<Tensor(const Tensor&)>;
Scalar derivative(Scalar f) {  // by reverse mode
  return [f](const Tensor& x) {
    return grad([f](const Tensors& in) -> Tensors { return {f(in[0])}; })({x})[0];
  };
}
Scalar derivative_forward(Scalar f) {
  return [f](const Tensor& x) {
    const Fn lifted = [f](const Tensors& in) -> Tensors { return {f(in[0])}; };
    return jvp(lifted, {x}, {scalar(1)}).second[0];
  };
}

std::string sentence_of(const std::function<void()>& action, ErrorKind kind = ErrorKind::usage) {
  try {
    action();
  } catch (const Error& e) {
    CHECK(e.kind() == kind);
    return e.what();
  }
  FAIL_CHECK("no Error was thrown");
  return "";
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("transform: sin to the fourth order, every mix of modes") {
  const double at = 0.7;
  const double wanted[] = {std::sin(at), std::cos(at), -std::sin(at), -std::cos(at), std::sin(at)};
  for (int modes = 0; modes < 16; ++modes) {
    Scalar f = [](const Tensor& x) { return sin(x); };
    for (int order = 0; order <= 4; ++order) {
      CAPTURE(modes);
      CAPTURE(order);
      CHECK(f(scalar(at)).item() == doctest::Approx(wanted[order]).epsilon(1e-15));
      f = modes >> order & 1 ? derivative_forward(f) : derivative(f);
    }
  }
}

TEST_CASE("transform: perturbations are not confused") {
  for (int outer = 0; outer < 2; ++outer) {
    for (int inner = 0; inner < 2; ++inner) {
      CAPTURE(outer);
      CAPTURE(inner);
      const auto d_outer = [&](Scalar f) { return outer ? derivative_forward(f) : derivative(f); };
      const auto d_inner = [&](Scalar f) { return inner ? derivative_forward(f) : derivative(f); };
      // d/dx x (d/dy (x + y)) = 1
      const Scalar f = [&](const Tensor& x) {
        return x * d_inner([&](const Tensor& y) { return x + y; })(scalar(1));
      };
      CHECK(d_outer(f)(scalar(3)).item() == 1);
      // d/dx x (d/dy (x y)) = 2 x
      const Scalar g = [&](const Tensor& x) {
        return x * d_inner([&](const Tensor& y) { return x * y; })(scalar(2));
      };
      CHECK(d_outer(g)(scalar(3)).item() == 6);
      // d/dx x (d/dy (x y^2) at y = x) = d/dx 2 x^3 = 6 x^2
      const Scalar h = [&](const Tensor& x) {
        return x * d_inner([&](const Tensor& y) { return x * y * y; })(x);
      };
      CHECK(d_outer(h)(scalar(3)).item() == 54);
      CHECK(d_outer(d_outer(h))(scalar(3)).item() == 36);
    }
  }
}

TEST_CASE("transform: linearize gives Hessian-vector products, one by one, in lanes, transposed") {
  // L = sum x^3 y: H = [[6 x y, 3 x^2], [3 x^2, 0]] elementwise
  const Fn loss = [](const Tensors& in) -> Tensors { return {sum(pow(in[0], 3) * in[1])}; };
  const Tensors at{vec({1, 2}), vec({3, -1})};
  const LinearMap h = linearize(grad(loss), at);
  CHECK(relative_error(h.value(), {vec({9, -12}), vec({1, 8})}) <= 1e-15);
  const Tensors first = h({vec({1, 0}), vec({0, 1})});
  CHECK(relative_error(first, {vec({18, 12}), vec({3, 0})}) <= 1e-15);
  CHECK(relative_error(h({vec({1, 0}), Tensor()}), {vec({18, 0}), vec({3, 0})}) <= 1e-15);
  CHECK(relative_error(h.transpose({vec({1, 0}), vec({0, 1})}), first) <= 1e-15);
  const std::vector<Tensors> lanes =
      h.lanes({{vec({1, 0}), Tensor()}, {vec({0, 1}), Tensor()}, {vec({1, 0}), vec({0, 1})}});
  REQUIRE(lanes.size() == 3);
  CHECK(relative_error(lanes[0], {vec({18, 0}), vec({3, 0})}) <= 1e-15);
  CHECK(relative_error(lanes[1], {vec({0, -12}), vec({0, 12})}) <= 1e-15);
  CHECK(relative_error(lanes[2], first) <= 1e-15);
}

TEST_CASE("transform: undefined tangents and cotangents are zeros of the right shape") {
  const Fn f = [](const Tensors& x) -> Tensors { return {x[0] * 2.0, sum(x[1]), square(x[1])}; };
  const Tape tape = record(f, {vec({1, 2}), vec({3, 4, 5})});
  const Tensors jt = push(tape, {Tensor(), vec({1, 1, 1})});
  CHECK(jt[0].to_vector<double>() == std::vector<double>{0, 0});
  CHECK(jt[1].item() == 3);
  CHECK(jt[2].to_vector<double>() == std::vector<double>{6, 8, 10});
  const Tensors none = push(tape, {Tensor(), Tensor()});
  CHECK(none[2].to_vector<double>() == std::vector<double>{0, 0, 0});
  const Tensors ju = pull(tape, {Tensor(), scalar(2), Tensor()});
  CHECK(ju[0].to_vector<double>() == std::vector<double>{0, 0});
  CHECK(ju[1].to_vector<double>() == std::vector<double>{2, 2, 2});
  const std::vector<Tensors> lanes =
      push_lanes(tape, {{Tensor(), Tensor()}, {Tensor(), vec({1, 1, 1})}});
  CHECK(lanes[0][0].to_vector<double>() == std::vector<double>{0, 0});
  CHECK(lanes[0][1].item() == 0);
  CHECK(lanes[1][1].item() == 3);
}

TEST_CASE("transform: constants, unused arguments, an argument as output") {
  const Fn f = [](const Tensors& x) -> Tensors {
    return {dot(x[0], x[0].detach()), x[0], Tensor::scalar(5, DType::f64)};
  };
  const Tape tape = record(f, {vec({1, 2}), scalar(9)});
  const Tensors ju = pull(tape, {scalar(1), vec({10, 20}), scalar(1)});
  CHECK(ju[0].to_vector<double>() == std::vector<double>{11, 22});
  CHECK(ju[1].item() == 0);
  const Tensors jt = push(tape, {vec({1, 1}), scalar(1)});
  CHECK(jt[0].item() == 3);
  CHECK(jt[1].to_vector<double>() == std::vector<double>{1, 1});
  CHECK(jt[2].item() == 0);
}

TEST_CASE("transform: value_and_grad returns value, gradients and detached extras") {
  const ValueAndGrad run = value_and_grad([](const Tensors& x) -> Tensors {
    CHECK(recording());
    const Tensor y = square(x[0]);
    return {sum(y), y};
  });
  const ValueGrad r = run({vec({1, -3})});
  CHECK_FALSE(recording());
  CHECK(r.value.item() == 10);
  CHECK(r.grads[0].to_vector<double>() == std::vector<double>{2, -6});
  REQUIRE(r.aux.size() == 1);
  CHECK(r.aux[0].to_vector<double>() == std::vector<double>{1, 9});
  CHECK(r.value.node() == nullptr);
  CHECK(r.aux[0].node() == nullptr);
  CHECK(r.grads[0].node() == nullptr);
  // Nested: the gradient of |grad L|^2 / 2 is H grad L.
  const Fn slope = [&](const Tensors& x) -> Tensors {
    return {sum(square(
                value_and_grad([](const Tensors& z) -> Tensors { return {sum(pow(z[0], 3))}; })(x)
                    .grads[0])) *
            0.5};
  };
  CHECK(relative_error(grad(slope)({vec({1, -3})}), {vec({18, -486})}) <= 1e-15);
}

TEST_CASE("transform: an exception inside the function leaves recording off") {
  const Fn bad = [](const Tensors& x) -> Tensors { return {matmul(x[0], x[0])}; };
  CHECK_THROWS_AS(grad(bad)({vec({1, 2})}), Error);
  CHECK_FALSE(recording());
  CHECK(sin(scalar(1)).node() == nullptr);
}

TEST_CASE("transform: threads record by themselves") {
  const Fn f = [](const Tensors& x) -> Tensors {
    Tensor y = x[0];
    for (int i = 0; i < 200; ++i) y = sin(y * x[0]);
    return {sum(y)};
  };
  const Tensors at{vec({0.3, 0.9, 1.7})};
  const std::vector<double> wanted = grad(f)(at)[0].to_vector<double>();
  std::vector<std::vector<double>> got(2);
  std::vector<std::thread> threads;
  for (auto& g : got) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) g = grad(f)(at)[0].to_vector<double>();
    });
  }
  for (std::thread& t : threads) t.join();
  for (const auto& g : got) CHECK(g == wanted);
}

TEST_CASE("transform: an in-place write under a live tape throws") {
  for (bool output : {false, true}) {
    CAPTURE(output);
    Tensor x = vec({1, 2});
    Tensor y;
    const Tape tape = record(
        [&](const Tensors& in) -> Tensors {
          y = output ? exp(in[0]) : square(in[0]);
          return {sum(y)};
        },
        {x});
    CHECK(pull(tape, {scalar(1)})[0].numel() == 2);
    Tensor written = output ? y.detach() : x;
    written.mutable_data<double>()[0] = 7;
    const std::string sentence = sentence_of([&] { pull(tape, {scalar(1)}); });
    CHECK(has(sentence, output ? "exp" : "square"));
    CHECK(has(sentence, "in place"));
    CHECK_THROWS_AS(push(tape, {vec({1, 1})}), Error);
  }
}

TEST_CASE("transform: value_and_grad lets go of nodes while it sweeps") {
  constexpr int64_t kSize = 1 << 16;
  constexpr int kLayers = 24;
  Tensors x;
  for (int i = 0; i <= kLayers; ++i) x.push_back(Tensor::full({kSize}, DType::f64, 0.5 + 0.01 * i));
  const Fn f = [](const Tensors& in) -> Tensors {
    Tensor h = in[0];
    for (size_t i = 1; i < in.size(); ++i) h = tanh(h * in[i]);
    return {sum(h)};
  };
  const size_t before = allocator_stats().live_bytes;
  const auto peak_of = [&](const std::function<void()>& action) {
    reset_peak_bytes();
    action();
    return static_cast<double>(allocator_stats().peak_bytes - before);
  };
  const double released = peak_of([&] { value_and_grad(f)(x); });
  const double held = peak_of([&] {
    const Tape tape = record(f, x);
    pull(tape, {scalar(1)});
  });
  CHECK(allocator_stats().live_bytes == before);
  // Held: all activations and all gradients; released: one of the two at a time.
  CHECK(released < 0.7 * held);
  CHECK(released < (kLayers + 6) * kSize * 8.0);
}

TEST_CASE("transform: a chain of 200,000 nodes") {
  constexpr int kLinks = 200000;
  const Fn f = [](const Tensors& x) -> Tensors {
    Tensor y = x[0];
    for (int i = 0; i < kLinks; ++i) y = sin(y);
    return {y};
  };
  double y = 0.5, slope = 1;
  for (int i = 0; i < kLinks; ++i) {
    slope *= std::cos(y);
    y = std::sin(y);
  }
  CHECK(grad(f)({scalar(0.5)})[0].item() == doctest::Approx(slope).epsilon(1e-9));
  {
    const Tape tape = record(f, {scalar(0.5)});
    CHECK(tape.path.size() == kLinks);
    CHECK(push(tape, {scalar(1)})[0].item() == doctest::Approx(slope).epsilon(1e-9));
  }
  // A recording that is thrown away half-way, without a tape.
  const Fn stops = [&](const Tensors& x) -> Tensors {
    f(x);
    fail(ErrorKind::numerical, "stop");
  };
  CHECK_THROWS_AS(record(stops, {scalar(0.5)}), Error);
}

TEST_CASE("transform: error sentences name the op and the shapes") {
  const Tensor a = Tensor::zeros({32, 64}, DType::f64), b = Tensor::zeros({32, 10}, DType::f64);
  std::string s = sentence_of([&] { matmul(a, b); });
  CHECK_MESSAGE((has(s, "matmul") && has(s, "[32, 64]") && has(s, "[32, 10]")), s);
  s = sentence_of([&] { add(a, Tensor::zeros({32, 64}, DType::f32)); });
  CHECK_MESSAGE((has(s, "add") && has(s, "f32") && has(s, "f64")), s);
  s = sentence_of([&] { mul(a, b); });
  CHECK_MESSAGE((has(s, "mul") && has(s, "[32, 64]") && has(s, "[32, 10]")), s);
  s = sentence_of([&] { sum(a, 2); });
  CHECK_MESSAGE((has(s, "sum") && has(s, "2") && has(s, "[32, 64]")), s);
  s = sentence_of([&] { max(a, -3); });
  CHECK_MESSAGE((has(s, "max") && has(s, "-3")), s);
  s = sentence_of([&] { reshape(a, {5, 5}); });
  CHECK_MESSAGE((has(s, "reshape") && has(s, "[32, 64]") && has(s, "[5, 5]")), s);
  s = sentence_of([&] { slice(a, 0, 3, 40); });
  CHECK_MESSAGE((has(s, "slice") && has(s, "[32, 64]")), s);
  s = sentence_of([&] { concat({a, b}, 0); });
  CHECK_MESSAGE((has(s, "concat") && has(s, "[32, 10]")), s);
  s = sentence_of([&] { sin(Tensor::zeros({2}, DType::i64)); });
  CHECK_MESSAGE((has(s, "sin") && has(s, "i64")), s);
  s = sentence_of([&] { sin(Tensor()); });
  CHECK_MESSAGE(has(s, "sin"), s);
  s = sentence_of([&] { linear(a, b, Tensor()); });
  CHECK_MESSAGE((has(s, "linear") && has(s, "[32, 64]") && has(s, "[32, 10]")), s);
  const Tensor index = Tensor::from(std::vector<int32_t>{0, 32}, {2});
  s = sentence_of([&] { gather(a, index); });
  CHECK_MESSAGE((has(s, "gather") && has(s, "32")), s);
  s = sentence_of([&] { cross_entropy(b, Tensor::full({32}, DType::i64, 10)); });
  CHECK_MESSAGE((has(s, "cross_entropy") && has(s, "10")), s);
}

TEST_CASE("transform: indices outside their range and broken offsets are usage errors") {
  const Tensor x = Tensor::zeros({3, 2}, DType::f64);
  const auto ints = [](const std::vector<int32_t>& v) {
    return Tensor::from(v, {static_cast<int64_t>(v.size())});
  };
  for (int32_t bad : {-1, 3, 1 << 30}) {
    CAPTURE(bad);
    CHECK(has(sentence_of([&] { gather(x, ints({0, bad})); }), "gather"));
    CHECK(has(sentence_of([&] { scatter_sum(x, ints({0, bad, 1}), 3); }), "scatter_sum"));
  }
  const Tensor below = Tensor::from(std::vector<int32_t>{0, -2}, {1, 2});
  const Tensor above = Tensor::from(std::vector<int32_t>{0, 3}, {1, 2});
  for (const Tensor& index : {below, above}) {
    CHECK(has(sentence_of([&] { take_along(x, index, 0); }), "take_along"));
    CHECK(has(sentence_of([&] { put_along(slice(x, 0, 0, 1), index, 0, 3); }), "put_along"));
  }
  for (const std::vector<int32_t>& offsets :
       std::vector<std::vector<int32_t>>{{0, 2, 1, 3}, {1, 3}, {0, 2}, {0, 4}, {}}) {
    CHECK(has(sentence_of([&] { segment_sum(x, ints(offsets)); }), "segment_sum"));
    CHECK(has(sentence_of([&] { segment_mean(x, ints(offsets)); }), "segment_"));
    CHECK(has(sentence_of([&] { segment_max(x, ints(offsets)); }), "segment_max"));
  }
  CHECK(has(sentence_of([&] { gather(x, Tensor::zeros({2}, DType::i64)); }), "i64"));
}

TEST_CASE("transform: wrong use of tapes is a usage error") {
  const Fn f = [](const Tensors& x) -> Tensors { return {square(x[0])}; };
  const Tape tape = record(f, {vec({1, 2})});
  CHECK(has(sentence_of([&] { pull(tape, {vec({1, 2, 3})}); }), "[3]"));
  CHECK(has(sentence_of([&] { push(tape, {vec({1, 2, 3})}); }), "[3]"));
  CHECK(has(sentence_of([&] { pull(tape, {}); }), "pull"));
  CHECK(has(sentence_of([&] { push(tape, {}); }), "push"));
  CHECK(has(sentence_of([&] { push_lanes(tape, {{vec({1, 2})}, {vec({1})}}); }), "[1]"));
  CHECK(has(sentence_of([&] { push_lanes(tape, {}); }), "at least one lane"));
  CHECK(has(sentence_of([&] { grad(f)({vec({1, 2})}); }), "[2]"));
  CHECK(has(sentence_of([&] { record(f, {}); }), "record"));
  CHECK(has(sentence_of([&] { record(f, {Tensor()}); }), "record"));
}
