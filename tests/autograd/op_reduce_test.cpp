// Rows of the op table: reductions and linear algebra.
#include <cmath>

#include "basin/tests/autograd/op_table.h"

using namespace basin;
using namespace basin::table;

namespace {

// f(x, axis, keep) over shapes and axes, behind a square so that the second order is not zero.
// `part` says whether an axis of size 0 is allowed.
using Reduction = std::function<Tensor(const Tensor&, int, bool)>;
Cases reductions(Rng& rng, const Reduction& f, const Generator& generate, bool empty_axis,
                 const Reduction& reference = nullptr) {
  struct Cut {
    Shape shape;
    int axis;
    bool keep;
  };
  std::vector<Cut> cuts{{{5}, 0, false},       {{5}, 0, true},        {{1}, 0, false},
                        {{3, 4}, 0, false},    {{3, 4}, 1, false},    {{3, 4}, -1, true},
                        {{3, 4}, -2, true},    {{2, 5, 3}, 1, false}, {{2, 5, 3}, 0, true},
                        {{2, 5, 3}, 2, false}, {{4, 1, 3}, 1, true},  {{1, 6}, 0, false},
                        {{0, 3}, 1, false},    {{2, 0, 3}, 2, true}};
  if (empty_axis)
    cuts.insert(cuts.end(), {{{0, 3}, 0, false}, {{2, 0}, -1, true}, {{0}, 0, false}});
  Cases cases;
  for (const Cut& cut : cuts) {
    const auto outer = [cut](const Reduction& g) -> Unary {
      if (!g) return nullptr;
      return [cut, g](const Tensor& x) { return square(g(x, cut.axis, cut.keep)); };
    };
    cases.push_back(one(str(cut.shape, " axis ", cut.axis, cut.keep ? ", kept" : ""),
                        generate(rng, cut.shape), outer(f), outer(reference)));
  }
  for (int axis : {0, 1, 2}) {
    cases.push_back(large(one(str("[40, 60, 40] axis ", axis), generate(rng, {40, 60, 40}),
                              [f, axis](const Tensor& x) { return f(x, axis, false); })));
  }
  cases.push_back(large(one("one long axis", generate(rng, {100000}),
                            [f](const Tensor& x) { return f(x, 0, false); })));
  return cases;
}

Tensor any(Rng& rng, const Shape& shape) { return uniform(rng, shape); }

Case expect(Case c, std::vector<double> values) {
  c.values = std::move(values);
  return c;
}

const std::vector<double> kSix{1, 2, 3, 4, 5, 7};

}  // namespace

OP_ROW(sum) {
  Cases cases = reductions(
      rng, [](const Tensor& x, int axis, bool keep) { return sum(x, axis, keep); }, any, true);
  for (const Shape& shape : std::vector<Shape>{{}, {7}, {3, 4}, {0}, {2, 1, 3}}) {
    cases.push_back(one(
        str("all of ", shape), uniform(rng, shape), [](const Tensor& x) { return square(sum(x)); },
        [](const Tensor& x) { return square(sum_to(x, {})); }));
  }
  cases.push_back(expect(
      one("value, axis 0", Tensor::from(kSix, {2, 3}), [](const Tensor& x) { return sum(x, 0); }),
      {5, 7, 10}));
  cases.push_back(expect(
      one("value, axis 1", Tensor::from(kSix, {2, 3}), [](const Tensor& x) { return sum(x, 1); }),
      {6, 16}));
  cases.push_back(large(
      one("all of [400, 250]", uniform(rng, {400, 250}), [](const Tensor& x) { return sum(x); })));
  cases.back().f32 = 10;  // a sum of both signs cancels
  return cases;
}

OP_ROW(mean) {
  Cases cases = reductions(
      rng, [](const Tensor& x, int axis, bool keep) { return mean(x, axis, keep); }, any, false,
      [](const Tensor& x, int axis, bool keep) {
        return sum(x, axis, keep) * (1.0 / static_cast<double>(x.size(axis)));
      });
  for (const Shape& shape : std::vector<Shape>{{}, {7}, {3, 4}}) {
    cases.push_back(one(str("all of ", shape), uniform(rng, shape),
                        [](const Tensor& x) { return square(mean(x)); }));
  }
  cases.push_back(
      expect(one("value", Tensor::from(kSix, {2, 3}), [](const Tensor& x) { return mean(x, 1); }),
             {2, 16.0 / 3}));
  return cases;
}

OP_ROW(max) {
  Cases cases = reductions(
      rng, [](const Tensor& x, int axis, bool keep) { return max(x, axis, keep); }, distinct,
      false);
  cases.push_back(expect(one("value", Tensor::from(std::vector<double>{1, 9, 3, 4, -5, 7}, {2, 3}),
                             [](const Tensor& x) { return max(x, 0); }),
                         {4, 9, 7}));
  return cases;
}

OP_ROW(min) {
  Cases cases = reductions(
      rng, [](const Tensor& x, int axis, bool keep) { return min(x, axis, keep); }, distinct, false,
      [](const Tensor& x, int axis, bool keep) { return neg(max(neg(x), axis, keep)); });
  cases.push_back(expect(one("value", Tensor::from(std::vector<double>{1, 9, 3, 4, -5, 7}, {2, 3}),
                             [](const Tensor& x) { return min(x, 1); }),
                         {1, -5}));
  return cases;
}

OP_ROW(logsumexp) {
  return reductions(
      rng, [](const Tensor& x, int axis, bool keep) { return logsumexp(x, axis, keep); }, any,
      false, [](const Tensor& x, int axis, bool keep) { return log(sum(exp(x), axis, keep)); });
}

OP_ROW(safe_norm) {
  return reductions(
      rng,
      [](const Tensor& x, int axis, bool keep) { return exp(safe_norm(x, axis, keep) * 0.01); },
      off_zero, false,
      [](const Tensor& x, int axis, bool keep) {
        return exp(sqrt(sum(square(x), axis, keep)) * 0.01);
      });
}

OP_ROW(dot) {
  Cases cases;
  for (const Shape& shape : std::vector<Shape>{{}, {6}, {3, 4}, {0}, {2, 1, 3}}) {
    cases.push_back(two(
        shape.to_string(), uniform(rng, shape), uniform(rng, shape),
        [](const Tensor& a, const Tensor& b) { return square(dot(a, b)); },
        [](const Tensor& a, const Tensor& b) { return square(sum(a * b)); }));
  }
  cases.push_back(two(
      "one tensor twice", uniform(rng, {5}), uniform(rng, {5}),
      [](const Tensor& a, const Tensor&) { return dot(a, a); },
      [](const Tensor& a, const Tensor&) { return sum(square(a)); }));
  cases.push_back(large(two("[90000]", uniform(rng, {90000}, 0, 1), uniform(rng, {90000}, 0, 1),
                            [](const Tensor& a, const Tensor& b) { return dot(a, b); })));
  return cases;
}

namespace {

// op(a) op(b) as a sum over a broadcast product.
Tensor slow_matmul(const Tensor& a, const Tensor& b, bool trans_a, bool trans_b) {
  const Tensor p = trans_a ? transpose(a) : a, q = trans_b ? b : transpose(b);
  Shape left = p.shape(), right = q.shape();
  Shape wide_left, wide_right;
  for (int i = 0; i < left.rank(); ++i) {
    wide_left.push_back(left[i]);
    if (i == left.rank() - 2) wide_left.push_back(1);
  }
  for (int i = 0; i < right.rank(); ++i) {
    if (i == right.rank() - 2) wide_right.push_back(1);
    wide_right.push_back(right[i]);
  }
  return sum(reshape(p, wide_left) * reshape(q, wide_right), -1);
}

}  // namespace

OP_ROW(matmul) {
  Cases cases;
  struct Sizes {
    Shape batch_a, batch_b;
    int64_t m, k, n;
  };
  for (const Sizes& s : std::vector<Sizes>{{{}, {}, 3, 4, 5},
                                           {{}, {}, 1, 4, 1},
                                           {{}, {}, 3, 1, 2},
                                           {{2}, {2}, 3, 4, 2},
                                           {{2}, {}, 3, 4, 2},
                                           {{}, {2}, 3, 4, 2},
                                           {{2, 3}, {2, 3}, 2, 3, 2},
                                           {{1}, {1}, 2, 3, 2},
                                           {{2, 3}, {}, 2, 3, 2},
                                           {{}, {}, 0, 3, 2},
                                           {{}, {}, 3, 0, 2},
                                           {{0}, {0}, 2, 3, 2}}) {
    for (int trans = 0; trans < 4; ++trans) {
      const bool ta = trans & 1, tb = trans & 2;
      Shape a = s.batch_a, b = s.batch_b;
      for (int64_t d : {ta ? s.k : s.m, ta ? s.m : s.k}) a.push_back(d);
      for (int64_t d : {tb ? s.n : s.k, tb ? s.k : s.n}) b.push_back(d);
      cases.push_back(two(
          str(a, " x ", b, ta ? ", a transposed" : "", tb ? ", b transposed" : ""), uniform(rng, a),
          uniform(rng, b),
          [=](const Tensor& p, const Tensor& q) { return square(matmul(p, q, ta, tb)); },
          [=](const Tensor& p, const Tensor& q) { return square(slow_matmul(p, q, ta, tb)); }));
    }
  }
  cases.push_back(expect(two("value", Tensor::from(std::vector<double>{1, 2, 3, 4}, {2, 2}),
                             Tensor::from(std::vector<double>{5, 6, 7, 8}, {2, 2}),
                             [](const Tensor& a, const Tensor& b) { return matmul(a, b); }),
                         {19, 22, 43, 50}));
  const auto plain = [](const Tensor& a, const Tensor& b) { return matmul(a, b); };
  cases.push_back(large(two("tall", uniform(rng, {2000, 33}), uniform(rng, {33, 20}), plain)));
  cases.push_back(large(two("deep", uniform(rng, {20, 9000}), uniform(rng, {9000, 33}), plain)));
  cases.push_back(large(two("batch", uniform(rng, {9, 60, 50}), uniform(rng, {9, 50, 60}), plain)));
  return cases;
}

OP_ROW(matmul_add) {
  Cases cases;
  struct Sizes {
    Shape batch_a, batch_b;
    int64_t m, k, n;
    bool row;  // the addend
  };
  for (const Sizes& s : std::vector<Sizes>{{{}, {}, 3, 4, 5, true},
                                           {{}, {}, 3, 4, 5, false},
                                           {{}, {}, 1, 4, 2, true},
                                           {{2}, {2}, 3, 4, 2, true},
                                           {{2}, {}, 3, 4, 2, false},
                                           {{}, {2}, 3, 4, 2, false},
                                           {{9}, {9}, 2, 3, 2, false},
                                           {{}, {}, 0, 3, 2, true},
                                           {{}, {}, 3, 0, 2, false}}) {
    for (int trans = 0; trans < 4; ++trans) {
      const bool ta = trans & 1, tb = trans & 2;
      Shape a = s.batch_a, b = s.batch_b;
      for (int64_t d : {ta ? s.k : s.m, ta ? s.m : s.k}) a.push_back(d);
      for (int64_t d : {tb ? s.n : s.k, tb ? s.k : s.n}) b.push_back(d);
      Shape addend = s.row ? Shape{} : s.batch_a.rank() > 0 ? s.batch_a : s.batch_b;
      if (!s.row) addend.push_back(s.m);
      addend.push_back(s.n);
      cases.push_back(several(
          str(a, " x ", b, " + ", addend, ta ? ", a transposed" : "", tb ? ", b transposed" : ""),
          {uniform(rng, a), uniform(rng, b), uniform(rng, addend)},
          [=](const Tensors& x) -> Tensors {
            return {square(matmul_add(x[0], x[1], x[2], ta, tb))};
          },
          [=](const Tensors& x) -> Tensors {
            return {square(matmul(x[0], x[1], ta, tb) + x[2])};
          }));
    }
  }
  const auto plain = [](const Tensors& x) -> Tensors { return {matmul_add(x[0], x[1], x[2])}; };
  cases.push_back(large(several(
      "tall", {uniform(rng, {2000, 33}), uniform(rng, {33, 20}), uniform(rng, {20})}, plain)));
  cases.push_back(large(
      several("deep", {uniform(rng, {20, 9000}), uniform(rng, {9000, 33}), uniform(rng, {20, 33})},
              plain)));
  return cases;
}

OP_ROW(linear) {
  Cases cases;
  for (const Shape& shape : std::vector<Shape>{{5, 3}, {3}, {2, 4, 3}, {1, 3}, {0, 3}}) {
    for (bool with_bias : {true, false}) {
      Case c;
      c.label = str(shape, with_bias ? "" : ", no bias");
      c.x = {uniform(rng, shape), uniform(rng, {4, 3})};
      if (with_bias) c.x.push_back(uniform(rng, {4}));
      c.f = [](const Tensors& x) -> Tensors {
        return {square(linear(x[0], x[1], x.size() > 2 ? x[2] : Tensor()))};
      };
      c.reference = [](const Tensors& x) -> Tensors {
        const int64_t in = x[0].size(-1);
        Shape out = x[0].shape();
        out.set(-1, x[1].size(0));
        const Tensor rows = reshape(x[0], {x[0].numel() / in, in});
        const Tensor y = matmul(rows, x[1], false, true);
        return {square(reshape(x.size() > 2 ? y + x[2] : y, out))};
      };
      cases.push_back(std::move(c));
    }
  }
  Case c;
  c.label = "rows";
  c.x = {uniform(rng, {9000, 33}), uniform(rng, {20, 33}), uniform(rng, {20})};
  c.f = [](const Tensors& x) -> Tensors { return {linear(x[0], x[1], x[2])}; };
  cases.push_back(large(c));
  return cases;
}

OP_ROW(linear_relu) {
  // Products are smaller than the biases, so that no result is near the kink.
  const auto biases = [](int64_t n) {
    std::vector<double> b;
    for (int64_t i = 0; i < n; ++i) b.push_back(i % 2 == 0 ? 1 : -0.9);
    return Tensor::from(b, {n});
  };
  const auto make = [&](const std::string& label, const Shape& x, int64_t out, double most) {
    const Shape w{out, x[-1]};
    return several(
        label, {uniform(rng, x, -most, most), uniform(rng, w), biases(out)},
        [](const Tensors& t) -> Tensors { return {square(linear_relu(t[0], t[1], t[2]))}; },
        [](const Tensors& t) -> Tensors { return {square(relu(linear(t[0], t[1], t[2])))}; });
  };
  Cases cases;
  for (const Shape& shape : std::vector<Shape>{{5, 3}, {3}, {2, 4, 3}, {1, 3}, {0, 3}, {5, 0}}) {
    cases.push_back(make(str(shape), shape, 4, 0.2));
  }
  cases.push_back(large(make("rows", {9000, 33}, 20, 0.02)));
  cases.push_back(large(make("deep", {20, 9000}, 33, 5e-5)));
  return cases;
}
