// Operators between functions, learned by a DeepONet; all data are generated, a function of
// (options, data_seed).
//   antiderivative    u' = v, u(0) = 0 on [0, 1]; v of a Gaussian field with an RBF kernel, 100
//                     sensors; truth: the antiderivative of the interpolant, exact
//   advection         u_t + u_x = 0, periodic; v = u(., 0) of a periodic kernel, 50 sensors; truth
//                     v(x - t)
//   burgers_operator  u_t + u u_x = nu u_xx, periodic on [0, 1), t in [0, 1]; u(., 0) of the
//                     spectral field of Wang, Wang and Perdikaris 2021, 101 sensors; truth: ETDRK4
//   heat_operator     u_t = nu Lap u on the periodic square, from u(., 0) to u(., T); truth: exact
//                     in Fourier space
// The first three can also be learned without any solution (training=residual), from what is left
// over of
//   residual          the equation, at `domain` points (x, t) that all functions of a step share;
//                     antiderivative: at the sensors
//   initial           u(., 0) - v at the sensors, weight `initial_weight`; antiderivative: u(0)
//   boundary          u(0, t) - u(1, t), boundary_slope: the same of u_x, at 101 times; no terms of
//                     a network that is periodic by its features (model.periodic)
// They are judged by the truth of the test functions all the same.
//   Setups: DeepXDE's examples; Wang, Wang, Perdikaris 2021.
#include <algorithm>

#include "basin/analysis/pde/sampling.h"
#include "basin/analysis/pde/spectral.h"
#include "basin/autograd/ops.h"
#include "basin/core/random.h"
#include "basin/train/pde.h"
#include "basin/train/tasks/detail/operator_data.h"
#include "basin/train/tasks/tasks.h"

namespace basin {
namespace {

// Whether the network learns from the equation alone.
bool by_residual(const OptionReader& options) {
  return options.choice("training", {"data", "residual"}) == 1;
}

// make(span, known) for the training functions, whose solutions terms make needless, and for those
// behind them.
template <class Make>
void fill(OperatorData& data, const OptionReader& options, const Make& make) {
  const OperatorSpans spans = operator_spans(options);
  data.train = make(spans.train, data.terms.empty());
  data.test = make(spans.test, true);
}

Tensor unknown(const OperatorData& data) {
  return Tensor::zeros({0, data.points.size(0)}, DType::f64);
}

// i / n, i = 0 .. n - 1
Tensor periodic_line(int64_t n) { return slice(linspace(0, 1, n + 1), 0, 0, n); }

// --- learning from an equation

using Residual = std::function<Tensor(const Jet& u, const Tensor& v, const Tensor& extra)>;

// At points that are the same in every draw.
OperatorTerm fixed_term(const std::string& name, const Tensor& points, JetOrders orders,
                        Residual residual) {
  return {.name = name,
          .orders = std::move(orders),
          .points = [points](uint64_t, int64_t) { return points; },
          .residual = std::move(residual)};
}

// u(., 0) = v at the sensors of v.
OperatorTerm start_term(const Tensor& sensors, double weight) {
  OperatorTerm out =
      fixed_term("initial", places(sensors, Tensor::zeros({1}, DType::f64)), {0, 0},
                 [](const Jet& u, const Tensor& v, const Tensor&) { return u.value - v; });
  out.weight = weight;
  return out;
}

// What u, or u_x, has at x = 0 and not at x = 1.
OperatorTerm periodic_term(const std::string& name, int order) {
  const int64_t n = 101;
  const Tensor times = linspace(0, 1, n), zero = Tensor::zeros({1}, DType::f64);
  const Tensor ends = concat({places(zero, times), places(shift(zero, 1), times)}, 0);
  return fixed_term(name, ends, {order, 0}, [=](const Jet& u, const Tensor&, const Tensor&) {
    const Tensor at = order == 0 ? u.value : u.d(0);
    return slice(at, 1, 0, n) - slice(at, 1, n, 2 * n);
  });
}

bool has_periodic_features(const ModelConfig& network) {
  const std::vector<OptionInfo>& known = model_info(network.name).options;
  const auto periodic = [](const OptionInfo& o) { return o.name == "periodic"; };
  return std::any_of(known.begin(), known.end(), periodic) &&
         OptionReader("model " + network.name, known, network.options).flag("periodic");
}

// An equation of (x, t) in the unit square, periodic in x, from u(., 0) = v.
std::vector<OperatorTerm> periodic_problem(const TaskConfig& config, const OptionReader& options,
                                           const Tensor& sensors, const JetOrders& orders,
                                           Residual residual) {
  const int64_t count = options.integer_in("domain", 1, 1 << 24);
  const auto points = [count](uint64_t seed, int64_t draw) {
    Rng rng(seed, stream_id("operator residual", static_cast<uint64_t>(draw)));
    return uniform_points(count, {0, 0}, {1, 1}, rng.next_u64());
  };
  std::vector<OperatorTerm> out{
      {.name = "residual", .orders = orders, .points = points, .residual = std::move(residual)},
      start_term(sensors, options.number_in("initial_weight", 0, 1e6))};
  if (has_periodic_features(config.model)) return out;
  out.push_back(periodic_term("boundary", 0));
  if (orders[0] == 2) out.push_back(periodic_term("boundary_slope", 1));
  return out;
}

// --- the tasks

Task make_antiderivative(const TaskConfig& config, const OptionReader& options) {
  const KernelField field = KernelField::rbf(1000, options.number_in("length", 1e-2, 100));
  const Tensor sensors = linspace(0, 1, 100);
  OperatorData data;
  data.points = sensors.view({100, 1});
  if (by_residual(options)) {
    data.terms = {
        fixed_term("residual", data.points, {1},
                   [](const Jet& u, const Tensor& v, const Tensor&) { return u.d(0) - v; }),
        fixed_term("initial", Tensor::zeros({1, 1}, DType::f64), {0},
                   [](const Jet& u, const Tensor&, const Tensor&) { return u.value; })};
  }
  fill(data, options, [&](const FieldSpan& span, bool known) {
    const Interpolant v = field.functions(span, Interpolation::cubic);
    return OperatorExamples{v(sensors), known ? v.antiderivative(sensors) : unknown(data)};
  });
  data.description = "antiderivatives of Gaussian fields";
  return operator_task(config, std::move(data));
}

Task make_advection(const TaskConfig& config, const OptionReader& options) {
  const KernelField field = KernelField::periodic(128, options.number_in("length", 0.2, 100));
  const Tensor sensors = periodic_line(50), times = linspace(0, 1, 21);
  OperatorData data;
  data.points = places(sensors, times);
  if (by_residual(options)) {
    data.terms = periodic_problem(
        config, options, sensors, {1, 1},
        [](const Jet& u, const Tensor&, const Tensor&) { return u.d(1) + u.d(0); });
    data.resample = options.integer_in("resample", 0, int64_t{1} << 40);
  }
  fill(data, options, [&](const FieldSpan& span, bool known) {
    const Interpolant v = field.functions(span, Interpolation::cubic);
    const Tensor x = slice(data.points, 1, 0, 1), t = slice(data.points, 1, 1, 2);
    return OperatorExamples{v(sensors),
                            known ? v((x - t).view({data.points.size(0)})) : unknown(data)};
  });
  data.description = "periodic advection of Gaussian fields";
  return operator_task(config, std::move(data));
}

Task make_burgers_operator(const TaskConfig& config, const OptionReader& options) {
  FieldSpectrum spectrum;
  spectrum.sigma = options.number_in("sigma", 1e-6, 1e6);
  BurgersFlow flow;
  flow.nu = options.number_in("nu", 1e-4, 10);
  flow.outputs = 21;
  // Of order 4 in the step: 1e-3 leaves an error of 5e-11.
  flow.largest_step = 1e-3;
  const Tensor grid = periodic_line(512), sensors = periodic_line(101), x = periodic_line(64);
  OperatorData data;
  data.points = places(x, linspace(0, flow.duration, flow.outputs));
  if (by_residual(options)) {
    data.terms = periodic_problem(config, options, sensors, {2, 1},
                                  [nu = flow.nu](const Jet& u, const Tensor&, const Tensor&) {
                                    return u.d(1) + u.value * u.d(0) - scale(u.dd(0), nu);
                                  });
    data.resample = options.integer_in("resample", 0, int64_t{1} << 40);
  }
  fill(data, options, [&](const FieldSpan& span, bool known) {
    const PeriodicFields v = spectral_field(spectrum, span);
    const Tensor at_sensors = v.values(sensors.view({101, 1}));
    if (!known) return OperatorExamples{at_sensors, unknown(data)};
    const Tensor u = burgers_flow(v.values(grid.view({512, 1})), x, flow);
    return OperatorExamples{at_sensors, u.view({span.count, data.points.size(0)})};
  });
  data.description = str("periodic Burgers' equation, nu ", short_text(flow.nu, 4));
  return operator_task(config, std::move(data));
}

Task make_heat_operator(const TaskConfig& config, const OptionReader& options) {
  FieldSpectrum spectrum;
  spectrum.sigma = options.number_in("sigma", 1e-6, 1e6);
  spectrum.modes = 16;
  const double nu = options.number_in("nu", 1e-6, 10), time = options.number_in("time", 1e-6, 100);
  OperatorData data;
  data.points = places(periodic_line(20), periodic_line(20));
  const Tensor sensors = places(periodic_line(16), periodic_line(16));
  fill(data, options, [&](const FieldSpan& span, bool) {
    const PeriodicFields v = spectral_field_2d(spectrum, span);
    return OperatorExamples{v.values(sensors), v.heat(nu, time).values(data.points)};
  });
  data.description =
      str("heat equation on the square, nu ", short_text(nu, 4), ", after ", short_text(time, 4));
  return operator_task(config, std::move(data));
}

struct OperatorTask {
  const char *name, *summary;
  std::vector<OptionInfo> options;
  int64_t train, test;
  std::vector<std::pair<std::string, std::string>> defaults;
  TaskInfo::Make make;
  std::vector<Recipe> recipes = {};
  std::vector<RecipeRow> rows = {};
};

void register_operator(const OperatorTask& task) {
  TaskInfo info;
  info.name = task.name;
  info.summary = task.summary;
  info.options = task.options;
  for (OptionInfo& option : operator_options(task.train, task.test)) {
    info.options.push_back(std::move(option));
  }
  info.models = {"deeponet"};
  info.recipes = task.recipes;
  info.recipe_rows = pde_defaults();
  for (const auto& [key, value] : task.defaults) {
    info.recipe_rows.push_back({"", "", "", key, value});
  }
  info.recipe_rows.insert(info.recipe_rows.end(), task.rows.begin(), task.rows.end());
  info.make = task.make;
  register_task(std::move(info));
}

OptionInfo training_option() {
  return {"training", "data", "data, or residual: from the equation, without solutions"};
}

// The options of a task that can learn from a periodic_problem().
std::vector<OptionInfo> periodic_options(std::vector<OptionInfo> own, const char* initial_weight) {
  using enum OptionKind;
  own.push_back(training_option());
  own.push_back({"domain", "2500", "points of the residual, for all functions of a step", integer});
  own.push_back({"resample", "1", "steps after which they are drawn anew; 0: never", integer});
  own.push_back({"initial_weight", initial_weight, "of the initial term of the loss", number});
  return own;
}

// The setup of Wang, Wang and Perdikaris 2021: 50,000 pairs of function and point in a step, no
// periodic features, 200,000 steps of Adam.
std::vector<RecipeRow> pi_deeponet_rows() {
  std::vector<RecipeRow> out;
  for (const auto& [key, value] : std::vector<std::pair<std::string, std::string>>{
           {"training", "residual"},
           {"train", "1000"},
           {"test", "100"},
           {"batch", "20"},
           {kModelPresetKey, "modified"},
           {"model.periodic", "false"},
           {"optimizer.name", "adam"},
           {"schedule", "exponential:gamma=0.9,period=2000"},
           {"steps", "200000"}}) {
    out.push_back({"pi_deeponet", "", "", key, value});
  }
  return out;
}

}  // namespace

void register_operators() {
  using enum OptionKind;
  using Defaults = std::vector<std::pair<std::string, std::string>>;
  // Networks of DeepXDE's examples; batches of all functions where its examples have them.
  const Defaults small{{"batch", "150"}, {"eval_batch", "1000"}};
  const Defaults wide{{"batch", "32"},
                      {"eval_batch", "128"},
                      {kModelPresetKey, "tanh"},
                      {"model.periodic", "true"}};
  register_operator(
      {"antiderivative",
       "the antiderivative of a function, by a DeepONet",
       {{"length", "0.2", "of the kernel of the functions", number}, training_option()},
       150,
       1000,
       small,
       make_antiderivative});
  register_operator(
      {"advection", "advection of a periodic function, by a DeepONet",
       periodic_options({{"length", "1", "of the kernel of the functions", number}}, "1"), 1000,
       200, wide, make_advection});
  register_operator(
      {"burgers_operator",
       "from the start of Burgers' flow to its course, by a DeepONet",
       periodic_options({{"nu", "0.01", "viscosity", number},
                         {"sigma", "625", "amplitude of the initial functions", number}},
                        "20"),
       200,
       50,
       wide,
       make_burgers_operator,
       {{"pi_deeponet", "no solutions, modified networks, Adam, 200,000 steps"}},
       pi_deeponet_rows()});
  register_operator({"heat_operator",
                     "from a periodic field to what diffusion leaves of it, by a DeepONet",
                     {{"nu", "0.01", "diffusion", number},
                      {"time", "0.5", "of diffusion", number},
                      {"sigma", "625", "amplitude of the initial fields", number}},
                     500,
                     100,
                     {{"batch", "32"}, {"eval_batch", "100"}, {kModelPresetKey, "tanh"}},
                     make_heat_operator});
}

}  // namespace basin
