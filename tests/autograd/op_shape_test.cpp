// Rows of the op table: shape ops and reductions.
#include <cmath>

#include "basin/tests/autograd/op_table.h"

using namespace basin;
using namespace basin::table;

OP_ROW(reshape) {
  Cases cases;
  const std::vector<std::pair<Shape, Shape>> shapes{
      {{3, 4}, {12}}, {{12}, {2, 1, 6}}, {{1}, {}}, {{}, {1, 1}}, {{2, 0}, {0, 3}}};
  for (const auto& [from, to] : shapes) {
    Case c = one(str(from, " to ", to), uniform(rng, from),
                 [to = to](const Tensor& x) { return reshape(x, to); });
    c.values = c.x[0].to_vector<double>();
    cases.push_back(std::move(c));
  }
  // Behind a nonlinear op, so that the second order has something to carry.
  cases.push_back(one(
      "square", uniform(rng, {2, 3}),
      [](const Tensor& x) {
        return square(reshape(x, {3, 2}));
      },
      [](const Tensor& x) {
        return reshape(square(x), {3, 2});
      }));
  return cases;
}

OP_ROW(broadcast_to) {
  Cases cases;
  const std::vector<std::pair<Shape, Shape>> shapes{
      {{}, {4}},     {{1}, {5}},       {{3, 1}, {3, 4}},       {{1, 4}, {3, 4}},
      {{4}, {3, 4}}, {{4}, {4}},       {{2, 1, 3}, {2, 5, 3}}, {{1, 5, 1}, {2, 5, 3}},
      {{1}, {0}},    {{1, 3}, {0, 3}}, {{0, 1}, {0, 4}},       {{1, 1}, {3, 2, 4}}};
  for (const auto& [from, to] : shapes) {
    cases.push_back(one(
        str(from, " to ", to), uniform(rng, from),
        [to = to](const Tensor& x) { return square(broadcast_to(x, to)); },
        [to = to](const Tensor& x) {
          return square(x * like(Tensor::full(to, DType::f64, 1), x));
        }));
  }
  cases.push_back(large(one("rows", uniform(rng, {90}), [](const Tensor& x) {
    return broadcast_to(x, {1000, 90});
  })));
  return cases;
}

OP_ROW(sum_to) {
  Cases cases;
  const std::vector<std::pair<Shape, Shape>> shapes{
      {{4}, {}},     {{5}, {1}},       {{3, 4}, {3, 1}},       {{3, 4}, {1, 4}},
      {{3, 4}, {4}}, {{4}, {4}},       {{2, 5, 3}, {2, 1, 3}}, {{2, 5, 3}, {1, 5, 1}},
      {{0}, {1}},    {{0, 3}, {1, 3}}, {{0, 4}, {0, 1}},       {{3, 2, 4}, {1, 1}}};
  for (const auto& [from, to] : shapes) {
    cases.push_back(one(str(from, " to ", to), uniform(rng, from),
                        [to = to](const Tensor& x) { return square(sum_to(x, to)); }));
  }
  Case rows = one("rows, value", Tensor::from(std::vector<double>{1, 2, 3, 4, 5, 6}, {2, 3}),
                  [](const Tensor& x) { return sum_to(x, {3}); });
  rows.values = {5, 7, 9};
  cases.push_back(rows);
  cases.push_back(large(
      one("rows", uniform(rng, {1000, 90}), [](const Tensor& x) { return sum_to(x, {90}); })));
  cases.push_back(large(one("columns", uniform(rng, {1000, 90}), [](const Tensor& x) {
    return sum_to(x, {1000, 1});
  })));
  return cases;
}

OP_ROW(permute) {
  Cases cases;
  const std::vector<std::pair<Shape, std::vector<int>>> list{{{2, 3}, {1, 0}},
                                                             {{2, 3, 4}, {0, 2, 1}},
                                                             {{2, 3, 4}, {2, 0, 1}},
                                                             {{2, 3, 4}, {1, 2, 0}},
                                                             {{2, 1, 3, 2}, {3, 1, 0, 2}},
                                                             {{5}, {0}},
                                                             {{0, 3}, {1, 0}},
                                                             {{2, 3}, {-1, 0}}};
  for (const auto& [shape, axes] : list) {
    cases.push_back(one(str(shape, " first axis ", axes[0]), uniform(rng, shape),
                        [axes = axes](const Tensor& x) { return square(permute(x, axes)); }));
  }
  Case value =
      one("[2, 1, 3] to [3, 2, 1]", Tensor::from(std::vector<double>{1, 2, 3, 4, 5, 6}, {2, 1, 3}),
          [](const Tensor& x) {
            return permute(x, {2, 0, 1});
          });
  value.values = {1, 4, 2, 5, 3, 6};
  cases.push_back(value);
  cases.push_back(large(one("swap", uniform(rng, {30, 40, 80}), [](const Tensor& x) {
    return permute(x, {2, 1, 0});
  })));
  return cases;
}

OP_ROW(transpose) {
  Cases cases;
  for (const Shape& shape :
       std::vector<Shape>{{2, 3}, {1, 4}, {4, 1}, {2, 3, 4}, {0, 3}, {2, 2, 1, 3}}) {
    cases.push_back(one(shape.to_string(), uniform(rng, shape),
                        [](const Tensor& x) { return square(transpose(x)); }));
  }
  Case value = one("value", Tensor::from(std::vector<double>{1, 2, 3, 4, 5, 6}, {2, 3}),
                   [](const Tensor& x) { return transpose(x); });
  value.values = {1, 4, 2, 5, 3, 6};
  cases.push_back(value);
  cases.push_back(large(one("[2, 200, 250]", uniform(rng, {2, 200, 250}),
                            [](const Tensor& x) { return transpose(x); })));
  return cases;
}

namespace {

// concat as a sum of padded parts.
Tensor padded_sum(const Tensors& parts, int axis) {
  int64_t total = 0, before = 0;
  for (const Tensor& p : parts) total += p.size(axis);
  Tensor sum;
  for (const Tensor& p : parts) {
    const int64_t after = total - before - p.size(axis);
    const Tensor padded = pad_zeros(p, axis, before, after);
    sum = sum.defined() ? sum + padded : padded;
    before += p.size(axis);
  }
  return sum;
}

}  // namespace

OP_ROW(concat) {
  Cases cases;
  for (int axis : {0, 1, -1}) {
    Tensors parts;
    for (int64_t size : {2, 0, 1, 3}) {
      Shape shape{2, 3, 2};
      shape.set(axis, size);
      parts.push_back(uniform(rng, shape));
    }
    cases.push_back(several(
        str("axis ", axis), parts,
        [axis](const Tensors& x) -> Tensors { return {square(concat(x, axis))}; },
        [axis](const Tensors& x) -> Tensors { return {square(padded_sum(x, axis))}; }));
  }
  Case value = several("value",
                       {Tensor::from(std::vector<double>{1, 2, 3, 4}, {2, 2}),
                        Tensor::from(std::vector<double>{5, 6}, {2, 1})},
                       [](const Tensors& x) -> Tensors { return {concat(x, 1)}; });
  value.values = {1, 2, 5, 3, 4, 6};
  cases.push_back(value);
  cases.push_back(several("one part", {uniform(rng, {2, 3})},
                          [](const Tensors& x) -> Tensors { return {concat(x, 0)}; }));
  cases.push_back(
      several("one tensor twice", {uniform(rng, {2, 3})}, [](const Tensors& x) -> Tensors {
        return {square(concat({x[0], x[0]}, 0))};
      }));
  cases.push_back(large(several("columns", {uniform(rng, {700, 60}), uniform(rng, {700, 80})},
                                [](const Tensors& x) -> Tensors { return {concat(x, 1)}; })));
  return cases;
}

OP_ROW(slice) {
  Cases cases;
  struct Cut {
    Shape shape;
    int axis;
    int64_t begin, end;
  };
  for (const Cut& cut : std::vector<Cut>{{{5}, 0, 1, 4},
                                         {{5}, 0, 0, 5},
                                         {{5}, 0, 2, 2},
                                         {{4, 3}, 0, 2, 4},
                                         {{4, 3}, 1, 0, 1},
                                         {{4, 3}, -1, 1, 3},
                                         {{2, 5, 3}, 1, 1, 3},
                                         {{2, 5, 3}, -2, 4, 5},
                                         {{0, 3}, 1, 0, 2}}) {
    const auto f = [cut](const Tensor& x) {
      return square(slice(x, cut.axis, cut.begin, cut.end));
    };
    cases.push_back(one(str(cut.shape, " axis ", cut.axis, " from ", cut.begin, " to ", cut.end),
                        uniform(rng, cut.shape), f));
  }
  Case value = one("value", Tensor::from(std::vector<double>{1, 2, 3, 4, 5, 6}, {2, 3}),
                   [](const Tensor& x) { return slice(x, 1, 1, 3); });
  value.values = {2, 3, 5, 6};
  cases.push_back(value);
  cases.push_back(large(one("columns", uniform(rng, {1000, 120}),
                            [](const Tensor& x) { return slice(x, 1, 30, 90); })));
  return cases;
}

OP_ROW(split) {
  Cases cases;
  struct Cut {
    Shape shape;
    int axis;
    std::vector<int64_t> sizes;
  };
  for (const Cut& cut : std::vector<Cut>{{{5}, 0, {2, 3}},
                                         {{5}, 0, {5}},
                                         {{4, 3}, 0, {1, 0, 3}},
                                         {{4, 3}, -1, {1, 2}},
                                         {{2, 5, 3}, 1, {1, 3, 1}},
                                         {{0, 3}, 1, {1, 2}}}) {
    // Not all parts are used, and each in another way: what the gradient must not confuse.
    const auto used = [](const Tensors& parts) -> Tensors {
      return {square(parts.front()), parts.back() * 3.0};
    };
    cases.push_back(several(
        str(cut.shape, " axis ", cut.axis, ", ", cut.sizes.size(), " parts"),
        {uniform(rng, cut.shape)},
        [=](const Tensors& x) { return used(split(x[0], cut.axis, cut.sizes)); },
        [=](const Tensors& x) {
          const int64_t n = x[0].size(cut.axis);
          return used({slice(x[0], cut.axis, 0, cut.sizes.front()),
                       slice(x[0], cut.axis, n - cut.sizes.back(), n)});
        }));
  }
  return cases;
}

OP_ROW(pad_zeros) {
  Cases cases;
  struct Pad {
    Shape shape;
    int axis;
    int64_t before, after;
  };
  for (const Pad& pad : std::vector<Pad>{{{3}, 0, 1, 2},
                                         {{3}, 0, 0, 0},
                                         {{0}, 0, 1, 1},
                                         {{2, 3}, 0, 2, 0},
                                         {{2, 3}, 1, 0, 1},
                                         {{2, 3}, -1, 1, 1},
                                         {{2, 2, 3}, 1, 1, 2},
                                         {{0, 3}, 1, 0, 2}}) {
    const auto f = [pad](const Tensor& x) {
      return square(pad_zeros(x, pad.axis, pad.before, pad.after));
    };
    cases.push_back(one(str(pad.shape, " axis ", pad.axis, " by ", pad.before, ", ", pad.after),
                        uniform(rng, pad.shape), f));
  }
  Case value = one("value", Tensor::from(std::vector<double>{1, 2, 3, 4}, {2, 2}),
                   [](const Tensor& x) { return pad_zeros(x, 1, 1, 0); });
  value.values = {0, 1, 2, 0, 3, 4};
  cases.push_back(value);
  cases.push_back(large(one("columns", uniform(rng, {1000, 90}),
                            [](const Tensor& x) { return pad_zeros(x, 1, 30, 10); })));
  return cases;
}

OP_ROW(stack) {
  Cases cases;
  for (const Shape& shape : std::vector<Shape>{{}, {3}, {2, 1, 3}, {0, 2}}) {
    cases.push_back(several(
        shape.to_string(), {uniform(rng, shape), uniform(rng, shape), uniform(rng, shape)},
        [](const Tensors& x) -> Tensors { return {square(stack(x))}; },
        [](const Tensors& x) -> Tensors {
          Shape row = x[0].shape();
          row.push_front(1);
          Tensors rows;
          for (const Tensor& t : x) rows.push_back(reshape(t, row));
          return {square(concat(rows, 0))};
        }));
  }
  Case value = several(
      "value",
      {Tensor::from(std::vector<double>{1, 2}, {2}), Tensor::from(std::vector<double>{3, 4}, {2})},
      [](const Tensors& x) -> Tensors { return {stack(x)}; });
  value.values = {1, 2, 3, 4};
  cases.push_back(value);
  return cases;
}
