// Operators between functions, learned from pairs by a DeepONet; all data are generated, a function
// of (options, data_seed).
//   antiderivative    u' = v, u(0) = 0 on [0, 1]; v of a Gaussian field with an RBF kernel, 100
//                     sensors; truth: the antiderivative of the interpolant, exact
//   advection         u_t + u_x = 0, periodic; v = u(., 0) of a periodic kernel, 50 sensors; truth
//                     v(x - t)
//   burgers_operator  u_t + u u_x = nu u_xx, periodic on [0, 1), t in [0, 1]; u(., 0) of the spectral
//                     field of Wang, Wang and Perdikaris 2021, 101 sensors; truth: ETDRK4
//   heat_operator     u_t = nu Lap u on the periodic square, from u(., 0) to u(., T); truth: exact in
//                     Fourier space
//   batch    functions [N, m], points [P, d], truth [N, P]
//   loss     mean squared error
//   report   rel_l2: the mean over functions of |u - truth|_2 / |truth|_2; max_error
//   Setups: DeepXDE's examples; Wang, Wang, Perdikaris 2021.
#include <cmath>

#include "basin/analysis/pde/random_field.h"
#include "basin/analysis/pde/sampling.h"
#include "basin/analysis/pde/spectral.h"
#include "basin/autograd/ops.h"
#include "basin/core/random.h"
#include "basin/train/meters.h"
#include "basin/train/pde.h"
#include "basin/train/tasks/tasks.h"

namespace basin {
namespace {

// Functions and what the operator makes of them.
struct Examples {
  Tensor functions;  // [N, m]
  Tensor truth;      // [N, P]
};
struct OperatorData {
  Tensor points;  // [P, d]
  Examples train, test;
  std::string description, hash;
  const Examples& of(Split split) const { return split == Split::test ? test : train; }
};

Tensor rows_of(const Tensor& t, const std::vector<int64_t>& rows) {
  const std::vector<int32_t> index(rows.begin(), rows.end());
  return gather(t, Tensor::from(index, {std::ssize(rows)}));
}

class OperatorSource : public Source {
 public:
  OperatorSource(std::shared_ptr<const OperatorData> data, const SourceRequest& request)
      : data_(std::move(data)), request_(request) {
    check(request.split != Split::validation, "operators: there is no validation split");
    rows_ = drawn_rows(data_->of(request.split).functions.size(0), request.limit, request.seed);
    batch_ = std::min<int64_t>(request.batch, std::ssize(rows_));
  }
  const std::vector<Slot>& slots() const override {
    static const std::vector<Slot> all{{"functions", Rows::example, SlotKind::feature},
                                       {"points", Rows::example, SlotKind::feature},
                                       {"truth", Rows::example, SlotKind::target}};
    return all;
  }
  int64_t examples() const override { return std::ssize(rows_); }
  int64_t batches() const override {
    return request_.training ? examples() / batch_ : (examples() + batch_ - 1) / batch_;
  }
  Batch batch(int64_t epoch, int64_t index) const override {
    check(epoch >= 0 && index >= 0 && index < batches(), "operators: expected a batch from 0 to ",
          batches() - 1, ", got ", index, " of epoch ", epoch);
    std::vector<int64_t> order = rows_;
    if (request_.training) {
      Rng(request_.seed, stream_id("operator order", static_cast<uint64_t>(epoch)))
          .shuffle(std::span<int64_t>(order));
    }
    const auto first = order.begin() + index * batch_;
    const auto count = std::min(batch_, examples() - index * batch_);
    const std::vector<int64_t> rows(first, first + count);
    const Examples& all = data_->of(request_.split);
    return {{rows_of(all.functions, rows), data_->points, rows_of(all.truth, rows)}, count, rows};
  }
  std::string description() const override {
    return str(rows_.size(), " ", name_of(request_.split), " functions");
  }
  std::string content_hash() const override { return data_->hash; }

 private:
  std::shared_ptr<const OperatorData> data_;
  SourceRequest request_;
  std::vector<int64_t> rows_;
  int64_t batch_ = 1;
};

Task operator_task(const TaskConfig& config, OperatorData made) {
  made.hash = content_hash_of(
      {made.points, made.train.functions, made.train.truth, made.test.functions, made.test.truth});
  const auto data = std::make_shared<const OperatorData>(std::move(made));
  Task task;
  ModelConfig network = config.model;
  network.outputs = 1;
  network.output_name = "u";
  network.options.try_emplace("sensors", str(data->train.functions.size(1)));
  network.options.try_emplace("coordinates", str(data->points.size(1)));
  task.model = make_model(network);
  task.source = [data](const SourceRequest& r) {
    return std::make_shared<OperatorSource>(data, r);
  };
  task.data = [data] {
    return DataFacts{"generated", data->description,
                     data->hash,  data->train.functions.size(0),
                     0,           data->test.functions.size(0)};
  };
  task.objective = [model = task.model](const Tensors& buffers, const Batch& batch,
                                        const ForwardOptions& mode) {
    Loss loss{{"mse"}, [truth = batch.tensors.back()](const Tensors& outputs) {
                return Tensors{mean(square(outputs.front() - truth))};
              }};
    return supervised(model, buffers, {batch.tensors[0], batch.tensors[1]}, mode, std::move(loss),
                      batch.examples);
  };
  task.metrics = relative_error_metrics();
  task.meter = relative_error_by_example_meter;
  task.likelihood = Likelihood::gaussian;
  task.example = "function";
  return task;
}

struct Sizes {
  int64_t train, test;
  uint64_t seed;
};
Sizes sizes_of(const OptionReader& options) {
  return {options.integer_in("train", 1, 1 << 24), options.integer_in("test", 1, 1 << 24),
          static_cast<uint64_t>(options.integer_in("data_seed", 0, 1 << 30))};
}

// make(span) for the training functions and for those behind them.
template <class Make>
void fill(OperatorData& data, const Sizes& sizes, const Make& make) {
  data.train = make(FieldSpan{sizes.seed, 0, sizes.train});
  data.test = make(FieldSpan{sizes.seed, sizes.train, sizes.test});
}

// Places (x_i, t_j), x fastest.
Tensor places(const Tensor& x, const Tensor& t) {
  std::vector<double> out;
  for (int64_t j = 0; j < t.numel(); ++j) {
    for (int64_t i = 0; i < x.numel(); ++i) out.insert(out.end(), {x.at(i), t.at(j)});
  }
  return Tensor::from(out, {std::ssize(out) / 2, 2});
}

// i / n, i = 0 .. n - 1
Tensor periodic_line(int64_t n) { return slice(linspace(0, 1, n + 1), 0, 0, n); }

Task make_antiderivative(const TaskConfig& config, const OptionReader& options) {
  const KernelField field = KernelField::rbf(1000, options.number_in("length", 1e-2, 100));
  const Tensor sensors = linspace(0, 1, 100);
  OperatorData data;
  data.points = sensors.view({100, 1});
  fill(data, sizes_of(options), [&](const FieldSpan& span) {
    const Interpolant v = field.functions(span, Interpolation::cubic);
    return Examples{v(sensors), v.antiderivative(sensors)};
  });
  data.description = "antiderivatives of Gaussian fields";
  return operator_task(config, std::move(data));
}

Task make_advection(const TaskConfig& config, const OptionReader& options) {
  const KernelField field = KernelField::periodic(128, options.number_in("length", 0.2, 100));
  const Tensor sensors = periodic_line(50), times = linspace(0, 1, 21);
  OperatorData data;
  data.points = places(sensors, times);
  fill(data, sizes_of(options), [&](const FieldSpan& span) {
    const Interpolant v = field.functions(span, Interpolation::cubic);
    const Tensor x = slice(data.points, 1, 0, 1), t = slice(data.points, 1, 1, 2);
    return Examples{v(sensors), v((x - t).view({data.points.size(0)}))};
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
  fill(data, sizes_of(options), [&](const FieldSpan& span) {
    const PeriodicFields v = spectral_field(spectrum, span);
    const Tensor u = burgers_flow(v.values(grid.view({512, 1})), x, flow);
    return Examples{v.values(sensors.view({101, 1})), u.view({span.count, data.points.size(0)})};
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
  fill(data, sizes_of(options), [&](const FieldSpan& span) {
    const PeriodicFields v = spectral_field_2d(spectrum, span);
    return Examples{v.values(sensors), v.heat(nu, time).values(data.points)};
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
  using enum OptionKind;
  TaskInfo info;
  info.name = task.name;
  info.summary = task.summary;
  info.options = task.options;
  info.options.push_back({"train", str(task.train), "training functions", integer});
  info.options.push_back({"test", str(task.test), "test functions", integer});
  info.options.push_back({"data_seed", "0", "seed of the functions", integer});
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
