// (-Lap)^(a/2) u = f in the unit disk or ball, u = 0 outside, by a physics-informed network (fPINN:
// Pang, Lu, Karniadakis 2019). The operator is a matrix on the network's values at the places and
// along lines through them (analysis/pde/fractional_ball.h), so that a residual is one product, and
//   u = (1 - |x|^2)_+ N
// holds the condition outside exactly. The solution is (1 - |x|^2)_+^(1 + a/2) (Dyda 2012).
#include <cmath>

#include "basin/analysis/pde/fractional_ball.h"
#include "basin/analysis/pde/fractional_solutions.h"
#include "basin/analysis/pde/sampling.h"
#include "basin/autograd/ops.h"
#include "basin/train/pde.h"
#include "basin/train/tasks/detail/operator_data.h"
#include "basin/train/tasks/tasks.h"

namespace basin {
namespace {

double radius(const Tensor& x, int64_t i) {
  double sum = 0;
  for (int64_t j = 0; j < x.size(1); ++j) sum += x.at(i * x.size(1) + j) * x.at(i * x.size(1) + j);
  return std::sqrt(sum);
}

Tensor of_radius(const std::function<double(double)>& f, const Tensor& x) {
  std::vector<double> out;
  for (int64_t i = 0; i < x.size(0); ++i) out.push_back(f(radius(x, i)));
  return Tensor::from(out, {x.size(0), 1});
}

// n uniform places at least `margin` within the ball: the first such of a sequence in the cube.
Tensor within_ball(int64_t n, int64_t d, double margin, uint64_t seed) {
  const std::vector<double> low(static_cast<size_t>(d), -1.0), high(static_cast<size_t>(d), 1.0);
  std::vector<double> inside;
  for (int64_t tried = 4 * n; std::ssize(inside) < n * d; tried *= 2) {
    inside.clear();
    const Tensor cube = uniform_points(tried, low, high, seed);
    for (int64_t i = 0; i < tried && std::ssize(inside) < n * d; ++i) {
      if (radius(cube, i) >= 1 - margin) continue;
      const double* x = cube.data<double>() + i * d;
      inside.insert(inside.end(), x, x + d);
    }
  }
  return Tensor::from(inside, {n, d});
}

Task make_fractional_ball(const TaskConfig& config, const OptionReader& options) {
  const int64_t d = options.integer_in("dimension", 2, 3);
  const double alpha = options.number_in("alpha", 0.05, 1.99),
               step = options.number_in("step", 1e-3, 0.25);
  const Tensor x = within_ball(options.integer_in("places", 4, 1 << 14), d, 2 * step, config.seed);
  const BallLaplacian laplacian = ball_laplacian(
      alpha, x, step, line_rule(static_cast<int>(d), options.integer_in("angles", 1, 300)));
  const auto exact = [=](double r) { return ball_bump_laplacian(alpha, r, static_cast<int>(d)); };
  const Tensor f = of_radius(exact, x);

  PdeProblem p;
  p.coordinates =
      d == 2 ? std::vector<std::string>{"x", "y"} : std::vector<std::string>{"x", "y", "z"};
  p.terms = {{.name = "residual",
              .orders = JetOrders(static_cast<size_t>(d), 0),
              .points = [points = laplacian.points](uint64_t, int64_t) { return points; },
              .whole = true,
              .residual =
                  [matrix = laplacian.matrix, f](const Jet& u, const Tensor&) {
                    const auto like = [&](const Tensor& constant) {
                      return constant.to(u.value.dtype()).to(u.value.device());
                    };
                    return matmul(like(matrix), u.value) - like(f);
                  }}};
  p.ansatz = [d](const Jet& s, const Jet& n) {
    const Jet squares = s * s;
    Jet inside = columns(squares, 0, 1);
    for (int64_t j = 1; j < d; ++j) inside = inside + columns(squares, j, j + 1);
    return apply(Nonlinearity::relu, shift(scale(inside, -1), 1)) * n;
  };
  const int64_t side = d == 2 ? 101 : 31;
  const Tensor axis = linspace(-1, 1, side);
  p.test_points = grid_points(std::vector<int64_t>(static_cast<size_t>(d), side),
                              std::vector<double>(static_cast<size_t>(d), -1.0),
                              std::vector<double>(static_cast<size_t>(d), 1.0));
  if (d == 2) {
    p.grid_first = p.grid_second = axis.to_vector<double>();
    p.test_points = places(axis, axis);
  }
  p.truth = of_radius([=](double r) { return ball_bump(alpha, r); }, p.test_points);
  p.source = "manufactured solution";
  p.description = str("fractional Laplacian of order ", short_text(alpha, 4), " in the unit ",
                      d == 2 ? "disk, " : "ball, ", x.size(0), " places, ",
                      laplacian.points.size(0), " points");
  return pde_task(std::move(p), config);
}

}  // namespace

void register_fractional_ball() {
  using enum OptionKind;
  TaskInfo info;
  info.name = "fractional_ball";
  info.summary = "the fractional Laplacian in the unit disk or ball by a physics-informed network";
  info.options = {
      {"dimension", "2", "2: disk, 3: ball", integer},
      {"alpha", "1.5", "order", number},
      {"places", "100", "where the residual is asked for", integer},
      {"step", "0.05", "between the points of a line", number},
      {"angles", "8", "lines through a place; in three dimensions their square", integer},
  };
  info.models = {"mlp"};
  info.recipe_rows = pde_defaults();
  info.recipe_rows.push_back({"", "", "", "model.depth", "4"});
  info.make = make_fractional_ball;
  register_task(std::move(info));
}

}  // namespace basin
