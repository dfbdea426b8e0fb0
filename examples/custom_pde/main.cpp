// An equation of one's own: Allen-Cahn, u_t = eps u_xx + 5 (u - u^3) on [-1, 1], by a
// physics-informed network. Without arguments it is trained, judged and probed through the library;
// with arguments it is a training program (--help), by train_main().
//   Start: u(x, 0) = x^2 cos(pi x), u = -1 at both ends, held exactly by
//   u = x^2 cos(pi x) + t (1 - x^2) N(x, t).
//   Truth: finite differences, central in x and an implicit step of the diffusion in t.
#include <basin/basin.h>
#include <basin/tools/shell/train_main.h>

#include <cmath>
#include <cstdio>

using namespace basin;

namespace {

constexpr int kCells = 200, kTimes = 20, kSteps = 100;  // steps of time between two stored times

double start(double x) { return x * x * std::cos(M_PI * x); }

// Rows u(x_i, t_n), i = 0 .. kCells, n = 0 .. kTimes.
std::vector<double> finite_differences(double eps, double last_time) {
  const double h = 2.0 / kCells, dt = last_time / (kTimes * kSteps), r = eps * dt / (h * h);
  std::vector<double> u(kCells + 1), c(kCells + 1), out;
  for (int i = 0; i <= kCells; ++i) u[static_cast<size_t>(i)] = start(-1 + i * h);
  for (int n = 0;; ++n) {
    if (n % kSteps == 0) out.insert(out.end(), u.begin(), u.end());
    if (n == kTimes * kSteps) return out;
    for (double& v : u) v += dt * 5 * (v - v * v * v);
    u.front() = u.back() = -1;
    c[0] = 0;  // (1 + 2 r) u_i - r (u_(i-1) + u_(i+1)) = the right-hand side: Thomas
    for (size_t i = 1; i < kCells; ++i) {
      const double pivot = 1 + 2 * r + r * c[i - 1];
      c[i] = -r / pivot;
      u[i] = (u[i] + r * u[i - 1]) / pivot;
    }
    for (size_t i = kCells - 1; i > 0; --i) u[i] -= c[i] * u[i + 1];
  }
}

Task make_allen_cahn(const TaskConfig& config, const OptionReader& options) {
  const double eps = options.number_in("eps", 1e-4, 1), last_time = 0.5;
  const int64_t count = options.integer_in("domain", 1, 1 << 20);
  PdeProblem problem;
  problem.coordinates = {"x", "t"};
  problem.terms = {{.name = "residual",
                    .orders = {2, 1},
                    .points =
                        [=](uint64_t seed, int64_t draw) {
                          return latin_hypercube(count, {-1, 0}, {1, last_time},
                                                 seed + static_cast<uint64_t>(draw));
                        },
                    .residual =
                        [eps](const Jet& u, const Tensor&) {
                          const Tensor v = u.value;
                          return u.d(1) - scale(u.dd(0), eps) - scale(v - v * v * v, 5);
                        }}};
  problem.ansatz = [](const Jet& xt, const Jet& n) {
    const Jet x = columns(xt, 0, 1), t = columns(xt, 1, 2), square = x * x;
    return square * cos(scale(x, M_PI)) + t * shift(scale(square, -1), 1) * n;
  };
  const Tensor x = linspace(-1, 1, kCells + 1), t = linspace(0, last_time, kTimes + 1);
  problem.grid_first.assign(x.data<double>(), x.data<double>() + x.numel());
  problem.grid_second.assign(t.data<double>(), t.data<double>() + t.numel());
  std::vector<double> points;
  for (const double b : problem.grid_second) {
    for (const double a : problem.grid_first) points.insert(points.end(), {a, b});
  }
  const auto rows = std::ssize(points) / 2;
  problem.test_points = Tensor::from(points, {rows, 2});
  problem.truth = Tensor::from(finite_differences(eps, last_time), {rows, 1});
  problem.source = "finite differences";
  problem.description = "Allen-Cahn";
  return pde_task(std::move(problem), config);
}

}  // namespace

int main(int argc, char** argv) {
  register_task({.name = "allen_cahn",
                 .summary = "Allen-Cahn equation",
                 .options = {{"eps", "0.01", "diffusion", OptionKind::number},
                             {"domain", "1000", "points of the residual", OptionKind::integer}},
                 .models = {"mlp"},
                 .recipe_rows = pde_defaults(),
                 .make = make_allen_cahn});
  if (argc > 1) return tools::train_main({"allen_cahn"}, argc, argv);

  const Task task = make_task({.name = "allen_cahn", .model = {.name = "mlp"}});
  Trainer trainer(task, {.optimizer = {.name = "soap", .lr = 0.01},
                         .steps = 600,
                         .eval_every = {200, false},
                         .dtype = DType::f64});
  const fs::path folder = fs::temp_directory_path() / str("basin_custom_pde_", ::getpid());
  trainer.run(folder);
  const double error = trainer.test().values.front();
  const ProbeData data = probe_data(task, Split::train, 0, 0, 0);
  const CurvatureOperator hessian(
      loss_batches(task, trainer.state().buffers, data, NormStatistics::frozen, DType::f64),
      trainer.state().params);
  const double top = lanczos(hessian, {}).top.front().value;
  std::printf("relative L2 error %.4f  lambda max %.1f\n", error, top);
  fs::remove_all(folder);
  return error < 0.1 && top > 0 ? 0 : 1;
}
