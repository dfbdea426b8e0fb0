// Operators between functions, learned from pairs by a DeepONet; all data are generated, a function
// of (options, data_seed).
//   antiderivative    u' = v, u(0) = 0 on [0, 1]; v of a Gaussian field with an RBF kernel, 100
//                     sensors; truth: the antiderivative of the interpolant, exact
//   advection         u_t + u_x = 0, periodic; v = u(., 0) of a periodic kernel, 50 sensors; truth
//                     v(x - t)
//   burgers_operator  u_t + u u_x = nu u_xx, periodic on [0, 1), t in [0, 1]; u(., 0) of the
//                     spectral field of Wang, Wang and Perdikaris 2021, 101 sensors; truth: ETDRK4
//   heat_operator     u_t = nu Lap u on the periodic square, from u(., 0) to u(., T); truth: exact
//                     in Fourier space
//   Setups: DeepXDE's examples; Wang, Wang, Perdikaris 2021.
#include "basin/analysis/pde/sampling.h"
#include "basin/analysis/pde/spectral.h"
#include "basin/autograd/ops.h"
#include "basin/train/pde.h"
#include "basin/train/tasks/detail/operator_data.h"
#include "basin/train/tasks/tasks.h"

namespace basin {
namespace {

// make(span) for the training functions and for those behind them.
template <class Make>
void fill(OperatorData& data, const OptionReader& options, const Make& make) {
  const OperatorSpans spans = operator_spans(options);
  data.train = make(spans.train);
  data.test = make(spans.test);
}

// i / n, i = 0 .. n - 1
Tensor periodic_line(int64_t n) { return slice(linspace(0, 1, n + 1), 0, 0, n); }

Task make_antiderivative(const TaskConfig& config, const OptionReader& options) {
  const KernelField field = KernelField::rbf(1000, options.number_in("length", 1e-2, 100));
  const Tensor sensors = linspace(0, 1, 100);
  OperatorData data;
  data.points = sensors.view({100, 1});
  fill(data, options, [&](const FieldSpan& span) {
    const Interpolant v = field.functions(span, Interpolation::cubic);
    return OperatorExamples{v(sensors), v.antiderivative(sensors)};
  });
  data.description = "antiderivatives of Gaussian fields";
  return operator_task(config, std::move(data));
}

Task make_advection(const TaskConfig& config, const OptionReader& options) {
  const KernelField field = KernelField::periodic(128, options.number_in("length", 0.2, 100));
  const Tensor sensors = periodic_line(50), times = linspace(0, 1, 21);
  OperatorData data;
  data.points = places(sensors, times);
  fill(data, options, [&](const FieldSpan& span) {
    const Interpolant v = field.functions(span, Interpolation::cubic);
    const Tensor x = slice(data.points, 1, 0, 1), t = slice(data.points, 1, 1, 2);
    return OperatorExamples{v(sensors), v((x - t).view({data.points.size(0)}))};
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
  fill(data, options, [&](const FieldSpan& span) {
    const PeriodicFields v = spectral_field(spectrum, span);
    const Tensor u = burgers_flow(v.values(grid.view({512, 1})), x, flow);
    return OperatorExamples{v.values(sensors.view({101, 1})),
                            u.view({span.count, data.points.size(0)})};
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
  fill(data, options, [&](const FieldSpan& span) {
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
  info.recipe_rows = pde_defaults();
  for (const auto& [key, value] : task.defaults) {
    info.recipe_rows.push_back({"", "", "", key, value});
  }
  info.make = task.make;
  register_task(std::move(info));
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
  register_operator({"antiderivative",
                     "the antiderivative of a function, by a DeepONet",
                     {{"length", "0.2", "of the kernel of the functions", number}},
                     150,
                     1000,
                     small,
                     make_antiderivative});
  register_operator({"advection",
                     "advection of a periodic function, by a DeepONet",
                     {{"length", "1", "of the kernel of the functions", number}},
                     1000,
                     200,
                     wide,
                     make_advection});
  register_operator({"burgers_operator",
                     "from the start of Burgers' flow to its course, by a DeepONet",
                     {{"nu", "0.01", "viscosity", number},
                      {"sigma", "625", "amplitude of the initial functions", number}},
                     200,
                     50,
                     wide,
                     make_burgers_operator});
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
