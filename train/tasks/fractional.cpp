// Equations with derivatives of fractional order, by physics-informed networks (fPINN: Pang, Lu,
// Karniadakis 2019). Such a derivative has no chain rule: it is a matrix M on the network's values
// at the nodes of a grid (analysis/pde/fractional.h), so the residual is M u - f, one product;
// derivatives of whole order come from jets.
//   fractional            problem 1  (D_0+^a + D_1-^a) u = f on [0, 1], Gruenwald-Letnikov
//                         problem 2  u_t = (D_0+^a + D_1-^a) u + f
//                         problem 3  (-Lap)^(a/2) u = f on (-1, 1)
//                         problem 4  D_t^a u = u_xx + f, Caputo's derivative by L1
//                         problem 5  D_t^a u = u_xx from sin(pi x), solved by Mittag-Leffler
//   fractional_operator   problem 5 for every start sum_k c_k sin(k pi x): a DeepONet that sees the
//                         equation alone, no solution, tested on new starts
//   Conditions hold exactly: u = (what is given) + (what vanishes there) N.
#include <cmath>

#include "basin/analysis/pde/fractional.h"
#include "basin/analysis/pde/fractional_solutions.h"
#include "basin/analysis/pde/sampling.h"
#include "basin/autograd/ops.h"
#include "basin/core/random.h"
#include "basin/train/pde.h"
#include "basin/train/tasks/detail/operator_data.h"
#include "basin/train/tasks/tasks.h"

namespace basin {
namespace {

using Function1 = std::function<double(double)>;
using Function2 = std::function<double(double, double)>;

Tensor there(const Tensor& constant, const Tensor& like) {
  return constant.to(like.dtype()).to(like.device());
}

// [n, 1] or, for places (x, t), [n, 1]
Tensor at_points(const Function1& f, const Tensor& x) {
  std::vector<double> out;
  for (int64_t i = 0; i < x.size(0); ++i) out.push_back(f(x.at(i)));
  return Tensor::from(out, {x.size(0), 1});
}
Tensor at_places(const Function2& f, const Tensor& xt) {
  std::vector<double> out;
  for (int64_t i = 0; i < xt.size(0); ++i) out.push_back(f(xt.at(2 * i), xt.at(2 * i + 1)));
  return Tensor::from(out, {xt.size(0), 1});
}

// D_left^a + D_right^a on `nodes` points of distance h.
Tensor two_sided(double alpha, int64_t nodes, double h) {
  const int shift = alpha > 1 ? 1 : 0;
  return grunwald_matrix(alpha, nodes, h, shift, Side::left) +
         grunwald_matrix(alpha, nodes, h, shift, Side::right);
}

Jet x_one_minus_x(const Jet& x) { return x * shift(scale(x, -1), 1); }
Jet bump(const Jet& x) {
  const Jet b = x_one_minus_x(x);
  return b * b * b;
}

// t^a as a factor whose derivatives in x alone are asked for.
Jet power_of_time(const Jet& t, double alpha) {
  return jet_constant(pow(t.value, alpha), t.orders);
}

// A term on the nodes of a line: M u - f within.
PdeTerm line_term(const Tensor& nodes, const Tensor& matrix, const Tensor& f) {
  const int64_t n = nodes.size(0);
  return {.name = "residual",
          .orders = {0},
          .points = [nodes](uint64_t, int64_t) { return nodes; },
          .whole = true,
          .residual =
              [matrix, f, n](const Jet& u, const Tensor&) {
                const Tensor left = matmul(there(matrix, u.value), u.value) - there(f, u.value);
                return slice(left, 0, 1, n - 1);
              }};
}

PdeProblem stationary(double alpha, int64_t nodes, bool ball) {
  PdeProblem p;
  p.coordinates = {"x"};
  const double low = ball ? -1 : 0, h = (1 - low) / static_cast<double>(nodes - 1);
  const Tensor x = linspace(low, 1, nodes).view({nodes, 1}),
               fine = linspace(low, 1, 401).view({401, 1});
  if (ball) {
    p.terms = {line_term(x, fractional_laplacian_matrix(alpha, nodes, h),
                         at_points([=](double s) { return ball_bump_laplacian(alpha, s); }, x))};
    p.ansatz = [](const Jet& s, const Jet& n) { return shift(scale(s * s, -1), 1) * n; };
    p.truth = at_points([=](double s) { return ball_bump(alpha, s); }, fine);
  } else {
    p.terms = {line_term(x, two_sided(alpha, nodes, h),
                         at_points([=](double s) { return cubic_bump_derivative(alpha, s); }, x))};
    p.ansatz = [](const Jet& s, const Jet& n) { return x_one_minus_x(s) * n; };
    p.truth = at_points(cubic_bump, fine);
  }
  p.test_points = fine;
  return p;
}

// A test grid of a problem in x and t.
void judge_on_grid(PdeProblem& p, double last_time, const Function2& truth) {
  const Tensor x = linspace(0, 1, 101), t = linspace(0, last_time, 51);
  p.coordinates = {"x", "t"};
  p.grid_first.assign(x.data<double>(), x.data<double>() + x.numel());
  p.grid_second.assign(t.data<double>(), t.data<double>() + t.numel());
  p.test_points = places(x, t);
  p.truth = at_places(truth, p.test_points);
}

// u [T X, 1], x fastest, as [T, X]; within the interval and behind the start.
Tensor on_grid(const Tensor& u, int64_t times, int64_t nodes) { return reshape(u, {times, nodes}); }
Tensor within(const Tensor& u) { return slice(slice(u, 0, 1, u.size(0)), 1, 1, u.size(1) - 1); }

// u_t = (D_left^a + D_right^a) u + f
PdeProblem diffusion_in_space(double alpha, int64_t nodes, int64_t times) {
  PdeProblem p;
  const Tensor grid = places(linspace(0, 1, nodes), linspace(0, 1, times));
  const Tensor m = two_sided(alpha, nodes, 1 / static_cast<double>(nodes - 1));
  const Tensor f =
      at_places([=](double x, double t) { return decaying_bump_source(alpha, x, t); }, grid);
  p.terms = {{.name = "residual",
              .orders = {0, 1},
              .points = [grid](uint64_t, int64_t) { return grid; },
              .whole = true,
              .residual =
                  [=](const Jet& u, const Tensor&) {
                    const auto shaped = [&](const Tensor& t) { return on_grid(t, times, nodes); };
                    const Tensor spread = matmul(shaped(u.value), there(m, u.value), false, true);
                    return within(shaped(u.d(1)) - spread - shaped(there(f, u.value)));
                  }}};
  p.ansatz = [](const Jet& s, const Jet& n) {
    const Jet x = columns(s, 0, 1), t = columns(s, 1, 2);
    return bump(x) + x_one_minus_x(x) * t * n;
  };
  judge_on_grid(p, 1, decaying_bump);
  return p;
}

// D_t^a u = u_xx + f, by L1 in whole columns of time.
PdeProblem memory_in_time(double alpha, int64_t nodes, int64_t times, bool free) {
  PdeProblem p;
  const Tensor grid = places(linspace(0, 1, nodes), linspace(0, 1, times));
  const Tensor caputo = caputo_l1(alpha, times - 1, 1 / static_cast<double>(times - 1));
  const Tensor f = at_places(
      [=](double x, double t) { return free ? 0.0 : quadratic_growth_source(alpha, x, t); }, grid);
  p.terms = {{.name = "residual",
              .orders = {2, 0},
              .points = [grid](uint64_t, int64_t) { return grid; },
              .whole = true,
              .residual =
                  [=](const Jet& u, const Tensor&) {
                    const auto shaped = [&](const Tensor& t) { return on_grid(t, times, nodes); };
                    return within(matmul(there(caputo, u.value), shaped(u.value)) -
                                  shaped(u.dd(0)) - shaped(there(f, u.value)));
                  }}};
  p.ansatz = [alpha, free](const Jet& s, const Jet& n) {
    const Jet x = columns(s, 0, 1), t = columns(s, 1, 2);
    const Jet moved = power_of_time(t, alpha) * x_one_minus_x(x) * n;
    return free ? sin(scale(x, M_PI)) + moved : moved;
  };
  judge_on_grid(p, 1, [=](double x, double t) {
    if (!free) return quadratic_growth(x, t);
    return mittag_leffler(alpha, -M_PI * M_PI * std::pow(t, alpha)) * std::sin(M_PI * x);
  });
  return p;
}

Task make_fractional(const TaskConfig& config, const OptionReader& options) {
  const int64_t problem = options.integer_in("problem", 1, 5);
  const bool in_time = problem >= 4;
  const double alpha =
      options.text("alpha") == "auto"
          ? (problem == 2 ? 1.8
             : in_time    ? 0.5
                          : 1.5)
          : options.number_in("alpha", in_time ? 0.02 : 0.05, in_time ? 0.98 : 1.99);
  const int64_t nodes = options.integer_in("nodes", 5, 1 << 12),
                times = options.integer_in("times", 3, 1 << 12);
  PdeProblem p = problem == 1   ? stationary(alpha, nodes, false)
                 : problem == 2 ? diffusion_in_space(alpha, nodes, times)
                 : problem == 3 ? stationary(alpha, nodes, true)
                                : memory_in_time(alpha, nodes, times, problem == 5);
  p.source = problem == 5 ? "Mittag-Leffler function" : "manufactured solution";
  p.description = str("fractional problem ", problem, ", order ", short_text(alpha, 4));
  return pde_task(std::move(p), config);
}

// --- the operator from the start to the solution

constexpr int64_t kModes = 4, kNodes = 33, kSensors = 32;

// c_k / k^2 of N(0, 1): functions f, f + 1 ... of the seed.
Tensor coefficients(const FieldSpan& span) {
  std::vector<double> out;
  for (int64_t i = 0; i < span.count; ++i) {
    Rng rng(span.seed, stream_id("subdiffusion", static_cast<uint64_t>(span.first + i)));
    for (int64_t k = 1; k <= kModes; ++k) {
      out.push_back(rng.normal() / static_cast<double>(k * k));
    }
  }
  return Tensor::from(out, {span.count, kModes});
}

// sin(k pi x_i), [modes, n]
Tensor sines(const Tensor& x) {
  std::vector<double> out;
  for (int64_t k = 1; k <= kModes; ++k) {
    for (int64_t i = 0; i < x.numel(); ++i) {
      out.push_back(std::sin(static_cast<double>(k) * M_PI * x.at(i)));
    }
  }
  return Tensor::from(out, {kModes, x.numel()});
}

Task make_fractional_operator(const TaskConfig& config, const OptionReader& options) {
  const double alpha = options.number_in("alpha", 0.02, 0.98);
  const int64_t times = options.integer_in("times", 3, 1 << 12), points = kNodes * times;
  const Tensor x = linspace(0, 1, kNodes), t = linspace(0, 1, times);
  const Tensor sensors = slice(linspace(0, 1, kSensors + 2), 0, 1, kSensors + 1);
  OperatorData data;
  data.points = places(x, t);
  const JetOrders orders{2, 0};
  const OperatorSpans spans = operator_spans(options);
  const auto examples = [&](const FieldSpan& span, bool known) {
    const Tensor c = coefficients(span);
    return OperatorExamples{matmul(c, sines(sensors)),
                            known ? subdiffusion(alpha, c, x, t).view({span.count, points})
                                  : Tensor::zeros({0, points}, DType::f64),
                            c};
  };
  data.train = examples(spans.train, false);
  data.test = examples(spans.test, true);
  data.description = str("subdiffusion of order ", short_text(alpha, 4), ", ", times, " times");
  // u = u_0 + b N with b = t^a x (1 - x): rows [1, P] of b, b_x, b_xx, and the sines of u_0.
  const Jet at = jet_seed(data.points, orders);
  const Jet b = power_of_time(columns(at, 1, 2), alpha) * x_one_minus_x(columns(at, 0, 1));
  const auto row = [&](const Tensor& values) { return values.view({1, points}); };
  const Tensor b0 = row(b.value), b1 = row(b.d(0)), b2 = row(b.dd(0));
  const Tensor start = sines(slice(data.points, 1, 0, 1).view({points}));
  std::vector<double> squares;
  for (int64_t k = 1; k <= kModes; ++k) {
    squares.push_back(-std::pow(static_cast<double>(k) * M_PI, 2));
  }
  const Tensor bent = start * Tensor::from(squares, {kModes, 1});  // second derivatives
  const Tensor caputo = caputo_l1(alpha, times - 1, 1 / static_cast<double>(times - 1));
  data.solution = [=](const Tensor& n, const Tensor& c) {
    return matmul(c, there(start, n)) + there(b0, n) * n;
  };
  const auto residual = [=, solution = data.solution](const Jet& n, const Tensor&,
                                                      const Tensor& c) {
    const Tensor& v = n.value;
    const int64_t count = v.size(0);
    const Tensor u_xx = matmul(c, there(bent, v)) + there(b2, v) * v +
                        scale(there(b1, v) * n.d(0), 2) + there(b0, v) * n.dd(0);
    const Tensor columns_of_time =
        reshape(permute(reshape(solution(v, c), {count, times, kNodes}), {1, 0, 2}),
                {times, count * kNodes});
    const Tensor memory = permute(
        reshape(matmul(there(caputo, v), columns_of_time), {times, count, kNodes}), {1, 0, 2});
    const Tensor left = memory - reshape(u_xx, {count, times, kNodes});
    return slice(slice(left, 1, 1, times), 2, 1, kNodes - 1);
  };
  data.terms = {{.name = "residual", .orders = orders, .residual = residual}};
  return operator_task(config, std::move(data));
}

}  // namespace

void register_fractional() {
  using enum OptionKind;
  TaskInfo equation;
  equation.name = "fractional";
  equation.summary = "equations of fractional order by a physics-informed network";
  equation.options = {
      {"problem", "1", "1 to 5: which equation, see train/tasks/fractional.cpp", integer},
      {"alpha", "auto", "order; auto: 1.5, of problem 2 1.8, of 4 and 5 0.5"},
      {"nodes", "101", "of the grid in x", integer},
      {"times", "41", "of the grid in t (problems 2, 4, 5)", integer},
  };
  equation.models = {"mlp"};
  equation.recipe_rows = pde_defaults();
  equation.recipe_rows.push_back({"", "", "", "model.depth", "4"});
  equation.make = make_fractional;
  register_task(std::move(equation));

  TaskInfo op;
  op.name = "fractional_operator";
  op.summary = "subdiffusion from any start, by a DeepONet that sees the equation alone";
  op.options = operator_options(200, 100);
  op.options.push_back({"alpha", "0.5", "order in time", number});
  op.options.push_back({"times", "41", "of the grid in t", integer});
  op.models = {"deeponet"};
  op.recipe_rows = pde_defaults();
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, std::string>>{{"batch", "50"},
                                                        {"eval_batch", "100"},
                                                        {"model.activation", "tanh"},
                                                        {"model.trunk_depth", "2"},
                                                        {"model.branch_depth", "2"}}) {
    op.recipe_rows.push_back({"", "", "", key, value});
  }
  op.make = make_fractional_operator;
  register_task(std::move(op));
}

}  // namespace basin
