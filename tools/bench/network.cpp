// Builds a network with random data and times the parts that were asked for, one after the other;
// or writes it.
#include "basin/tools/bench/network.h"

#include <algorithm>

#include "basin/core/clock.h"
#include "basin/core/folder.h"
#include "basin/core/io.h"
#include "basin/core/random.h"
#include "basin/core/safetensors.h"
#include "basin/core/storage.h"
#include "basin/kernels/launch_times.h"
#include "basin/optim/registry.h"
#include "basin/tools/bench/replay.h"
#include "basin/tools/shell/environment.h"
#include "basin/train/checkpoint.h"
#include "basin/train/step.h"

namespace basin::tools {
namespace {

// Five Newton-Schulz steps on an m x n matrix, m <= n: X X^T, its square, and their product with X.
double newton_schulz_flops(const ParamList& params, const Optimizer& muon) {
  double flops = 0;
  const std::vector<RoutingRow> rows = muon.routing();
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].optimizer != "muon") continue;
    for (const MatrixBlock& block : params[i].view) {
      const auto m = static_cast<double>(std::min(block.rows, block.cols));
      const auto n = static_cast<double>(std::max(block.rows, block.cols));
      flops += 5 * (4 * m * m * n + 2 * m * m * m);
    }
  }
  return flops;
}

Batch random_clouds(int64_t examples, int64_t points, int64_t classes) {
  Rng rng(0, stream_id("bench points"));
  std::vector<float> xyz(static_cast<size_t>(examples * points * 3));
  for (float& x : xyz) x = static_cast<float>(rng.uniform(-0.6, 0.6));
  std::vector<int64_t> label(static_cast<size_t>(examples));
  for (int64_t& c : label) c = rng.below(classes);
  return {
      {Tensor::from(xyz, {examples, points, 3}), Tensor::from(label, {examples})}, examples, {}};
}

Model bench_model(const NetworkCase& network, const BenchOptions& options) {
  ModelConfig config{.name = network.model, .preset = network.preset, .outputs = network.outputs};
  for (const OptionInfo& option : model_info(network.model).options) {
    if (option.name == "k" && options.k > 0) config.options["k"] = str(options.k);
  }
  return make_model(config);
}

// A network, its weights, a batch, and the task they make: of a task, what a training step needs.
struct Problem {
  Task task;
  ModelState state;
  Batch batch;
  int64_t step = 0;

  Problem(const NetworkCase& network, const BenchOptions& options, int64_t examples) {
    task.name = "bench";
    task.model = bench_model(network, options);
    state = init_model(task.model, 0, DType::f32).to(options.device);
    batch = (network.data ? network.data(examples, options.points)
                          : random_clouds(examples, options.points, network.outputs))
                .to(options.device);
    const auto loss_of = network.loss;
    task.objective = [model = task.model, loss_of](const Tensors& buffers, const Batch& given,
                                                   const ForwardOptions& mode) {
      const Tensor& target = given.tensors.back();
      return supervised(model, buffers, {given.tensors.begin(), given.tensors.end() - 1}, mode,
                        loss_of ? loss_of(target) : cross_entropy_loss(target), given.examples);
    };
  }

  const Model& model() const { return task.model; }
  ForwardOptions training() { return ForwardOptions::training(0, static_cast<uint64_t>(step++)); }
  Objective objective(const ForwardOptions& mode) const {
    return task.objective(state.buffers.values(), batch, mode);
  }
  void forward() { objective(training()).outputs(state.params.values()); }
  void evaluate() { objective(ForwardOptions::evaluation()).outputs(state.params.values()); }
  Fn scalar_loss() {
    return [f = training_loss(objective(training()))](const Tensors& x) {
      return Tensors{f(x).front()};
    };
  }
  ValueGrad gradient(const ForwardOptions& mode) const {
    return value_and_grad(training_loss(objective(mode)))(state.params.values());
  }
  ValueGrad gradient() { return gradient(training()); }
};

void export_case(const NetworkCase& network, const BenchOptions& options, BenchReport& report) {
  const Problem problem(network, options, options.batch);
  SafetensorsFile file = state_file(problem.state);
  const Tensors& tensors = problem.batch.tensors;
  for (size_t i = 0; i < problem.model().inputs.size(); ++i) {
    file.tensors.emplace_back("input." + problem.model().inputs[i].name, tensors[i]);
  }
  file.tensors.emplace_back("target", tensors.back());
  ForwardOptions mode = ForwardOptions::training(0, 0);
  mode.dropout = false;
  const ValueGrad at_start = problem.gradient(mode);
  file.tensors.emplace_back("loss", at_start.value);
  for (size_t i = 0; i < at_start.grads.size(); ++i) {
    file.tensors.emplace_back("gradient." + problem.state.params[i].name, at_start.grads[i]);
  }
  const fs::path path = fs::path(options.export_to) / (network.model + ".safetensors");
  write_safetensors(path, file);
  report.note(str(network.title, ": weights, batch and gradient are in ", path.string()));
}

class Section {
 public:
  Section(const NetworkCase& network, const BenchOptions& options, BenchReport& report,
          const Place& place)
      : network_(network),
        options_(options),
        report_(report),
        prefix_(str(options.prefix, network.model, ".", place.key(), ".")),
        start_rss_(peak_rss_bytes()),
        peak_(begin_section(str(network.title, ", B=", options.batch, ", N=", options.points),
                            prefix_, place, report)) {
    if (network.products && place.device == Device::cpu) {
      products_ = begin_products(DType::f32, prefix_, report);
    }
  }

  void run() {
    if (options_.wants("forward") || options_.wants("evaluation") || options_.wants("gradient") ||
        wants_optimizer() || options_.asks_for("profile")) {
      Problem problem(network_, options_, options_.batch);
      const Counts counts = network_.count(problem.model(), problem.batch);
      if (options_.wants("forward")) {
        add(
            "forward", "forward, training mode", [&] { problem.forward(); }, counts.forward());
      }
      if (options_.wants("evaluation")) {
        add(
            "evaluation", "evaluation", [&] { problem.evaluate(); }, counts.forward());
      }
      if (options_.wants("gradient")) {
        add(
            "forward_backward", "forward + backward", [&] { problem.gradient(); },
            counts.gradient());
      }
      if (options_.asks_for("profile") && options_.device == Device::cpu) profile(problem);
      for (const std::string& name : network_.optimizers) {
        if (options_.wants(name)) optimizer(name, problem, counts.gradient());
      }
    }
    if (options_.asks_for("replay") && options_.device == Device::cpu) {
      Problem problem(network_, options_, options_.batch);
      measure_replay(options_, {problem.task, problem.state, problem.batch}, prefix_ + "replay",
                     report_);
    }
    if (options_.wants("hvp")) hessian_vector_products();
    if (options_.wants("checkpoint")) checkpoint();
    const AllocatorStats stats = allocator_stats(options_.device);
    const int64_t peak_rss = peak_rss_bytes();
    report_.note(str("allocator: ", bytes_text(static_cast<double>(stats.reserved_bytes)),
                     " reserved in ", stats.mappings, " mappings so far; peak resident set of the ",
                     "process so far ", bytes_text(static_cast<double>(peak_rss)), ", ",
                     bytes_text(static_cast<double>(peak_rss - start_rss_)),
                     " above the one before"));
    report_.value(prefix_ + "reserved_bytes", static_cast<double>(stats.reserved_bytes));
    report_.value(prefix_ + "start_rss_bytes", static_cast<double>(start_rss_));
    report_.value(prefix_ + "peak_rss_bytes", static_cast<double>(peak_rss));
  }

 private:
  bool wants_optimizer() const {
    return std::any_of(network_.optimizers.begin(), network_.optimizers.end(),
                       [this](const std::string& name) { return options_.wants(name); });
  }

  Timing add(const std::string& key, const std::string& label, const std::function<void()>& body,
             const Work& work) {
    const Timing timing = measure(options_, body);
    report_.add(prefix_ + key, label, timing, work, peak_, products_);
    return timing;
  }

  // Where the time of forward + backward goes: the kernels that take half a percent of it or more.
  void profile(Problem& problem) {
    problem.gradient();
    LaunchTimes times;
    const double start = seconds_now();
    {
      const LaunchTimes::Scope scope(times);
      for (int i = 0; i < options_.repeats; ++i) problem.gradient();
    }
    const double whole = seconds_now() - start, calls = options_.repeats;
    std::vector<std::pair<std::string, LaunchTimes::Total>> rows(times.totals().begin(),
                                                                 times.totals().end());
    std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
      return std::pair(-a.second.seconds, a.first) < std::pair(-b.second.seconds, b.first);
    });
    report_.note(str("forward + backward, ", fixed_text(1e3 * whole / calls, 2),
                     " ms: share, ms, launches, kernel and its tensors"));
    double shown = 0, between = whole;
    for (const auto& [label, total] : rows) {
      const std::string key = str(prefix_, "profile.", label);
      report_.value(key + ".ms", 1e3 * total.seconds / calls);
      report_.value(key + ".launches", static_cast<double>(total.calls) / calls);
      between -= total.seconds;
      if (total.seconds < 0.005 * whole) continue;
      shown += total.seconds;
      report_.note(
          profile_row(total.seconds, whole, str(total.calls / options_.repeats, " x ", label)));
    }
    report_.note(profile_row(whole - between - shown, whole, "the other kernels"));
    report_.note(profile_row(between, whole, "between the kernels: tape, shapes, memory"));
    report_.value(prefix_ + "profile.between_ms", 1e3 * between / calls);
  }
  std::string profile_row(double seconds, double whole, const std::string& what) const {
    const std::string share = fixed_text(100 * seconds / whole, 1);
    const std::string ms = fixed_text(1e3 * seconds / options_.repeats, 2);
    return std::string(6 - std::min<size_t>(6, share.size()), ' ') + share + " %" +
           std::string(11 - std::min<size_t>(11, ms.size()), ' ') + ms + "  " + what;
  }

  // A rate of zero keeps the weights, hence the work of every step, the same.
  void optimizer(const std::string& name, Problem& problem, Work step) {
    const bool muon = name.rfind("muon", 0) == 0;
    OptimizerConfig config{.name = muon ? "muon" : name, .lr = 0.0, .weight_decay = 0.0};
    if (name == "muon_bf16") config.options["precision"] = "bf16";
    const auto optimizer = make_optimizer(config, problem.state.params);
    Work update;
    if (muon) update.naive_flops = newton_schulz_flops(problem.state.params, *optimizer);
    // Adam reads weight, gradient and two moments and writes three of them.
    if (!muon) {
      update.bytes = 7.0 * 4 * static_cast<double>(problem.state.params.total_elements());
    }
    {
      const ValueGrad fixed = problem.gradient();
      const auto alone = [&] {
        optimizer->step(problem.state.params, fixed.grads, {problem.step, 1, 1});
      };
      add(name + "_update", name + " update alone", alone, update);
    }
    step.naive_flops += update.naive_flops;
    step.reduced_flops += update.naive_flops;
    // As train_modelnet does it: on a GPU the step is recorded where it can be.
    TrainStep train(problem.task, problem.state, *optimizer,
                    {.batch = options_.batch, .graph = GraphMode::automatic});
    train.set_batch(problem.batch);
    const auto whole = [&] {
      train.start(problem.step++, 1);
      train.finish();
    };
    add(name + "_step", name + " step, whole" + (train.with_graph() ? ", recorded" : ""), whole,
        step);
    if (!train.with_graph()) return;
    TrainStep plain(problem.task, problem.state, *optimizer, {.batch = options_.batch});
    plain.set_batch(problem.batch);
    const auto launched = [&] {
      plain.start(problem.step++, 1);
      plain.finish();
    };
    add(name + "_step_launched", name + " step, launched", launched, step);
  }

  // Weights, buffers and the state of the first optimizer, with every file and folder synced to the
  // disk; read with all hashes checked.
  void checkpoint() {
    Problem problem(network_, options_, 1);
    const auto optimizer =
        make_optimizer({.name = network_.optimizers.front()}, problem.state.params);
    const fs::path folder = temporary_name(fs::temp_directory_path() / "basin-bench");
    const std::shared_ptr<void> removed(nullptr, [&](void*) { remove_folder(folder); });
    Work work;
    const auto write = [&] {
      write_checkpoint(folder, 1, state_file(problem.state), optimizer->save(),
                       Record().add("step", 1));
    };
    write();
    for (const fs::path& file : entries_of(checkpoint_path(folder, 1))) {
      work.bytes += static_cast<double>(fs::file_size(file));
    }
    add("checkpoint_write", "checkpoint, written", write, work);
    add(
        "checkpoint_read", "checkpoint, read", [&] { read_checkpoint(checkpoint_path(folder, 1)); },
        work);
    report_.value(prefix_ + "checkpoint_bytes", work.bytes);
  }

  void hessian_vector_products() {
    const int64_t batch = options_.hvp_batch > 0 ? options_.hvp_batch : network_.hvp_batch;
    Problem problem(network_, options_, batch);
    const Work work = network_.count(problem.model(), problem.batch).gradient();
    const Tensors params = problem.state.params.values();
    Tensors direction;
    Rng rng(0, stream_id("bench direction"));
    for (const Tensor& p : params) {
      std::vector<float> v(static_cast<size_t>(p.numel()));
      for (float& x : v) x = static_cast<float>(rng.normal());
      direction.push_back(Tensor::from(v, p.shape(), options_.device));
    }
    report_.value(prefix_ + "hvp_batch", static_cast<double>(batch));
    // In turn, so that their ratio does not carry the machine's drift.
    const std::vector<Timing> both =
        measure_in_turn(options_, {[&] { problem.gradient(); },
                                   [&] { jvp(grad(problem.scalar_loss()), params, direction); }});
    const Timing &gradient = both[0], &once = both[1];
    report_.add(prefix_ + "hvp_gradient", str("gradient, B=", batch), gradient, work, peak_,
                products_);
    report_.add(prefix_ + "hvp_one_shot", str("HVP, one shot, B=", batch), once,
                {3 * work.naive_flops, 0, 0}, peak_);
    const LinearMap h = linearize(grad(problem.scalar_loss()), params);
    const Timing probe = add("hvp_probe", "HVP, each further probe", [&] { h(direction); },
                             {2 * work.naive_flops, 0, 0});
    // What landscape_probe pays for a probe of a trace or a density: --lanes 4, its default.
    constexpr int64_t kTogether = 4;
    const std::vector<Tensors> several(kTogether, direction);
    Timing lane = measure(options_, [&] { h.lanes(several); });
    for (double* t : {&lane.median, &lane.min, &lane.max, &lane.cpu}) *t /= kTogether;
    report_.add(prefix_ + "hvp_lane", str("HVP, each of ", kTogether, " probes given at once"),
                lane, {2 * work.naive_flops, 0, 0}, peak_);
    ratios("hvp_one_shot", "one shot", once, gradient);
    ratios("hvp_probe", "each further probe", probe, gradient);
    ratios("hvp_lane", str("each of ", kTogether, " probes given at once"), lane, gradient);
  }

  void ratios(const std::string& key, const std::string& label, const Timing& hvp,
              const Timing& gradient) {
    const double time = hvp.median / gradient.median;
    const double memory = hvp.peak_bytes / gradient.peak_bytes;
    report_.note(str("HVP, ", label, ": ", fixed_text(time, 2), " times a gradient's time, ",
                     fixed_text(memory, 2), " times its peak memory"));
    report_.value(prefix_ + key + ".ratio_to_gradient", time);
    report_.value(prefix_ + key + ".memory_ratio_to_gradient", memory);
  }

  const NetworkCase& network_;
  const BenchOptions& options_;
  BenchReport& report_;
  std::string prefix_;
  int64_t start_rss_;
  double peak_;
  double products_ = 0;
};

}  // namespace

void Counts::add_parts(double forward, double backward, double forward_reduced,
                       double backward_reduced) {
  forward_ += forward;
  backward_ += backward;
  forward_reduced_ += forward_reduced;
  backward_reduced_ += backward_reduced;
}

int64_t integer_option(const Model& model, const std::string& name) {
  int64_t value = 0;
  check(parse_int64(model.options.at(name), value), model.name, ": ", name, " is no integer");
  return value;
}

const std::vector<std::string>& network_parts() {
  static const std::vector<std::string> parts{"forward",    "evaluation", "gradient",  "adam",
                                              "adamw",      "muon",       "muon_bf16", "hvp",
                                              "checkpoint", "profile",    "replay"};
  return parts;
}

void run_network(const NetworkCase& network, const BenchOptions& options, BenchReport& report) {
  if (!options.export_to.empty()) return export_case(network, options, report);
  for (const Place& place : places(options)) Section(network, options, report, place).run();
}

}  // namespace basin::tools
