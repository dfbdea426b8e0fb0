// Task "burgers": viscous Burgers' equation in one dimension by a physics-informed network.
//   u_t + u u_x = nu u_xx,  x in [-1, 1], t in [0, 0.99],  u(x, 0) = -sin(pi x),  u(+-1, t) = 0
//   terms   residual, boundary, initial: means of squares, weight 1
//   truth   Cole and Hopf's formula (analysis/pde/burgers.h) on x = linspace(-1, 1, 256),
//           t = 0, 0.01 .. 0.99, or a MATLAB file with usol [x, t], x and t
//   Setups: DeepXDE's example (2,540 points within, 80 on the boundary, 160 at the start); Raissi,
// Perdikaris and Karniadakis 2019 (10,000 points by Latin hypercube, 100 on boundary and start,
// 8 hidden layers of 20).
#include <cmath>

#include "basin/analysis/pde/burgers.h"
#include "basin/analysis/pde/sampling.h"
#include "basin/autograd/ops.h"
#include "basin/core/random.h"
#include "basin/datasets/mat5.h"
#include "basin/train/pde.h"
#include "basin/train/tasks/tasks.h"

namespace basin {
namespace {

constexpr double kLastTime = 0.99;

struct Truth {
  Tensor x, t;  // [n], [m] f64
  Tensor u;     // [m, n]
  std::string source;
};

Truth read_truth(const std::string& data, double nu) {
  if (data == "computed") {
    const Tensor x = linspace(-1, 1, 256), t = linspace(0, kLastTime, 100);
    return {x, t, burgers_grid(x, t, nu), "Cole-Hopf formula"};
  }
  const Mat5File file{fs::path(data)};
  const auto line = [&](const char* name) {
    const Tensor values = file.read(name);
    return values.view({values.numel()});
  };
  Truth out{line("x"), line("t"), {}, data};
  const Tensor u = file.read("usol");
  if (u.shape() != Shape{out.x.numel(), out.t.numel()}) {
    fail(ErrorKind::data, data, ": expected usol [", out.x.numel(), ", ", out.t.numel(),
         "] as x and t say, found ", u.shape());
  }
  out.u = transpose(u);
  return out;
}

std::vector<double> numbers(const Tensor& t) {
  return {t.data<double>(), t.data<double>() + t.numel()};
}

// Every draw has a seed of its own.
uint64_t draw_seed(uint64_t seed, const char* what, int64_t draw) {
  return Rng(seed, stream_id(what, static_cast<uint64_t>(draw))).next_u64();
}

// Points with t = 0, or with x = -1 and 1 by turns.
Tensor on_start(Tensor points) {
  double* p = points.mutable_data<double>();
  for (int64_t i = 0; i < points.size(0); ++i) p[2 * i + 1] = 0;
  return points;
}
Tensor on_boundary(Tensor points) {
  double* p = points.mutable_data<double>();
  for (int64_t i = 0; i < points.size(0); ++i) p[2 * i] = i % 2 == 0 ? -1 : 1;
  return points;
}

Task make_burgers(const TaskConfig& config, const OptionReader& options) {
  const double nu = options.number_in("nu", 1e-4, 10);
  const bool hypercube = options.choice("sampling", {"uniform", "lhs"}) == 1;
  const auto drawn = [&](const char* option, const char* term) {
    const int64_t count = options.integer_in(option, 1, 1 << 24);
    return [count, term, hypercube](uint64_t seed, int64_t draw) {
      const uint64_t own = draw_seed(seed, term, draw);
      return hypercube ? latin_hypercube(count, {-1, 0}, {1, kLastTime}, own)
                       : uniform_points(count, {-1, 0}, {1, kLastTime}, own);
    };
  };
  const auto domain = drawn("domain", "residual"), boundary = drawn("boundary", "boundary"),
             initial = drawn("initial", "initial");
  PdeProblem problem;
  problem.coordinates = {"x", "t"};
  problem.terms = {
      {.name = "residual",
       .orders = {2, 1},
       .points = domain,
       .residual = [nu](const Jet& u,
                        const Tensor&) { return u.d(1) + u.value * u.d(0) - scale(u.dd(0), nu); }},
      {.name = "boundary",
       .orders = {0, 0},
       .points = [boundary](uint64_t s, int64_t n) { return on_boundary(boundary(s, n)); },
       .residual = [](const Jet& u, const Tensor&) { return u.value; }},
      {.name = "initial",
       .orders = {0, 0},
       .points = [initial](uint64_t s, int64_t n) { return on_start(initial(s, n)); },
       .residual = [](const Jet& u,
                      const Tensor& x) { return u.value + sin(scale(slice(x, 1, 0, 1), M_PI)); }},
  };
  problem.resample = options.integer_in("resample", 0, int64_t{1} << 40);
  const Truth truth = read_truth(options.text("data"), nu);
  problem.grid_first = numbers(truth.x);
  problem.grid_second = numbers(truth.t);
  std::vector<double> points;
  for (const double t : problem.grid_second) {
    for (const double x : problem.grid_first) points.insert(points.end(), {x, t});
  }
  problem.test_points = Tensor::from(points, {std::ssize(points) / 2, 2});
  problem.truth = truth.u.view({truth.u.numel(), 1});
  problem.source = truth.source;
  problem.description = str("Burgers' equation, nu ", short_text(nu, 4));
  return pde_task(std::move(problem), config);
}

}  // namespace

void register_burgers() {
  using enum OptionKind;
  TaskInfo info;
  info.name = "burgers";
  info.summary = "viscous Burgers' equation by a physics-informed network";
  info.options = {
      {"data", "computed", "truth: computed, or a MATLAB file with usol, x and t"},
      {"nu", shortest_text(kBurgersViscosity), "viscosity; a shock forms at 0.01 / pi", number},
      {"domain", "2540", "points of the residual", integer},
      {"boundary", "80", "points at x = -1 and 1", integer},
      {"initial", "160", "points at t = 0", integer},
      {"sampling", "uniform", "uniform, or lhs: Latin hypercube"},
      {"resample", "0", "steps after which all points are drawn anew; 0: never", integer},
  };
  info.models = {"mlp"};
  info.recipes = {{"deepxde", "DeepXDE's example before its L-BFGS: Adam, 15,000 steps"},
                  {"raissi", "10,000 points by Latin hypercube, 8 hidden layers of 20, L-BFGS"}};
  info.recipe_rows = pde_defaults();
  for (const auto& [key, value] : std::vector<std::pair<std::string, std::string>>{
           {"optimizer.name", "adam"}, {"schedule", "constant"}, {"steps", "15000"}}) {
    info.recipe_rows.push_back({"deepxde", "", "", key, value});
  }
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, std::string>>{{"domain", "10000"},
                                                        {"boundary", "50"},
                                                        {"initial", "50"},
                                                        {"sampling", "lhs"},
                                                        {"model.depth", "8"},
                                                        {"optimizer.name", "lbfgs"},
                                                        {"schedule", "constant"}}) {
    info.recipe_rows.push_back({"raissi", "", "", key, value});
  }
  info.make = make_burgers;
  register_task(std::move(info));
}

}  // namespace basin
