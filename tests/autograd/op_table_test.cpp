// The checks themselves: an op with a wrong rule must be caught, each kind of fault by the check
// made for it.
#include <doctest/doctest.h>

#include <cmath>

#include "basin/autograd/detail/compare.h"
#include "basin/tests/autograd/op_table.h"

using namespace basin;

namespace {

enum class Fault { none, value, vjp, jvp, lanes, second, needs, shape, throws };

// sin, with one fault.
struct Faulty final : Op {
  explicit Faulty(Fault f) : fault(f) {}
  std::string_view name() const override { return "faulty"; }
  Tensors forward(const Tensors& in) const override {
    const double extra = fault == Fault::value ? 1e-9 * ++calls : 0;
    return {shift(sin(in[0]), extra)};
  }
  // The derivative; detached, it is right to first order only.
  Tensor slope(const Node& node) const {
    const Tensor s = cos(node.input(0));
    return fault == Fault::second ? s.detach() : s;
  }
  Tensors vjp(const Node& node, const Tensors& ct, Positions) const override {
    if (fault == Fault::throws) fail(ErrorKind::numerical, "faulty: gives up");
    if (fault == Fault::shape)
      return {reshape(ct[0] * slope(node), {node.input_meta(0).numel(), 1})};
    return {ct[0] * slope(node) * (fault == Fault::vjp ? 1 + 1e-9 : 1.0)};
  }
  Tensors jvp(const Node& node, const Tensors& t) const override {
    return {t[0] * slope(node) * (fault == Fault::jvp ? 1 - 1e-9 : 1.0)};
  }
  std::vector<Tensors> jvp_lanes(const Node& node, const std::vector<Tensors>& t) const override {
    std::vector<Tensors> results = Op::jvp_lanes(node, t);
    if (fault == Fault::lanes) results.back()[0] = results.back()[0] * (1 - 1e-15);
    return results;
  }
  Fault fault;
  mutable int calls = 0;
};

// a b, whose gradient for b is only right when both are asked for.
struct FaultyNeeds final : Op {
  std::string_view name() const override { return "faulty_needs"; }
  Tensors forward(const Tensors& in) const override { return {in[0] * in[1]}; }
  Tensors vjp(const Node& node, const Tensors& ct, Positions needs) const override {
    const Tensor a = ct[0] * node.input(1), b = ct[0] * node.input(0);
    return {a, needs.contains(0) ? b : b * 0.5};
  }
};

Fn op(OpRef ref) {
  return [ref](const Tensors& x) { return emit(ref, x); };
}

const Tensors kPoint{Tensor::from(std::vector<double>{0.3, -0.8, 1.1, 0.6}, {4})};

bool fails(const CheckReport& report, const std::string& check) {
  for (const Finding& f : report.findings) {
    if (!f.passed() && f.check.find(check) != std::string::npos) return true;
  }
  return false;
}

CheckReport derivatives_with(Fault fault) {
  return check_derivatives(op(std::make_shared<Faulty>(fault)), kPoint);
}

}  // namespace

TEST_CASE("check: a right rule passes every check") {
  const CheckReport report = derivatives_with(Fault::none);
  CHECK_MESSAGE(report.passed(), report.failures());
  CHECK(report.findings.size() >= 14);
  CHECK(report.failures().empty());
}

TEST_CASE("check: wrong rules are caught by the check made for them") {
  CHECK(fails(derivatives_with(Fault::vjp), "duality"));
  CHECK(fails(derivatives_with(Fault::jvp), "duality"));
  CHECK(fails(derivatives_with(Fault::jvp), "derived = overridden jvp of faulty"));
  CHECK(fails(check_lanes(op(std::make_shared<Faulty>(Fault::lanes)), kPoint), "bits of lanes"));
  CHECK(fails(derivatives_with(Fault::second), "central difference of the gradient"));
  CHECK(fails(derivatives_with(Fault::shape), "shapes of J t and J^T u"));
  const CheckReport thrown = derivatives_with(Fault::throws);
  CHECK(fails(thrown, "duality"));
  CHECK(thrown.failures().find("faulty: gives up") != std::string::npos);
}

TEST_CASE("check: a rule that is wrong in both modes needs the central difference") {
  const Fn wrong = [](const Tensors& x) -> Tensors {
    return {sin(x[0]) + (x[0] - x[0].detach()) * 1e-5};  // the value of sin, another slope
  };
  const CheckReport report = check_derivatives(wrong, kPoint);
  CHECK_FALSE(fails(report, "duality"));
  CHECK(fails(report, "J t against a central difference"));
}

TEST_CASE("check: needs") {
  const Tensors x{kPoint[0], Tensor::from(std::vector<double>{1, 2, 3, 4}, {4})};
  CHECK(fails(check_derivatives(op(std::make_shared<FaultyNeeds>()), x), "needs of faulty_needs"));
}

TEST_CASE("check: bits that differ between runs, and another function") {
  CHECK(fails(check_repeatable(op(std::make_shared<Faulty>(Fault::value)), kPoint), "same bits"));
  CHECK(check_repeatable(op(std::make_shared<Faulty>(Fault::none)), kPoint).passed());
  CHECK(check_lanes(op(std::make_shared<Faulty>(Fault::none)), kPoint).passed());
  const Fn sine = [](const Tensors& x) -> Tensors { return {sin(x[0])}; };
  const Fn near = [](const Tensors& x) -> Tensors { return {sin(x[0]) * (1 + 1e-9)}; };
  CHECK(check_equal(sine, sine, kPoint).passed());
  const CheckReport report = check_equal(near, sine, kPoint);
  for (const Finding& f : report.findings) CHECK_FALSE_MESSAGE(f.passed(), f.check);
}

TEST_CASE("check: refuses f32 and empty argument lists") {
  const Fn same = [](const Tensors& x) { return x; };
  CHECK_THROWS_AS(check_derivatives(same, {kPoint[0].to(DType::f32)}), Error);
  CHECK_THROWS_AS(check_derivatives(same, {}), Error);
}

TEST_CASE("compare: errors are relative, and NaN is never small") {
  const auto t = [](double a, double b) -> Tensors {
    return {Tensor::from(std::vector<double>{a, b}, {2})};
  };
  CHECK(relative_error(t(3, 4), t(3, 4)) == 0);
  CHECK(relative_error(t(3, 4), t(0, 0)) == 1);
  CHECK(relative_error(t(3, 4), {Tensor()}) == 1);
  CHECK(relative_error(t(0, 0), {Tensor()}) == 0);
  CHECK(relative_error(t(3, 4), t(3, 5)) == doctest::Approx(1 / std::sqrt(34.0)));
  CHECK(std::isinf(relative_error(t(NAN, 1), t(NAN, 1))));
  CHECK(std::isinf(relative_error(t(INFINITY, 1), t(INFINITY, 1))));
  CHECK_THROWS_AS(relative_error(t(1, 2), {Tensor::zeros({3}, DType::f64)}), Error);
}
