// The dense Hessian of a tiny classifier (f64, fewer than 300 parameters), three ways:
//   columns of linearize(grad(loss)), forward over reverse, against its transpose, reverse over
//   reverse, to 1e-10 of the largest entry; nested grad the same; central differences loosely.
#pragma once
#include <doctest/doctest.h>

#include "basin/tests/models/pointnet_fixture.h"

namespace basin::testing {

using Matrix = std::vector<std::vector<double>>;  // by column

inline std::vector<double> flatten(const Tensors& parts) {
  std::vector<double> out;
  for (const Tensor& t : parts) {
    const std::vector<double> v = t.to_vector<double>();
    out.insert(out.end(), v.begin(), v.end());
  }
  return out;
}

inline Tensors unflatten(const std::vector<double>& values, const Tensors& like) {
  Tensors out;
  auto next = values.begin();
  for (const Tensor& t : like) {
    out.push_back(Tensor::from(std::vector<double>(next, next + t.numel()), t.shape()));
    next += t.numel();
  }
  return out;
}

inline Tensors unit(size_t j, const Tensors& like, size_t n) {
  std::vector<double> e(n, 0.0);
  e[j] = 1;
  return unflatten(e, like);
}

inline Matrix forward_over_reverse(const LinearMap& h, const Tensors& params, size_t n) {
  Matrix columns;
  for (size_t j = 0; j < n; ++j) columns.push_back(flatten(h(unit(j, params, n))));
  return columns;
}

// Row j as the gradient of the function p -> (grad loss (p))_j, recorded afresh.
inline std::vector<double> gradient_of_gradient(const Fn& loss, const Tensors& params, size_t j,
                                                size_t n) {
  const Tensors e = unit(j, params, n);
  const Fn component = [&](const Tensors& p) {
    const Tensors g = grad(loss)(p);
    Tensor total = dot(g[0], e[0]);
    for (size_t i = 1; i < g.size(); ++i) total = total + dot(g[i], e[i]);
    return Tensors{total};
  };
  return flatten(grad(component)(params));
}

inline std::vector<double> central_difference(const Fn& loss, const Tensors& params, size_t j,
                                              double step) {
  std::vector<double> up = flatten(params), down = up;
  up[j] += step;
  down[j] -= step;
  std::vector<double> column = flatten(grad(loss)(unflatten(up, params)));
  const std::vector<double> low = flatten(grad(loss)(unflatten(down, params)));
  for (size_t i = 0; i < column.size(); ++i) column[i] = (column[i] - low[i]) / (2 * step);
  return column;
}

inline double largest(const Matrix& a) {
  double m = 0;
  for (const auto& column : a) {
    for (double v : column) m = std::max(m, std::abs(v));
  }
  return m;
}

inline double gap(const std::vector<double>& a, const std::vector<double>& b) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(a[i] - b[i]);
    worst = std::isnan(d) ? INFINITY : std::max(worst, d);
  }
  return worst;
}

inline double asymmetry(const Matrix& a) {
  double worst = 0;
  for (size_t j = 0; j < a.size(); ++j) {
    for (size_t i = 0; i < j; ++i) worst = std::max(worst, std::abs(a[j][i] - a[i][j]));
  }
  return worst;
}

inline size_t nonzero_columns(const Matrix& a) {
  return static_cast<size_t>(std::count_if(a.begin(), a.end(), [](const auto& column) {
    return std::any_of(column.begin(), column.end(), [](double v) { return std::abs(v) > 1e-9; });
  }));
}

// Every column forwards; every `stride`-th also backwards and by differences, every 16 strides by
// nesting grad.
inline void check_hessian(const Model& model, const ForwardOptions& options, size_t stride) {
  const ModelState state = generic_state(model, 31);
  const Tensors params = state.params.values();
  const size_t n = static_cast<size_t>(model.layout.total_elements());
  REQUIRE(n < 300);
  const Tensor points = random_clouds(8, 9, 12);
  const Tensor labels = Tensor::from(std::vector<int64_t>{0, 1, 1, 0, 1, 0, 0, 1}, {8});
  const Fn loss = classification_loss(model, state.buffers.values(), points, labels, options, 0.2);

  const LinearMap h = linearize(grad(loss), params);
  const Matrix columns = forward_over_reverse(h, params, n);
  const double size = largest(columns);
  CHECK(size > 1e-2);
  CAPTURE(nonzero_columns(columns));
  CHECK(nonzero_columns(columns) > n / 3);  // the network is alive
  CHECK(asymmetry(columns) < 1e-10 * size);
  double reverse_gap = 0, nested_gap = 0, difference_gap = 0;
  for (size_t j = 0; j < n; j += stride) {
    const std::vector<double> row = flatten(h.transpose(unit(j, params, n)));
    reverse_gap = std::max(reverse_gap, gap(row, columns[j]));
    difference_gap =
        std::max(difference_gap, gap(central_difference(loss, params, j, 1e-6), columns[j]));
    if (j % (16 * stride) == 0) {
      nested_gap = std::max(nested_gap, gap(gradient_of_gradient(loss, params, j, n), columns[j]));
    }
  }
  CHECK(reverse_gap < 1e-10 * size);
  CHECK(nested_gap < 1e-10 * size);
  CHECK(difference_gap < 1e-5 * size);
}

}  // namespace basin::testing
