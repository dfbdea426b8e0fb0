// See fractional_ball.h.
#include "basin/analysis/pde/fractional_ball.h"

#include <cmath>
#include <numbers>

#include "basin/analysis/pde/fractional.h"
#include "basin/analysis/pde/quadrature.h"

namespace basin {
namespace {

using std::numbers::pi;

constexpr int64_t kMostElements = int64_t{1} << 27;

// w_k of (D_left + D_right) u(x) = sum_k w_|k| u(x + k h), up to `reach`.
std::vector<double> line_weights(double alpha, double h, int64_t reach) {
  const std::vector<double> g = grunwald_weights(alpha, reach + 2);
  const double shifted = alpha / 2, plain = 1 - shifted, scale = std::pow(h, -alpha);
  std::vector<double> w;
  for (size_t k = 0; k <= static_cast<size_t>(reach); ++k) {
    w.push_back(scale * (shifted * g[k + 1] + plain * g[k]));
  }
  // At the place itself both derivatives meet; with the shift each looks one step ahead.
  w[0] *= 2;
  if (reach > 0) w[1] += scale * shifted * g[0];
  return w;
}

double squared_length(const double* x, int64_t d) {
  double sum = 0;
  for (int64_t j = 0; j < d; ++j) sum += x[j] * x[j];
  return sum;
}

}  // namespace

LineRule line_rule(int d, int64_t n) {
  check(d >= 1 && d <= 3, "line_rule: expects 1, 2 or 3 dimensions, got ", d);
  check(n >= 1 && n <= 300, "line_rule: expects 1 to 300 angles, got ", n);
  const auto angles = static_cast<double>(n);
  std::vector<double> directions, shares;
  if (d == 1) {
    directions = {1};
    shares = {1};
  } else if (d == 2) {
    for (int64_t i = 0; i < n; ++i) {
      const double angle = pi * static_cast<double>(i) / angles;
      directions.insert(directions.end(), {std::cos(angle), std::sin(angle)});
      shares.push_back(pi / angles);
    }
  } else {
    const GaussRule heights = gauss_legendre(n);
    for (size_t k = 0; k < heights.nodes.size(); ++k) {
      const double z = heights.nodes[k], rho = std::sqrt(1 - z * z);
      for (int64_t i = 0; i < n; ++i) {
        const double angle = pi * static_cast<double>(i) / angles;
        directions.insert(directions.end(), {rho * std::cos(angle), rho * std::sin(angle), z});
        shares.push_back(2 * pi * heights.weights[k] / angles);
      }
    }
  }
  return {Tensor::from(directions, {std::ssize(shares), d}), std::move(shares)};
}

BallLaplacian ball_laplacian(double alpha, const Tensor& x, double step, const LineRule& lines) {
  const int64_t d = lines.directions.size(1);
  check(x.defined() && x.rank() == 2 && x.size(0) > 0 && x.size(1) == d && x.dtype() == DType::f64,
        "ball_laplacian: expects places [n, ", d, "] f64, got ", x);
  check(step > 1e-6 && step <= 1, "ball_laplacian: expects a step of 1e-6 to 1, got ", step);
  const double constant = directional_constant(alpha, static_cast<int>(d));
  const auto reach = static_cast<int64_t>(2 / step) + 1;
  const std::vector<double> w = line_weights(alpha, step, reach);
  const int64_t n = x.size(0);
  std::vector<double> points = x.to_vector<double>(), values;
  std::vector<int64_t> ends;  // of the values of every place
  double centre = 0;
  for (const double share : lines.shares) centre += constant * share * w[0];
  double at[3];
  for (int64_t i = 0; i < n; ++i) {
    const double* place = x.data<double>() + i * d;
    check(squared_length(place, d) < 1, "ball_laplacian: place ", i, " is not within the ball");
    for (size_t l = 0; l < lines.shares.size(); ++l) {
      const double* direction = lines.directions.data<double>() + static_cast<int64_t>(l) * d;
      for (const double sense : {1.0, -1.0}) {
        for (int64_t k = 1; k <= reach; ++k) {
          const double along = sense * step * static_cast<double>(k);
          for (int64_t j = 0; j < d; ++j) at[j] = place[j] + along * direction[j];
          if (squared_length(at, d) >= 1) break;  // a line leaves a ball once
          points.insert(points.end(), at, at + d);
          values.push_back(constant * lines.shares[l] * w[static_cast<size_t>(k)]);
        }
      }
    }
    ends.push_back(std::ssize(values));
    check(n * (n + ends.back()) <= kMostElements, "ball_laplacian: a matrix of more than ",
          kMostElements, " elements; take fewer places, lines or steps");
  }
  const int64_t columns = n + std::ssize(values);
  Tensor matrix = Tensor::zeros({n, columns}, DType::f64);
  for (int64_t i = 0; i < n; ++i) {
    double* row = matrix.mutable_data<double>() + i * columns;
    row[i] = centre;
    const int64_t first = i == 0 ? 0 : ends[static_cast<size_t>(i - 1)];
    for (int64_t k = first; k < ends[static_cast<size_t>(i)]; ++k) {
      row[n + k] = values[static_cast<size_t>(k)];
    }
  }
  return {Tensor::from(points, {columns, d}), matrix};
}

}  // namespace basin
