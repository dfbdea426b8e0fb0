// How a row of the op table runs: derivative checks, reference, stated values, f32 against f64, and
// the same bits for repeats, thread counts and lanes. Small cases take everything; large ones
// precision and bits.
#include "basin/tests/autograd/op_table.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace basin::table {

std::vector<Row>& op_table() {
  static std::vector<Row> rows;
  return rows;
}

Cases cases_of(const Row& row) {
  Rng rng(1, stream_id(row.name));
  return row.cases(rng);
}

namespace {

void judge(const std::string& op, const Case& c, const CheckReport& report) {
  const std::string failures = report.failures();
  CHECK_MESSAGE(report.passed(), "op ", op, ", case ", c.label, ":\n", failures);
}

int64_t largest(const Tensors& x) {
  int64_t n = 1;
  for (const Tensor& t : x) n = std::max(n, t.numel());
  return n;
}

// The arguments are rounded to f32 first, so that only the arithmetic differs.
CheckReport check_precision(const Case& c) {
  Tensors x;
  for (const Tensor& t : c.x) x.push_back(t.to(DType::f32).to(DType::f64));
  const double bound = std::min(1e-5 * std::sqrt(static_cast<double>(largest(x))), 1e-4) * c.f32;
  const auto to_f32 = [](const Tensor& t) { return is_float(t.dtype()) ? t.to(DType::f32) : t; };
  const auto to_f64 = [](const Tensor& t) { return is_float(t.dtype()) ? t.to(DType::f64) : t; };
  CheckOptions options = c.options;
  options.order = std::min(c.order, 2);
  return check_parity(c.f, x, to_f32, to_f64, "f32 against f64", bound, options);
}

void check_values(const std::string& op, const Case& c) {
  const Tensor y = c.f(c.x)[0];
  REQUIRE_MESSAGE(static_cast<size_t>(y.numel()) == c.values.size(), "op ", op, ", case ", c.label);
  for (size_t i = 0; i < c.values.size(); ++i) {
    const double gap = std::abs(y.at(static_cast<int64_t>(i)) - c.values[i]);
    CHECK_MESSAGE(gap <= 4e-15 * std::max(1.0, std::abs(c.values[i])), "op ", op, ", case ",
                  c.label, ", value ", i, ": ", y.at(static_cast<int64_t>(i)), " against ",
                  c.values[i]);
  }
}

// Argument k as the only variable: then ops keep less, and rules meet undefined tangents and needs.
Case only_argument(const Case& c, size_t k) {
  const auto fix = [&c, k](const Fn& f) -> Fn {
    if (!f) return nullptr;
    return [f, k, x = c.x](const Tensors& in) {
      Tensors all = x;
      all[k] = in[0];
      return f(all);
    };
  };
  Case one = c;
  one.label += str(", only argument ", k);
  one.x = {c.x[k]};
  one.f = fix(c.f);
  one.reference = fix(c.reference);
  return one;
}

// Every output squared: the cotangent of the op then depends on x too, as it does inside a network,
// and the second order has to carry its tangent.
Case squared(const Case& c) {
  const auto after = [](const Fn& f) -> Fn {
    if (!f) return nullptr;
    return [f](const Tensors& in) {
      Tensors out = f(in);
      for (Tensor& t : out) {
        if (t.defined() && is_float(t.dtype())) t = square(t);
      }
      return out;
    };
  };
  Case s = c;
  s.label += ", squared";
  s.f = after(c.f);
  s.reference = after(c.reference);
  return s;
}

void check_rules(const std::string& op, const Case& c, const CheckOptions& options) {
  judge(op, c, check_derivatives(c.f, c.x, options));
  if (c.reference) judge(op, c, check_equal(c.f, c.reference, c.x, options));
}

void run_case(const std::string& op, const Case& c) {
  CheckOptions options = c.options;
  options.order = c.order;
  judge(op, c, check_precision(c));
  judge(op, c, check_repeatable(c.f, c.x, options));
  judge(op, c, check_lanes(c.f, c.x, options));
  Tensors x32;
  for (const Tensor& t : c.x) x32.push_back(t.to(DType::f32));
  judge(op, c, check_lanes(c.f, x32, options));
  if (!c.values.empty()) check_values(op, c);
  if (c.size == Size::large) return;
  check_rules(op, c, options);
  if (c.order >= 2) {
    CheckOptions wider = options;
    wider.order = 2;
    wider.difference *= 10;  // a value that happens to be small has a small derivative squared
    wider.difference2 *= 10;
    check_rules(op, squared(c), wider);
  }
  for (size_t k = 0; k < c.x.size() && c.x.size() > 1; ++k) {
    if (!c.vanishing.contains(k)) check_rules(op, only_argument(c, k), options);
  }
}

}  // namespace

void run_row(const std::string& name, Cases (*cases)(Rng&)) {
  Cases all;
  try {
    all = cases_of({name, cases});
  } catch (const std::exception& e) {
    FAIL("op ", name, ": the cases cannot be made: ", e.what());
  }
  REQUIRE_FALSE(all.empty());
  for (const Case& c : all) {
    try {
      run_case(name, c);
    } catch (const std::exception& e) {
      FAIL_CHECK("op ", name, ", case ", c.label, ": ", e.what());
    }
  }
}

Tensor like(const Tensor& constant, const Tensor& x) {
  Tensor t = is_float(constant.dtype()) ? constant.to(x.dtype()) : constant;
  return t.to(x.device());
}

Tensor uniform(Rng& rng, const Shape& shape, double low, double high) {
  std::vector<double> v(shape.numel());
  for (double& d : v) d = rng.uniform(low, high);
  return Tensor::from(v, shape);
}

Tensor off_zero(Rng& rng, const Shape& shape) {
  std::vector<double> v(shape.numel());
  for (double& d : v) d = (rng.below(2) ? 1 : -1) * rng.uniform(0.2, 1.5);
  return Tensor::from(v, shape);
}

Tensor distinct(Rng& rng, const Shape& shape) {
  const int64_t n = shape.numel();
  std::vector<int64_t> rank(n);
  std::iota(rank.begin(), rank.end(), int64_t{0});
  rng.shuffle(std::span<int64_t>(rank));
  std::vector<double> v(n);
  for (int64_t i = 0; i < n; ++i) {
    const double centre = static_cast<double>(rank[i] - n / 2) + 0.5;
    v[i] = 0.04 * centre + rng.uniform(-0.01, 0.01);
  }
  return Tensor::from(v, shape);
}

Tensor indices(Rng& rng, const Shape& shape, int64_t low, int64_t high) {
  std::vector<int32_t> v(shape.numel());
  for (int32_t& i : v) i = static_cast<int32_t>(low + rng.below(high - low));
  return Tensor::from(v, shape);
}

Tensor int32s(const std::vector<int32_t>& values) {
  return Tensor::from(values, {static_cast<int64_t>(values.size())});
}

Tensor int64s(const std::vector<int64_t>& values) {
  return Tensor::from(values, {static_cast<int64_t>(values.size())});
}

Case one(std::string label, Tensor x, const Unary& f, const Unary& reference) {
  Case c;
  c.label = std::move(label);
  c.x = {std::move(x)};
  c.f = [f](const Tensors& in) -> Tensors { return {f(in[0])}; };
  if (reference)
    c.reference = [reference](const Tensors& in) -> Tensors { return {reference(in[0])}; };
  return c;
}

Case two(std::string label, Tensor a, Tensor b, const Binary& f, const Binary& reference) {
  Case c;
  c.label = std::move(label);
  c.x = {std::move(a), std::move(b)};
  c.f = [f](const Tensors& in) -> Tensors { return {f(in[0], in[1])}; };
  if (reference) {
    c.reference = [reference](const Tensors& in) -> Tensors { return {reference(in[0], in[1])}; };
  }
  return c;
}

Case several(std::string label, Tensors x, Fn f, Fn reference) {
  Case c;
  c.label = std::move(label);
  c.x = std::move(x);
  c.f = std::move(f);
  c.reference = std::move(reference);
  return c;
}

Case large(Case c) {
  c.size = Size::large;
  c.label += ", large";
  return c;
}

Cases unary(Rng& rng, const Unary& f, const Generator& generate, double (*value)(double),
            const Unary& reference) {
  Cases cases;
  for (const Shape& shape : std::vector<Shape>{
           {}, {1}, {7}, {0}, {3, 4}, {1, 5}, {5, 1}, {2, 0, 3}, {2, 1, 3}, {2, 3, 17}}) {
    Case c = one(shape.to_string(), generate(rng, shape), f, reference);
    if (value && shape.numel() > 0) {
      for (double v : c.x[0].to_vector<double>()) c.values.push_back(value(v));
    }
    if (shape == Shape{3, 4}) c.order = 3;
    cases.push_back(std::move(c));
  }
  cases.push_back(large(one("[3, 30000]", generate(rng, {3, 30000}), f)));
  return cases;
}

Cases unary(Rng& rng, const Unary& f, double low, double high, double (*value)(double),
            const Unary& reference) {
  const auto generate = [=](Rng& r, const Shape& shape) { return uniform(r, shape, low, high); };
  return unary(rng, f, generate, value, reference);
}

Cases binary(Rng& rng, const Binary& f, const Generator& left, const Generator& right,
             double (*value)(double, double)) {
  Cases cases;
  const std::vector<std::pair<Shape, Shape>> shapes{{{}, {}},
                                                    {{5}, {5}},
                                                    {{3, 4}, {3, 4}},
                                                    {{3, 4}, {4}},
                                                    {{4}, {3, 4}},
                                                    {{3, 1}, {3, 4}},
                                                    {{3, 1}, {1, 4}},
                                                    {{}, {2, 3}},
                                                    {{2, 3}, {1}},
                                                    {{0, 3}, {3}},
                                                    {{0}, {1}},
                                                    {{2, 0}, {2, 1}},
                                                    {{2, 1, 3}, {4, 1}},
                                                    {{1, 1}, {1}},
                                                    {{2, 3, 5}, {2, 1, 5}},
                                                    {{2, 3, 5}, {1, 3, 1}}};
  for (const auto& [a, b] : shapes) {
    Case c = two(str(a, " with ", b), left(rng, a), right(rng, b), f);
    if (a == b) {
      const std::vector<double> p = c.x[0].to_vector<double>(), q = c.x[1].to_vector<double>();
      for (size_t i = 0; i < p.size(); ++i) c.values.push_back(value(p[i], q[i]));
    }
    if (b == Shape{4}) c.order = 3;
    cases.push_back(std::move(c));
  }
  cases.push_back(large(two("rows", left(rng, {700, 130}), right(rng, {130}), f)));
  cases.push_back(large(two("columns", left(rng, {700, 1}), right(rng, {700, 130}), f)));
  cases.push_back(large(two("equal", left(rng, {90000}), right(rng, {90000}), f)));
  return cases;
}

}  // namespace basin::table
