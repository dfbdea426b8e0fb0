// Rows of the op table: indexed ops. References are products with 0/1 matrices. Random indices
// repeat, leave rows out and come unsorted; -1 and empty segments are among them where they are
// allowed.
#include <cmath>
#include <numeric>

#include "basin/tests/autograd/op_table.h"

using namespace basin;
using namespace basin::table;

namespace {

// [E, N] with a one at (e, index[e]).
Tensor choice_matrix(const Tensor& index, int64_t rows) {
  std::vector<double> m(index.numel() * rows, 0.0);
  for (int64_t e = 0; e < index.numel(); ++e) m[e * rows + static_cast<int64_t>(index.at(e))] = 1;
  return Tensor::from(m, {index.numel(), rows});
}

// [S, E] with ones where row e is in segment s.
Tensor segment_matrix(const Tensor& offsets) {
  const int64_t segments = offsets.numel() - 1;
  const auto rows = static_cast<int64_t>(offsets.at(segments));
  std::vector<double> m(segments * rows, 0.0);
  for (int64_t s = 0; s < segments; ++s) {
    for (auto e = static_cast<int64_t>(offsets.at(s)); e < offsets.at(s + 1); ++e)
      m[s * rows + e] = 1;
  }
  return Tensor::from(m, {segments, rows});
}

// m [R, N] times the rows of x [N, ...].
Tensor times_rows(const Tensor& m, const Tensor& x) {
  Shape out = x.shape();
  out.set(0, m.size(0));
  const int64_t width = x.shape().without_first().numel();
  return reshape(matmul(like(m, x), reshape(x, {x.size(0), width})), out);
}

struct Gathering {
  Shape x;
  int64_t edges;
};

std::vector<Gathering> gatherings() {
  return {{{5}, 7},    {{5, 3}, 8}, {{1, 2}, 4}, {{4, 2, 3}, 6},
          {{6, 1}, 3}, {{3, 2}, 0}, {{2, 0}, 3}};
}

const std::vector<std::vector<int32_t>> kOffsets{
    {0, 2, 3, 7}, {0, 0, 2, 2, 5, 5}, {0, 4}, {0, 0, 0}, {0, 1, 2, 3}};

// One case per offset list and row shape; `per_segment`: x has one row per segment.
Cases segments(Rng& rng, const Binary& f, const Generator& generate, bool per_segment,
               const Binary& reference) {
  Cases cases;
  for (const std::vector<int32_t>& list : kOffsets) {
    for (const Shape& row : std::vector<Shape>{{}, {3}, {2, 2}}) {
      const Tensor offsets = int32s(list);
      Shape shape = row;
      shape.push_front(per_segment ? offsets.numel() - 1 : list.back());
      const auto with = [offsets](const Binary& g) -> Unary {
        return [g, offsets](const Tensor& x) { return square(g(x, like(offsets, x))); };
      };
      cases.push_back(one(str(shape, ", ", list.size() - 1, " segments ending at ", list.back()),
                          generate(rng, shape), with(f), with(reference)));
    }
  }
  std::vector<int32_t> list{0};
  while (list.size() <= 9000) list.push_back(list.back() + static_cast<int32_t>(rng.below(8)));
  const Tensor offsets = int32s(list);
  const Shape shape{per_segment ? offsets.numel() - 1 : list.back(), 9};
  cases.push_back(large(one("9000 segments", generate(rng, shape),
                            [f, offsets](const Tensor& x) { return f(x, like(offsets, x)); })));
  return cases;
}

Tensor any(Rng& rng, const Shape& shape) { return uniform(rng, shape); }

}  // namespace

OP_ROW(gather) {
  Cases cases;
  for (const Gathering& g : gatherings()) {
    const Tensor index = indices(rng, {g.edges}, 0, g.x[0]);
    const Tensor m = choice_matrix(index, g.x[0]);
    cases.push_back(one(
        str(g.x, ", ", g.edges, " edges"), uniform(rng, g.x),
        [=](const Tensor& x) { return square(gather(x, like(index, x))); },
        [=](const Tensor& x) { return square(times_rows(m, x)); }));
  }
  const Tensor index = indices(rng, {12000}, 0, 9000);
  cases.push_back(large(one("12000 edges", uniform(rng, {9000, 9}),
                            [=](const Tensor& x) { return gather(x, like(index, x)); })));
  return cases;
}

OP_ROW(scatter_sum) {
  Cases cases;
  for (const Gathering& g : gatherings()) {
    const Tensor index = indices(rng, {g.edges}, 0, g.x[0]);
    const Tensor m = choice_matrix(index, g.x[0]);
    Shape shape = g.x;
    shape.set(0, g.edges);
    const int64_t rows = g.x[0];
    cases.push_back(one(
        str(shape, " into ", rows, " rows"), uniform(rng, shape),
        [=](const Tensor& x) { return square(scatter_sum(x, like(index, x), rows)); },
        [=](const Tensor& x) { return square(times_rows(transpose(m), x)); }));
  }
  const Tensor index = indices(rng, {12000}, 0, 9000);
  cases.push_back(large(one("12000 edges", uniform(rng, {12000, 9}), [=](const Tensor& x) {
    return scatter_sum(x, like(index, x), 9000);
  })));
  return cases;
}

OP_ROW(segment_sum) {
  return segments(
      rng, [](const Tensor& x, const Tensor& o) { return segment_sum(x, o); }, any, false,
      [](const Tensor& x, const Tensor& o) { return times_rows(segment_matrix(o), x); });
}

OP_ROW(segment_mean) {
  return segments(
      rng, [](const Tensor& x, const Tensor& o) { return segment_mean(x, o); }, any, false,
      [](const Tensor& x, const Tensor& o) {
        const Tensor ones = segment_matrix(o);
        std::vector<double> m = ones.to_vector<double>();
        const int64_t rows = ones.size(1);
        for (int64_t s = 0; s < ones.size(0); ++s) {
          const double count = o.at(s + 1) - o.at(s);
          for (int64_t e = 0; e < rows; ++e) m[s * rows + e] /= std::max(count, 1.0);
        }
        return times_rows(Tensor::from(m, ones.shape()), x);
      });
}

OP_ROW(segment_max) {
  return segments(
      rng, [](const Tensor& x, const Tensor& o) { return segment_max(x, o); }, distinct, false,
      [](const Tensor& x, const Tensor& o) {
        Tensors rows;
        Shape row = x.shape();
        row.set(0, 1);
        for (int64_t s = 0; s + 1 < o.numel(); ++s) {
          const auto begin = static_cast<int64_t>(o.at(s)), end = static_cast<int64_t>(o.at(s + 1));
          rows.push_back(begin == end ? Tensor::zeros(row, x.dtype())
                                      : max(slice(x, 0, begin, end), 0, true));
        }
        return concat(rows, 0);
      });
}

OP_ROW(segment_expand) {
  return segments(
      rng, [](const Tensor& x, const Tensor& o) { return segment_expand(x, o); }, any, true,
      [](const Tensor& x, const Tensor& o) { return times_rows(transpose(segment_matrix(o)), x); });
}

namespace {

struct Along {
  Shape shape;
  int axis;
  int64_t picks;
};

std::vector<Along> alongs() {
  return {{{5}, 0, 3},        {{4, 3}, 0, 6},    {{4, 3}, 1, 2},    {{2, 5, 3}, 1, 1},
          {{2, 5, 3}, -1, 4}, {{2, 5, 3}, 0, 2}, {{3, 1, 2}, 1, 2}, {{2, 4}, 1, 0}};
}

// Rank-3 view [outer, axis, inner] of a shape around an axis.
Shape outer_axis_inner(const Shape& shape, int axis) {
  axis = shape.normalise(axis);
  Shape view{1, shape[axis], 1};
  for (int i = 0; i < shape.rank(); ++i) {
    if (i < axis) view.set(0, view[0] * shape[i]);
    if (i > axis) view.set(2, view[2] * shape[i]);
  }
  return view;
}

// M [outer inner, picks, size] with M[(o, i), j, index[o, j, i]] = 1; -1 leaves the row empty.
Tensor along_matrix(const Tensor& index, int axis, int64_t size) {
  const Shape v = outer_axis_inner(index.shape(), axis);
  std::vector<double> m(v.numel() * size, 0.0);
  for (int64_t o = 0; o < v[0]; ++o) {
    for (int64_t j = 0; j < v[1]; ++j) {
      for (int64_t i = 0; i < v[2]; ++i) {
        const auto at = static_cast<int64_t>(index.at((o * v[1] + j) * v[2] + i));
        if (at >= 0) m[((o * v[2] + i) * v[1] + j) * size + at] = 1;
      }
    }
  }
  return Tensor::from(m, {v[0] * v[2], v[1], size});
}

// M or its transpose on the columns of x along `axis`.
Tensor times_along(const Tensor& m, const Tensor& x, int axis, bool transposed) {
  const Shape v = outer_axis_inner(x.shape(), axis);
  Shape out = x.shape();
  out.set(axis, transposed ? m.size(2) : m.size(1));
  const Tensor columns = reshape(permute(reshape(x, v), {0, 2, 1}), {v[0] * v[2], v[1], 1});
  const Tensor y = matmul(like(m, x), columns, transposed);
  return reshape(permute(reshape(y, {v[0], v[2], y.size(1)}), {0, 2, 1}), out);
}

}  // namespace

OP_ROW(take_along) {
  Cases cases;
  for (const Along& a : alongs()) {
    Shape picked = a.shape;
    picked.set(a.axis, a.picks);
    const Tensor index = indices(rng, picked, -1, a.shape[a.axis]);
    const Tensor m = along_matrix(index, a.axis, a.shape[a.axis]);
    cases.push_back(one(
        str(a.shape, " axis ", a.axis, ", ", a.picks, " picks"), uniform(rng, a.shape),
        [=](const Tensor& x) { return square(take_along(x, like(index, x), a.axis)); },
        [=](const Tensor& x) { return square(times_along(m, x, a.axis, false)); }));
  }
  const Tensor index = indices(rng, {60, 50, 30}, -1, 20);
  cases.push_back(large(one("[60, 20, 30]", uniform(rng, {60, 20, 30}),
                            [=](const Tensor& x) { return take_along(x, like(index, x), 1); })));
  return cases;
}

OP_ROW(put_along) {
  Cases cases;
  for (const Along& a : alongs()) {
    Shape picked = a.shape;
    picked.set(a.axis, a.picks);
    const int64_t size = a.shape[a.axis];
    const Tensor index = indices(rng, picked, -1, size);
    const Tensor m = along_matrix(index, a.axis, size);
    cases.push_back(one(
        str(picked, " axis ", a.axis, " into ", size), uniform(rng, picked),
        [=](const Tensor& x) { return square(put_along(x, like(index, x), a.axis, size)); },
        [=](const Tensor& x) { return square(times_along(m, x, a.axis, true)); }));
  }
  const Tensor index = indices(rng, {60, 50, 30}, -1, 20);
  cases.push_back(large(one("[60, 50, 30]", uniform(rng, {60, 50, 30}),
                            [=](const Tensor& x) { return put_along(x, like(index, x), 1, 20); })));
  return cases;
}

OP_ROW(argmax) {
  Cases cases;
  struct Cut {
    Shape shape;
    int axis;
    bool keep;
  };
  for (const Cut& c : std::vector<Cut>{
           {{5}, 0, false}, {{3, 4}, 0, true}, {{3, 4}, -1, false}, {{2, 5, 3}, 1, false}}) {
    Case k = one(str(c.shape, " axis ", c.axis), distinct(rng, c.shape),
                 [c](const Tensor& x) { return argmax(x, c.axis, c.keep); });
    k.order = 0;
    cases.push_back(std::move(k));
  }
  cases[0].x[0] = Tensor::from(std::vector<double>{1, 3, 2, 3, 0}, {5});
  cases[0].values = {1};
  Case wide = large(
      one("[400, 300]", distinct(rng, {400, 300}), [](const Tensor& x) { return argmax(x, 1); }));
  wide.order = 0;
  cases.push_back(std::move(wide));
  return cases;
}

OP_ROW(one_hot) {
  // A constant that multiplies an argument: the derivative sees it and passes it by.
  Cases cases;
  const Tensor labels = int64s({2, 0, 2, 1});
  Case c = one("4 labels, 3 classes", Tensor::full({4, 3}, DType::f64, 1),
               [labels](const Tensor& x) { return x * one_hot(like(labels, x), 3, x.dtype()); });
  c.values = {0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 1, 0};
  cases.push_back(c);
  return cases;
}

OP_ROW(knn) {
  Cases cases;
  struct Cloud {
    Shape shape;
    int64_t k;
    bool self;
  };
  for (const Cloud& c : std::vector<Cloud>{{{1, 1, 3}, 1, true},
                                           {{2, 9, 3}, 4, false},
                                           {{2, 9, 3}, 9, true},
                                           {{1, 8, 12}, 3, true}}) {
    Case k = one(str(c.shape, " k ", c.k), distinct(rng, c.shape),
                 [c](const Tensor& x) { return knn(x, c.k, c.self); });
    k.order = 0;
    cases.push_back(std::move(k));
  }
  Case line = one("on a line", Tensor::from(std::vector<double>{0, 3, 1, 1}, {1, 4, 1}),
                  [](const Tensor& x) { return knn(x, 2, false); });
  line.order = 0;
  line.values = {2, 3, 2, 3, 3, 0, 2, 0};
  cases.push_back(std::move(line));
  Case wide = large(one("[3, 300, 20]", uniform(rng, {3, 300, 20}),
                        [](const Tensor& x) { return knn(x, 16, true); }));
  wide.order = 0;
  cases.push_back(std::move(wide));
  return cases;
}
